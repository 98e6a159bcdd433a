//! The `zoobridge` binary: parse, start logging, run.

use clap::Parser;
use zoobridge::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    Cli::parse().run()
}
