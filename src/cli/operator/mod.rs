//! The operators' tools: what the bridge makes of what is there now, told without doing it. They read both sides
//! once and then ask the daemon's own engine. `gc` and `uninstall` are the only ones that write, and only if told to.

mod diff;
mod dry_run;
mod each;
mod explain;
mod gc;
mod history;
mod plan;
mod removed;
mod sight;
mod status;
mod table;
mod uninstall;
mod verify;
mod way;

use std::process::ExitCode;

pub(super) use diff::run as diff;
pub(super) use dry_run::run as dry_run;
pub(super) use each::meant;
pub(super) use explain::run as explain;
pub(super) use gc::{Args as GcArgs, run as gc};
pub(super) use history::run as history;
pub(super) use plan::run as plan;
pub(super) use status::run as status;
pub(super) use uninstall::{Args as UninstallArgs, run as uninstall};
pub(super) use verify::{Args as VerifyArgs, run as verify};

use super::ConfigFile;
use crate::model::{EnsembleName, ServiceKey};
use each::Told;

/// What all of them take.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    file: ConfigFile,
    /// How to say it.
    #[arg(long, value_enum, default_value = "human")]
    output: Output,
    /// Only this ensemble; by default all of the configuration.
    #[arg(long, value_name = "NAME")]
    ensemble: Option<EnsembleName>,
}

/// What is asked about some Services, or all.
#[derive(Debug, clap::Args)]
pub(super) struct SomeArgs {
    #[command(flatten)]
    common: Common,
    /// Only these Services.
    #[arg(value_name = "NAMESPACE/SERVICE", value_parser = service)]
    services: Vec<ServiceKey>,
}

/// What is asked about one Service.
#[derive(Debug, clap::Args)]
pub(super) struct OneArgs {
    #[command(flatten)]
    common: Common,
    /// Which Service.
    #[arg(value_name = "NAMESPACE/SERVICE", value_parser = service)]
    service: ServiceKey,
}

/// A form of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Tables.
    Human,
    /// One JSON document.
    Json,
}

/// What `diff` and `verify` end with when there is a difference: 1 is a failure, 2 a wrong command line.
const DIFFERENCE: u8 = 3;

impl SomeArgs {
    /// Is this one of those asked about?
    fn is_about(&self, key: &ServiceKey) -> bool {
        self.services.is_empty() || self.services.contains(key)
    }
}

fn service(text: &str) -> Result<ServiceKey, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
            Ok(ServiceKey::new(namespace, name))
        }
        _ => Err("it is not namespace/name".to_owned()),
    }
}

/// Exit codes as of `diff(1)`, but for the number.
fn exit(differs: bool) -> ExitCode {
    if differs { ExitCode::from(DIFFERENCE) } else { ExitCode::SUCCESS }
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value)?;
    Ok(writeln!(out)?)
}
