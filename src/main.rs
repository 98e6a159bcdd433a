//! The `zoobridge` binary.

fn main() {}
