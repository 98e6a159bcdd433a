//! Answers four-letter words: asks the core, and has the answer written as Apache writes it.

use std::sync::atomic::Ordering;

use super::process;
use super::report::{Reporter, Setting, Tally, directory_bytes};
use crate::server::words;

/// Answers four-letter words.
#[derive(Debug, Clone)]
pub struct Words {
    reporter: Reporter,
}

/// What Apache says while it does not serve, and we say when the core does not answer.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests\n";

impl Words {
    /// Answers for this server.
    #[must_use]
    pub fn new(reporter: Reporter) -> Self {
        Words { reporter }
    }

    /// What is counted outside of the core.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.reporter.facts.tally
    }

    /// May this word be answered?
    #[must_use]
    pub fn is_allowed(&self, word: [u8; 4]) -> bool {
        std::str::from_utf8(&word).is_ok_and(|word| self.reporter.facts.config.word_is_allowed(word))
    }

    /// The answer to a word. `mask` is what follows `stmk`.
    pub async fn answer(&self, word: [u8; 4], mask: i64) -> String {
        if !self.is_allowed(word) {
            return words::not_allowed(&String::from_utf8_lossy(&word));
        }
        self.allowed(word, mask).await.unwrap_or_else(|| NOT_SERVING.to_owned())
    }

    async fn allowed(&self, word: [u8; 4], mask: i64) -> Option<String> {
        let (reporter, facts) = (&self.reporter, &self.reporter.facts);
        let text = match &word {
            b"ruok" => "imok".to_owned(),
            b"isro" => "rw".to_owned(),
            b"srvr" => words::srvr(&reporter.ask(|core| core.view()).await?),
            b"stat" => {
                let (view, connections) = reporter.ask(|core| (core.view(), core.connection_views())).await?;
                words::stat(&view, &connections)
            }
            b"cons" => words::cons(&reporter.ask(|core| core.connection_views()).await?),
            b"dump" => {
                let seen = reporter.ask(|core| (core.sessions_view(), core.connection_views())).await?;
                words::dump(&seen.0, &seen.1)
            }
            b"wchs" => words::wchs(&reporter.ask(|core| core.watches_view()).await?),
            b"wchc" => words::wchc(&reporter.ask(|core| core.watches_view()).await?),
            b"wchp" => words::wchp(&reporter.ask(|core| core.watches_view()).await?),
            b"hash" => words::hash(&reporter.ask(|core| core.digests()).await?),
            b"mntr" => words::mntr(&reporter.report().await?.metrics),
            b"crst" => {
                reporter.ask(|core| core.reset_connection_stats()).await?;
                "Connection stats reset.\n".to_owned()
            }
            b"srst" => {
                reporter.ask(|core| core.reset_stats()).await?;
                "Server stats reset.\n".to_owned()
            }
            b"dirs" => self.of_disk(|words| words.dirs()).await?,
            b"conf" => self.of_disk(|words| words.conf()).await?,
            b"envi" => {
                let entries = self.of_disk(|_| process::environment()).await?;
                format!("Environment:\n{}", words::pairs(entries))
            }
            b"gtmk" => facts.trace_mask.load(Ordering::Relaxed).to_string(),
            b"stmk" => {
                facts.trace_mask.store(mask, Ordering::Relaxed);
                mask.to_string()
            }
            _ => return None,
        };
        Some(text)
    }

    async fn of_disk<T: Send + 'static>(&self, look: impl FnOnce(&Words) -> T + Send + 'static) -> Option<T> {
        let words = self.clone();
        tokio::task::spawn_blocking(move || look(&words)).await.ok()
    }

    fn dirs(&self) -> String {
        let (data, log) = (self.reporter.facts.data_dir(), self.reporter.facts.log_dir());
        words::dirs(directory_bytes(&data), directory_bytes(&log))
    }

    fn conf(&self) -> String {
        let settings = self.reporter.facts.configuration();
        words::pairs(settings.iter().map(|(key, _, value): &(_, _, Setting)| (*key, value.to_string())))
    }
}
