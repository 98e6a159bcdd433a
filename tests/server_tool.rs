//! The commands of `docs/server-tool.md`, run one after the other on a directory that Apache's server left, answer
//! what is written there.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::fs;
use std::path::Path;
use std::process::Command;

/// A command, and what it prints.
struct Example {
    command: String,
    answer: Vec<String>,
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in text.split("```console\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            match line.strip_prefix("$ ") {
                Some(command) => examples.push(Example { command: command.to_owned(), answer: vec![] }),
                None => examples.last_mut().unwrap().answer.push(line.to_owned()),
            }
        }
    }
    examples
}

/// Do the lines agree? "…" stands for any number of them.
fn agree(expected: &[String], found: &[&str]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((dots, rest)) if dots == "…" => {
            (0..=found.len()).any(|skipped| agree(rest, &found[skipped..]))
        }
        Some((line, rest)) => found.first() == Some(&line.as_str()) && agree(rest, &found[1..]),
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn the_commands_in_the_documentation_answer_what_is_written_there() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(here.join("docs/server-tool.md")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy(&here.join("crates/zk-wire/tests/vectors/standalone-3.9.3"), &dir.path().join("data/version-2"));
    let examples = examples(&text);
    assert!(examples.len() >= 8, "{}", examples.len());
    for Example { command, answer } in examples {
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("zoobridge"), "{command}");
        let done = Command::new(env!("CARGO_BIN_EXE_zoobridge"))
            .args(words)
            .current_dir(dir.path())
            .env_remove("ZOOBRIDGE_LOG")
            .output()
            .unwrap();
        let out = String::from_utf8(done.stdout).unwrap() + &String::from_utf8(done.stderr).unwrap();
        let found: Vec<&str> = out.lines().collect();
        assert!(agree(&answer, &found), "{command} answers:\n{out}");
    }
}
