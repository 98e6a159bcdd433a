//! Takes in a changed configuration while the bridge runs.
//!
//! The file is read every few seconds: a ConfigMap's files are links that change under their names, which no watch of
//! files sees reliably. Rules are taken in; all else is used when something starts, so it is named and waits for the
//! next start. A file that makes no sense changes nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus::{IntGauge, Registry};
use tokio::sync::watch;

use super::document::Document;
use super::{Config, ConfigError};
use crate::metrics::{CounterBy, Label, gauge, register};
use crate::model::AddressKind;
use crate::plan::Rules;

/// Follows a file.
#[derive(Debug)]
pub struct Reload {
    path: PathBuf,
    /// What the process started with.
    started: Document,
    had_nodes: bool,
    /// As it was seen last.
    text: String,
    rules: watch::Sender<Rules>,
    metrics: ReloadMetrics,
}

/// What became of changes of the configuration.
#[derive(Debug, Clone)]
pub struct ReloadMetrics {
    reloads: CounterBy<Outcome>,
    refused: IntGauge,
    restart_needed: IntGauge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Applied,
    Refused,
}

/// Between two looks. A change of a ConfigMap takes up to a minute to reach the file anyway.
const EVERY: Duration = Duration::from_secs(2);

impl Reload {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It cannot be read or makes no sense.
    pub fn start(path: &Path, metrics: ReloadMetrics) -> Result<(Config, Reload), ConfigError> {
        let text = read(path)?;
        let (config, started) = Config::read(&text)
            .map_err(|mistakes| ConfigError::Mistakes { file: Some(path.to_owned()), mistakes })?;
        let had_nodes = config.rules.grant_any(AddressKind::Node);
        let rules = watch::Sender::new(config.rules.clone());
        Ok((config, Reload { path: path.to_owned(), started, had_nodes, text, rules, metrics }))
    }

    /// The rules, now and later.
    #[must_use]
    pub fn rules(&self) -> watch::Receiver<Rules> {
        self.rules.subscribe()
    }

    /// Looks at the file again and again.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.look();
        }
    }

    /// Takes in what has changed since the last look.
    pub fn look(&mut self) {
        let text = match read(&self.path) {
            Ok(text) if text == self.text => return,
            Ok(text) => text,
            // It is said once, and again after it was there.
            Err(_) if self.text.is_empty() => return,
            Err(error) => {
                self.text.clear();
                return self.refused(&format!("{error}"));
            }
        };
        self.text = text;
        let (config, document) = match Config::read(&self.text) {
            Ok(read) => read,
            Err(mistakes) => {
                let file = Some(self.path.clone());
                return self.refused(&ConfigError::Mistakes { file, mistakes }.to_string());
            }
        };
        let mut waiting = self.started.differences(&document);
        waiting.retain(|key| key != "rules");
        if !self.had_nodes && config.rules.grant_any(AddressKind::Node) {
            waiting.push("rules (addresses: [node], for which nodes must be watched)".to_owned());
        }
        self.metrics.restart_needed.set(i64::from(!waiting.is_empty()));
        self.metrics.refused.set(0);
        self.metrics.reloads.inc(Outcome::Applied);
        let file = self.path.display();
        if waiting.is_empty() {
            tracing::info!(%file, "the configuration was read again");
        } else {
            let waiting = waiting.join(", ");
            tracing::warn!(%file, waiting, "the configuration was read again; some of it needs a restart");
        }
        self.rules.send_if_modified(|rules| {
            let is_new = *rules != config.rules;
            *rules = config.rules;
            is_new
        });
    }

    fn refused(&self, reason: &str) {
        self.metrics.refused.set(1);
        self.metrics.reloads.inc(Outcome::Refused);
        tracing::error!("the configuration stays as it was, since the file makes no sense:\n{reason}");
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

impl Label for Outcome {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[Outcome::Applied, Outcome::Refused];

    fn value(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::Refused => "refused",
        }
    }
}

impl Default for ReloadMetrics {
    fn default() -> Self {
        ReloadMetrics {
            reloads: CounterBy::new("zoobridge_config_reloads_total", "Changes of the configuration."),
            refused: gauge(
                "zoobridge_config_refused",
                "1 if the file makes no sense, so that an earlier one counts.",
            ),
            restart_needed: gauge(
                "zoobridge_config_restart_needed",
                "1 if something in the file counts only after a restart.",
            ),
        }
    }
}

impl ReloadMetrics {
    /// For those who watch over it.
    pub(crate) fn register(&self, registry: &Registry) {
        self.reloads.register(registry);
        register(registry, self.refused.clone());
        register(registry, self.restart_needed.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_taken_in_and_the_rest_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zoobridge.yaml");
        let write = |more: &str, rules: &str| {
            std::fs::write(&path, format!("zookeeper: {{connect: zk{more}}}\nrules: {rules}\n")).unwrap();
        };
        let metrics = ReloadMetrics::default();
        let gauges = || (metrics.refused.get(), metrics.restart_needed.get());
        write("", "[]");
        let (config, mut reload) = Reload::start(&path, metrics.clone()).unwrap();
        let mut rules = reload.rules();
        reload.look();
        assert!(config.rules.list.is_empty() && !rules.has_changed().unwrap());

        write("", "[{formats: [curator]}]");
        reload.look();
        assert!(rules.has_changed().unwrap());
        assert_eq!((rules.borrow_and_update().list.len(), gauges()), (1, (0, 0)));

        for bad in ["[{formats: [curato]}]", "[", "[{formats: [curator], annotations: {nosuch: x}}]"] {
            write("", bad);
            reload.look();
            assert_eq!((rules.has_changed().unwrap(), gauges()), (false, (1, 0)), "{bad}");
        }
        std::fs::remove_file(&path).unwrap();
        reload.look();
        assert!(!rules.has_changed().unwrap());

        write(", sessionTimeout: 40s", "[{formats: [dubbo]}]");
        reload.look();
        assert!(rules.has_changed().unwrap());
        assert_eq!((rules.borrow_and_update().list[0].formats[0].name(), gauges()), ("dubbo", (0, 1)));
        write("", "[{formats: [dubbo]}]");
        reload.look();
        assert_eq!((rules.has_changed().unwrap(), gauges()), (false, (0, 0)));
        write("", "[{formats: [dubbo], addresses: [node]}]");
        reload.look();
        assert_eq!((rules.has_changed().unwrap(), gauges()), (true, (0, 1)));
    }
}
