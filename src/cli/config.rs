//! `zoobridge config`: looks at a configuration, with neither cluster nor ZooKeeper.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Says everything that is wrong with a configuration, each with its line and column.
    ///
    /// Exit codes: 0 if nothing is, 1 if something is, 2 if the file cannot be read.
    Check {
        /// The configuration, or `-` for the standard input.
        file: PathBuf,
    },
    /// Prints the JSON Schema of zoobridge.yaml, for editors.
    Schema,
}

/// How it ended.
pub(super) enum Verdict {
    Good,
    Bad,
    Unreadable,
}

/// Looks, and says what it finds.
///
/// # Errors
/// It cannot be said.
pub(super) fn run(args: &Args) -> anyhow::Result<Verdict> {
    match &args.command {
        Command::Check { file } => check(file),
        Command::Schema => {
            let schema = serde_json::to_string_pretty(&Config::schema())?;
            writeln!(std::io::stdout(), "{schema}")?;
            Ok(Verdict::Good)
        }
    }
}

fn check(file: &Path) -> anyhow::Result<Verdict> {
    let read = if file.as_os_str() == "-" {
        let mut text = String::new();
        let read = std::io::stdin().read_to_string(&mut text);
        read.map_err(|source| ConfigError::Read { path: file.to_owned(), source })
            .and_then(|_| Config::parse(&text))
    } else {
        Config::load(file)
    };
    match read {
        Ok(_) => {
            writeln!(std::io::stdout(), "{}: ok", file.display())?;
            Ok(Verdict::Good)
        }
        Err(ConfigError::Read { path, source }) => {
            writeln!(std::io::stderr(), "zoobridge: cannot read {}: {source}", path.display())?;
            Ok(Verdict::Unreadable)
        }
        Err(error) => {
            writeln!(std::io::stderr(), "{error}")?;
            Ok(Verdict::Bad)
        }
    }
}
