//! One answer per line: for people, or as JSON.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde_json::{Map, Value};

/// How answers look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// `name=value` pairs, a line each.
    Text,
    /// A JSON object per line.
    Json,
}

/// The fields of an answer, in the order in which they are told.
#[derive(Debug, Default, Clone)]
pub(super) struct Line(Vec<(&'static str, Value)>);

impl Line {
    /// One that begins with what it is about.
    pub(super) fn of(what: &str) -> Self {
        Line::default().with("is", what)
    }

    /// One more field.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// One more field, if there is a value.
    pub(super) fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            None => self,
            Some(value) => self.with(name, value),
        }
    }

    fn write(&self, format: Format, out: &mut impl Write) -> io::Result<()> {
        match format {
            Format::Json => {
                let object: Map<String, Value> =
                    self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
                writeln!(out, "{}", Value::Object(object))
            }
            Format::Text => {
                for (n, (name, value)) in self.0.iter().enumerate() {
                    let space = if n == 0 { "" } else { " " };
                    match value {
                        Value::String(text) if *name == "is" => write!(out, "{space}{text}")?,
                        Value::String(text) if is_plain(text) => write!(out, "{space}{name}={text}")?,
                        // As JSON has them, so that no name can look like another field.
                        value => write!(out, "{space}{name}={value}")?,
                    }
                }
                writeln!(out)
            }
        }
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "/._-:+@,".contains(c))
}

/// Standard output.
pub(super) struct Lines {
    format: Format,
    out: BufWriter<StdoutLock<'static>>,
    closed: bool,
}

impl Lines {
    /// One that answers so.
    pub(super) fn new(format: Format) -> Self {
        Lines { format, out: BufWriter::new(io::stdout().lock()), closed: false }
    }

    /// Tells one answer.
    pub(super) fn tell(&mut self, line: &Line) -> anyhow::Result<()> {
        let written = line.write(self.format, &mut self.out);
        self.noticing(written)
    }

    /// Tells what is still held back.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.out.flush();
        self.noticing(flushed)
    }

    /// Does nobody read any more?
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    fn noticing(&mut self, result: io::Result<()>) -> anyhow::Result<()> {
        self.closed |= result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        Ok(result?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line, format: Format) -> String {
        let mut out = Vec::new();
        line.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_tells_the_same_to_people_and_to_programs() {
        let line = Line::of("deleted").with("path", "/a b=\n\"c").with("plain", "/x/y").with("bytes", 3);
        assert_eq!(text(&line, Format::Text), "deleted path=\"/a b=\\n\\\"c\" plain=/x/y bytes=3\n");
        let json: Value = serde_json::from_str(&text(&line, Format::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"is": "deleted", "path": "/a b=\n\"c", "plain": "/x/y", "bytes": 3})
        );
    }
}
