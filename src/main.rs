//! The `zoobridge` binary: parse, start logging, run.

use clap::Parser;
use zoobridge::cli::Cli;

fn main() -> std::process::ExitCode {
    Cli::parse().run()
}
