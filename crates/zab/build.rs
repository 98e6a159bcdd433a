//! Says when this was built, as Apache's `Version` does. `SOURCE_DATE_EPOCH` makes builds repeatable.
#![allow(clippy::print_stdout)] // That is how cargo is talked to.

use jiff::Timestamp;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let built = given.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or_else(Timestamp::now);
    println!("cargo::rustc-env=ZAB_BUILT={}", built.strftime("%Y-%m-%d %H:%M UTC"));
}
