//! JSON as Jackson's pretty printer writes it: probes grep for `"error" : null`.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::ser::Formatter;

/// An object whose members keep their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Object(Vec<(String, Member)>);

/// A member of an [`Object`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Member {
    /// Whose order does not matter, or which has none.
    Value(Value),
    /// An object.
    Object(Object),
    /// A list of objects.
    Objects(Vec<Object>),
}

impl Object {
    /// Adds a member, or replaces the one of this name.
    pub(super) fn put(&mut self, name: impl Into<String>, member: impl Into<Member>) {
        let (name, member) = (name.into(), member.into());
        match self.0.iter_mut().find(|(other, _)| *other == name) {
            Some((_, old)) => *old = member,
            None => self.0.push((name, member)),
        }
    }

    /// With one more member.
    pub(super) fn with(mut self, name: impl Into<String>, member: impl Into<Member>) -> Self {
        self.put(name, member);
        self
    }

    /// Adds a member unless there is one of this name.
    pub(super) fn put_if_absent(&mut self, name: &str, member: impl Into<Member>) {
        if !self.0.iter().any(|(other, _)| other == name) {
            self.0.push((name.to_owned(), member.into()));
        }
    }

    /// Adds the members of another.
    pub(super) fn append(&mut self, mut other: Object) {
        self.0.append(&mut other.0);
    }

    /// As text.
    pub(super) fn to_text(&self) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Jackson::default());
        // Writing to memory does not fail, and all keys are strings.
        let _ = self.serialize(&mut serializer);
        String::from_utf8(out).unwrap_or_default()
    }
}

impl<T: Into<Value>> From<T> for Member {
    fn from(value: T) -> Self {
        Member::Value(value.into())
    }
}

impl From<Object> for Member {
    fn from(object: Object) -> Self {
        Member::Object(object)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, member) in &self.0 {
            map.serialize_entry(name, member)?;
        }
        map.end()
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Member::Value(value) => value.serialize(serializer),
            Member::Object(object) => object.serialize(serializer),
            Member::Objects(objects) => objects.serialize(serializer),
        }
    }
}

/// `DefaultPrettyPrinter`: a line for each member of an object, lists in one line.
#[derive(Debug, Default)]
struct Jackson {
    depth: usize,
    /// Has nothing been written since the object or list at hand began?
    is_empty: bool,
}

impl Jackson {
    fn new_line<W: Write + ?Sized>(&self, out: &mut W) -> io::Result<()> {
        write!(out, "\n{:1$}", "", self.depth * 2)
    }
}

impl Formatter for Jackson {
    fn begin_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        self.is_empty = true;
        out.write_all(b"{")
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        self.new_line(out)
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b" : ")
    }

    fn end_object_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.is_empty = false;
        Ok(())
    }

    fn end_object<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        if self.is_empty {
            out.write_all(b" ")?;
        } else {
            self.new_line(out)?;
        }
        self.is_empty = false;
        out.write_all(b"}")
    }

    fn begin_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.is_empty = true;
        out.write_all(b"[")
    }

    fn begin_array_value<W: Write + ?Sized>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b" " } else { b", " })
    }

    fn end_array_value<W: Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.is_empty = false;
        Ok(())
    }

    fn end_array<W: Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.is_empty = false;
        out.write_all(b" ]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_as_jackson_writes_it() {
        let inner = Object::default().with("a", vec![1, 2]).with("b", Object::default());
        let object = Object::default()
            .with("text", "x\"y")
            .with("none", Value::Null)
            .with("empty", Vec::<i64>::new())
            .with("list", Member::Objects(vec![inner.clone(), inner]))
            .with("command", "c");
        let expected = r#"{
  "text" : "x\"y",
  "none" : null,
  "empty" : [ ],
  "list" : [ {
    "a" : [ 1, 2 ],
    "b" : { }
  }, {
    "a" : [ 1, 2 ],
    "b" : { }
  } ],
  "command" : "c"
}"#;
        assert_eq!(object.to_text(), expected);
    }
}
