//! The file with the key of session passwords: `session.key` in the data directory, which nobody else may read.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zk_wire::ids::SessionId;

use crate::session_password::SessionKey;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SessionKeyError {
    /// It cannot be read or written.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("{path} has mode {mode:03o}, so others can read the key of session passwords: chmod 600 it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is none.
    #[error(
        "{path}:{line} is neither key= with 64 hexadecimal digits nor derived= with a session id; without the \
             file a new key is made, and all sessions end"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line; 0 if there is no key in any.
        line: usize,
    },
    /// There is no random source.
    #[error("there is no random key to be had: {0}")]
    Random(getrandom::Error),
}

const NAME: &str = "session.key";
const UNFINISHED: &str = "tmp.session.key";
const HEADER: &str = "# Session passwords follow from this key: whoever reads it can resume every session.\n";

/// Reads the key, or makes one. Sessions that are there when it is made keep their passwords.
///
/// # Errors
/// The file cannot be read or written, is none, or can be read by others.
pub fn load_or_create(
    data_dir: &Path,
    sessions: impl Iterator<Item = SessionId>,
) -> Result<SessionKey, SessionKeyError> {
    let path = data_dir.join(NAME);
    match std::fs::metadata(&path) {
        Ok(metadata) => {
            let mode = metadata.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                return Err(SessionKeyError::Open { path, mode });
            }
            let text = std::fs::read_to_string(&path).map_err(failed("read", &path))?;
            parse(&text).map_err(|line| SessionKeyError::Malformed { path, line })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(SessionKeyError::Random)?;
            let key = SessionKey { key, derived: sessions.collect() };
            write(data_dir, &path, &key)?;
            Ok(key)
        }
        Err(source) => Err(SessionKeyError::Io { action: "read", path, source }),
    }
}

fn write(data_dir: &Path, path: &Path, key: &SessionKey) -> Result<(), SessionKeyError> {
    let digits: String = key.key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("{HEADER}key={digits}\n");
    for session in &key.derived {
        text.push_str(&format!("derived={session}\n"));
    }
    let unfinished = data_dir.join(UNFINISHED);
    let written = || {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)?;
        std::fs::File::open(data_dir)?.sync_all()
    };
    written().map_err(failed("write", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> SessionKeyError {
    let path = path.to_owned();
    move |source| SessionKeyError::Io { action, path, source }
}

/// Fails with the number of the line.
fn parse(text: &str) -> Result<SessionKey, usize> {
    let (mut key, mut derived) = (None, BTreeSet::new());
    for (number, line) in (1..).zip(text.lines()) {
        match line.split_once('=') {
            _ if line.starts_with('#') || line.is_empty() => {}
            Some(("key", digits)) => key = Some(parse_key(digits).ok_or(number)?),
            Some(("derived", id)) => {
                let digits = id.strip_prefix("0x").ok_or(number)?;
                let id = u64::from_str_radix(digits, 16).map_err(|_| number)?;
                derived.insert(SessionId(id.cast_signed()));
            }
            _ => return Err(number),
        }
    }
    Ok(SessionKey { key: key.ok_or(0_usize)?, derived })
}

fn parse_key(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(dir: &Path, sessions: &[i64]) -> Result<SessionKey, SessionKeyError> {
        load_or_create(dir, sessions.iter().copied().map(SessionId))
    }

    #[test]
    fn a_key_is_made_once_and_nobody_else_may_read_it() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = load(one.path(), &[1, i64::MIN + 5]).unwrap();
        let read = load(one.path(), &[7]).unwrap();
        assert_eq!((read.key, &read.derived), (made.key, &made.derived));
        assert_eq!(made.derived, [SessionId(i64::MIN + 5), SessionId(1)].into());
        assert_ne!(load(other.path(), &[]).unwrap().key, made.key);
        let path = one.path().join(NAME);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = load(one.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_is_no_key_is_said_with_its_line() {
        let key = format!("key={}", "ab".repeat(32));
        for (text, line) in [
            (String::new(), 0),
            ("# only this\n".to_owned(), 0),
            ("key=abc\n".to_owned(), 1),
            (format!("key={}\n", "+f".repeat(32)), 1),
            (format!("{key}\nderived=12\n"), 2),
            (format!("\n{key}\n\nnonsense\n"), 4),
        ] {
            assert_eq!(parse(&text).unwrap_err(), line, "{text:?}");
        }
        assert_eq!(parse(&key).unwrap().key, [0xab; 32]);
    }
}
