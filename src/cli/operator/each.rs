//! What is asked about several ensembles: of each the same, one after the other, and what fails of one keeps nobody from
//! the others.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Common, Output, exit, json};
use crate::config::Config;
use crate::model::EnsembleName;

/// What is told of one ensemble.
pub(super) struct Told<T> {
    pub(super) what: T,
    /// Is there a difference, as `diff` and `verify` know it?
    pub(super) differs: bool,
}

impl<T> From<T> for Told<T> {
    fn from(what: T) -> Self {
        Told { what, differs: false }
    }
}

/// The configuration of each ensemble that is meant, the first one first.
///
/// # Errors
/// There is none of this name.
pub(in crate::cli) fn meant(config: &Config, name: Option<&EnsembleName>) -> anyhow::Result<Vec<Config>> {
    let mut each = config.each();
    let Some(name) = name else { return Ok(each) };
    each.retain(|config| config.ensemble == *name);
    if each.is_empty() {
        let names: Vec<_> = config.names().map(EnsembleName::as_str).collect();
        bail!("there is no ensemble {name}; there are: {}", names.join(", "));
    }
    Ok(each)
}

impl Common {
    /// The configuration of each ensemble that is meant.
    pub(super) fn load(&self) -> anyhow::Result<Vec<Config>> {
        meant(&Config::load(&self.file.config)?, self.ensemble.as_ref())
    }

    /// Asks about each ensemble that is meant, and says it: of one alone as it is, of several under their names. Fails if
    /// that could not be told of one of them.
    pub(super) async fn each<T: Serialize>(
        &self,
        meant: &[Config],
        about: impl AsyncFn(&Config) -> anyhow::Result<Told<T>>,
        human: impl Fn(&T) -> io::Result<()>,
    ) -> anyhow::Result<ExitCode> {
        if let [config] = meant {
            let Told { what, differs } = about(config).await?;
            match self.output {
                Output::Json => json(&what)?,
                Output::Human => human(&what)?,
            }
            return Ok(exit(differs));
        }
        let (mut all, mut any_differs, mut failed) = (Map::new(), false, Vec::new());
        for config in meant {
            let name = config.ensemble.as_str();
            let told = about(config).await;
            if self.output == Output::Human {
                writeln!(io::stdout(), "ensemble {name}")?;
            }
            let value = match told {
                Ok(Told { what, differs }) => {
                    any_differs |= differs;
                    if self.output == Output::Human {
                        human(&what)?;
                    }
                    serde_json::to_value(&what)?
                }
                Err(error) => {
                    let reason = format!("{error:#}");
                    failed.push(format!("ensemble {name}: {reason}"));
                    Value::Object(Map::from_iter([("error".to_owned(), reason.into())]))
                }
            };
            all.insert(name.to_owned(), value);
        }
        if self.output == Output::Json {
            json(&all)?;
        }
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(exit(any_differs))
    }
}
