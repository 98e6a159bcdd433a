//! The pure parts stay pure: no runtime, client, socket, file, clock or random source.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::path::Path;

const PURE: [&str; 4] = ["src/model", "src/format", "src/plan", "src/reverse/plan"];
const IMPURE: [&str; 14] = [
    "tokio",
    "kube::",
    "k8s_openapi",
    "zk_client",
    "zab::",
    "futures",
    "async ",
    "std::fs",
    "std::env",
    "std::thread",
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "uuid",
];

fn offences(path: &Path, found: &mut Vec<String>) -> usize {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        return entries.map(|entry| offences(&entry.unwrap().path(), found)).sum();
    }
    let text = std::fs::read_to_string(path).unwrap();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for word in IMPURE.iter().filter(|word| code.contains(*word)) {
            found.push(format!("{}:{}: {word}", path.display(), number + 1));
        }
    }
    1
}

#[test]
fn model_format_and_plan_do_no_io_and_know_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let files: usize = PURE.iter().map(|folder| offences(&root.join(folder), &mut found)).sum();
    assert!(files >= 15, "only {files} files were read");
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_check_finds_what_it_looks_for() {
    let mut found = Vec::new();
    offences(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/apply/bridge.rs").as_path(), &mut found);
    assert!(found.iter().any(|offence| offence.contains("tokio")), "{found:?}");
}
