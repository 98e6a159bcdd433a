//! The cores stay pure: no runtime, socket, file, clock or random source, and no way around that through the
//! modules that have them. Addresses are values and allowed.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::path::{Path, PathBuf};

/// From this crate's directory.
const PURE: [&str; 8] = [
    "src/access",
    "src/prep",
    "src/quorum",
    "src/server",
    "src/session.rs",
    "src/session_password.rs",
    "src/tree",
    "../zk-wire/src",
];

const IMPURE: [&str; 28] = [
    "tokio",
    "async ",
    ".await",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "std::fs",
    "File::",
    "rustix",
    "std::env",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "rand::",
    "getrandom",
    "uuid",
    "RandomState",
    "crate::net",
    "crate::start",
    "OsDisk",
    "DiskStorage",
    "MemoryDisk",
    "MemoryStorage",
    "zk_client",
];

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries.iter().flat_map(|entry| sources(entry)).collect()
}

/// Where a text does what it must not, as `line: word`. Tests at its end may.
fn offences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let code = text.split("\n#[cfg(test)]\nmod tests {\n").next().unwrap_or_default();
    for (line, code) in (1..).zip(code.lines()) {
        let code = code.split("//").next().unwrap_or_default();
        found.extend(IMPURE.iter().filter(|word| code.contains(*word)).map(|word| format!("{line}: {word}")));
    }
    found
}

#[test]
fn the_cores_and_the_wire_do_no_io_and_know_no_clock() {
    let files: Vec<PathBuf> = PURE.iter().flat_map(|path| sources(&here().join(path))).collect();
    assert!(files.len() >= 30, "only {} files were read", files.len());
    let mut found = Vec::new();
    for file in files {
        let offences = offences(&std::fs::read_to_string(&file).unwrap());
        found.extend(offences.iter().map(|offence| format!("{}:{offence}", file.display())));
    }
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_check_finds_what_it_looks_for_and_spares_comments_and_tests() {
    let text = "use std::net::IpAddr;\n// tokio\nlet now = Instant::now();\n\n\
                #[cfg(test)]\nmod tests {\nuse std::fs;\n}\n";
    assert_eq!(offences(text), ["3: Instant"]);
    for (file, word) in [
        ("net/driver.rs", "tokio"),
        ("net/driver.rs", "SystemTime"),
        ("net/listener.rs", "TcpListener"),
        ("storage/os_disk.rs", "std::fs"),
    ] {
        let found = offences(&std::fs::read_to_string(here().join("src").join(file)).unwrap());
        assert!(found.iter().any(|offence| offence.ends_with(word)), "{file}: {found:?}");
    }
}

/// What a crate cannot name it cannot use.
#[test]
fn the_wires_manifest_has_nothing_impure() {
    let manifest = std::fs::read_to_string(here().join("../zk-wire/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names: Vec<&str> =
        dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    assert_eq!(names, ["adler2", "bytes", "crc32fast", "flate2", "md-5", "snap", "thiserror"]);
}
