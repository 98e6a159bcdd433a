//! Settings as they were written, each with its place: Java properties, and `--set KEY=VALUE`.

use std::net::{IpAddr, Ipv4Addr};

use super::ConfigError;

/// A setting with the place it comes from, for errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// File and line, or the option.
    pub(super) place: String,
    /// As it was written.
    pub(super) key: String,
    /// Without spaces around it.
    pub(super) value: String,
}

/// Java properties (`java.util.Properties.load`): comments, continued lines, escapes, and `=`, `:` or spaces
/// between key and value. A key alone, which Java takes for one with an empty value, is an error here, and so
/// is a key with two different values, of which Java takes the last.
pub(super) fn parse(text: &str, file: &str) -> Result<Vec<Setting>, ConfigError> {
    let mut settings: Vec<Setting> = Vec::new();
    for (number, line) in logical_lines(text) {
        let setting = pair(&line, format!("{file}:{number}"))?;
        match settings.iter().find(|other| other.name() == setting.name()) {
            Some(first) if first.value != setting.value => {
                let Setting { place, key, .. } = setting;
                return Err(ConfigError::Twice { place, key, first: first.place.clone() });
            }
            Some(_) => {}
            None => settings.push(setting),
        }
    }
    Ok(settings)
}

/// One setting from the command line; no escapes.
pub(super) fn parse_option(text: &str) -> Result<Setting, ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            let key = key.trim().to_owned();
            Ok(Setting { place: format!("--set {key}"), key, value: value.trim().to_owned() })
        }
        _ => Err(ConfigError::NotAPair { place: "--set".to_owned(), text: text.to_owned() }),
    }
}

/// Lines without comments, blank ones and leading spaces, those that end in `\` joined with the next; each with
/// the number of its first.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut logical: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        if !goes_on && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let backslashes = line.bytes().rev().take_while(|byte| *byte == b'\\').count();
        let ends_open = backslashes % 2 == 1;
        let part = if ends_open { &line[..line.len() - 1] } else { line };
        match logical.last_mut() {
            Some((_, whole)) if goes_on => whole.push_str(part),
            _ => logical.push((number, part.to_owned())),
        }
        goes_on = ends_open;
    }
    logical
}

fn pair(line: &str, place: String) -> Result<Setting, ConfigError> {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || c.is_whitespace());
        escaped = c == '\\' && !escaped;
        ends
    });
    let not_a_pair = || ConfigError::NotAPair { place: place.clone(), text: line.to_owned() };
    let (key, rest) = line.split_at(end.ok_or_else(not_a_pair)?);
    let rest = rest.trim_start();
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim();
    if key.is_empty() || (value.is_empty() && !rest.starts_with(['=', ':'])) {
        return Err(not_a_pair());
    }
    Ok(Setting { key: unescape(key), value: unescape(value), place })
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        match escaped {
            None => plain.push(c),
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits = chars.as_str().get(..4).unwrap_or_default();
                match u32::from_str_radix(digits, 16).ok().and_then(char::from_u32) {
                    Some(c) => {
                        plain.push(c);
                        chars.nth(3);
                    }
                    None => plain.push('u'),
                }
            }
            Some(other) => plain.push(other),
        }
    }
    plain
}

impl Setting {
    /// The key without `zookeeper.`: Apache has these as system properties of the JVM, and `zoo.cfg` makes
    /// `zookeeper.KEY` of a `KEY` that it does not know itself.
    pub(super) fn name(&self) -> &str {
        self.key.strip_prefix("zookeeper.").unwrap_or(&self.key)
    }

    /// Key and value; a secret's value is not shown.
    pub(super) fn shown(&self) -> (String, String) {
        let key = self.key.to_lowercase();
        let is_secret = ["password", "digest", "secret"].iter().any(|word| key.contains(word))
            && !["digest.enabled", "digestalg", "passwordpath"].iter().any(|end| key.ends_with(end));
        let value = if is_secret { "********".to_owned() } else { self.value.clone() };
        (self.key.clone(), value)
    }

    pub(super) fn invalid(&self, reason: &'static str) -> ConfigError {
        let Setting { place, key, value } = self;
        ConfigError::Value { place: place.clone(), key: key.clone(), value: value.clone(), reason }
    }

    /// The same without its value, for errors about what must not be shown.
    pub(super) fn without_value(&self) -> Setting {
        Setting { value: "(secret)".to_owned(), ..self.clone() }
    }

    /// Values separated by commas.
    pub(super) fn list(&self) -> Vec<String> {
        let values = self.value.split(',').map(str::trim).filter(|value| !value.is_empty());
        values.map(str::to_owned).collect()
    }

    /// A number from zero to one.
    pub(super) fn share(&self) -> Result<f64, ConfigError> {
        let share: f64 = self.value.parse().map_err(|_| self.invalid("a number is wanted"))?;
        if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(self.invalid("0 to 1 is wanted")) }
    }

    pub(super) fn number(&self, min: u64, max: u64) -> Result<u64, ConfigError> {
        let number: u64 = self.value.parse().map_err(|_| self.invalid("a whole number is wanted"))?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(self.invalid("the number is out of range"))
        }
    }

    /// -1 means the default, as in Apache.
    pub(super) fn timeout(&self) -> Result<i32, ConfigError> {
        if self.value == "-1" {
            return Ok(0);
        }
        Ok(i32::try_from(self.number(1, i32::MAX as u64)?).unwrap_or(i32::MAX))
    }

    pub(super) fn yes_or_no(&self) -> Result<bool, ConfigError> {
        match self.value.to_ascii_lowercase().as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(self.invalid("yes or no is wanted")),
        }
    }

    pub(super) fn address(&self) -> Result<IpAddr, ConfigError> {
        if self.value == "localhost" {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        self.value.parse().map_err(|_| self.invalid("an IP address is wanted"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_as_java_reads_them() {
        let text = "# comment\n! comment\n\n a=1\nb : 2\nc 3\n  d = \\\n    x,\\\n    y \ne\\ f=\\u0041\\tz\\\\\ng=\n\
                    h=a#b\ni=x\\\\\nj=1";
        let settings = parse(text, "f").unwrap();
        let expected = [
            ("f:4", "a", "1"),
            ("f:5", "b", "2"),
            ("f:6", "c", "3"),
            ("f:7", "d", "x,y"),
            ("f:10", "e f", "A\tz\\"),
            ("f:11", "g", ""),
            ("f:12", "h", "a#b"),
            ("f:13", "i", "x\\"),
            ("f:14", "j", "1"),
        ];
        let read: Vec<_> =
            settings.iter().map(|s| (s.place.as_str(), s.key.as_str(), s.value.as_str())).collect();
        assert_eq!(read, expected);
    }

    #[test]
    fn a_key_with_two_values_is_an_error_with_both_places() {
        let error = parse("tickTime=1\nx=1\ntickTime=2", "f").unwrap_err().to_string();
        assert_eq!(
            error,
            "f:3: tickTime is set a second time, to something else than in f:1: remove one of them"
        );
        assert!(parse("forceSync=no\nzookeeper.forceSync=yes", "f").is_err());
        assert_eq!(parse("tickTime=1\ntickTime=1", "f").unwrap().len(), 1);
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, shown) in [
            ("ssl.keyStore.password=x", "********"),
            ("DigestAuthenticationProvider.superDigest=super:x", "********"),
            ("ssl.keyStore.passwordPath=x", "x"),
            ("digest.enabled=x", "x"),
            ("tickTime=x", "x"),
        ] {
            assert_eq!(parse(text, "f").unwrap()[0].shown().1, shown, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in "[ -~\\\\=:#\n\tü]{0,200}") {
            let _ = parse(&text, "f");
        }
    }
}
