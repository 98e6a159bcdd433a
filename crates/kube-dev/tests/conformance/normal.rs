//! What may differ between two planes, and nothing else may.
//!
//! - What a server chooses: uids, resourceVersions, addresses, generated suffixes, continue tokens and the times
//!   of writes get names in the order in which they appear, so that the same value has the same name everywhere.
//! - The resourceVersion of a list, a table or a bookmark is any at which it was true.
//! - `managedFields` are ordered by time, and times differ; they are compared ordered by owner. Causes of a
//!   conflict have no order upstream, which keeps managers in a Go map.
//! - Upstream's storage says where etcd has an object, and Go's decoders have words of their own for what is not
//!   JSON; kube-dev has neither.
//! - A transcript's namespace has a name of its own.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Names for what a server chooses.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: BTreeMap<String, String>,
    counts: BTreeMap<&'static str, usize>,
}

impl Names {
    /// Always replaces a text by a name.
    pub(crate) fn call(&mut self, text: &str, name: &str) {
        self.known.insert(text.to_owned(), name.to_owned());
    }

    fn name(&mut self, what: &'static str, text: &str) -> String {
        let key = if what == "version" { format!("version {text}") } else { text.to_owned() };
        let count = self.counts.entry(what).or_default();
        let name = self.known.entry(key).or_insert_with(|| {
            *count += 1;
            format!("<{what} {count}>")
        });
        name.clone()
    }

    /// A text without what the server chose.
    pub(crate) fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (known, name) in self.known.iter().filter(|(known, _)| !known.starts_with("version ")) {
            text = text.replace(known, name);
        }
        for (before, what) in [("resourceVersion=", "version"), ("10.96.", "address")] {
            let mut rest = std::mem::take(&mut text);
            while let Some(at) = rest.find(before) {
                let start = if what == "version" { at + before.len() } else { at };
                let length = rest[start..]
                    .find(|c: char| !c.is_ascii_digit() && c != '.')
                    .unwrap_or(rest.len() - start);
                let value = rest[start..start + length].to_owned();
                text.push_str(&rest[..start]);
                let chosen = !matches!(&*value, "" | "0" | "1");
                text.push_str(&if chosen { self.name(what, &value) } else { value });
                rest = rest[start + length..].to_owned();
            }
            text.push_str(&rest);
        }
        if let (Some(start), Some((_, why))) =
            (text.find("StorageError: "), text.split_once("AdditionalErrorMsg: "))
        {
            text = format!("{}{why}", &text[..start]);
        }
        for words in ["too old resource version: ", "continue key is not valid"] {
            text.truncate(text.find(words).map_or(text.len(), |at| at + words.len()));
        }
        text
    }

    /// JSON without what the server chose.
    pub(crate) fn json(&mut self, mut value: Value) -> Value {
        self.walk("", &mut value);
        value
    }

    fn walk(&mut self, key: &str, value: &mut Value) {
        match value {
            Value::String(text) => {
                *text = match key {
                    "uid" if text.len() == 36 => self.name("uid", text),
                    "resourceVersion" if !matches!(&**text, "" | "0" | "1" | "*") => {
                        self.name("version", text)
                    }
                    "creationTimestamp" | "deletionTimestamp" | "time" => "<time>".to_owned(),
                    "continue" => self.name("token", text),
                    _ => self.text(text),
                }
            }
            Value::Array(list) => {
                list.iter_mut().for_each(|value| self.walk(key, value));
                match key {
                    "managedFields" => list.sort_by_key(|entry| {
                        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
                        (text("operation"), text("manager"), text("subresource"), text("apiVersion"))
                    }),
                    "causes" => list.sort_by_key(Value::to_string),
                    _ => {}
                }
            }
            Value::Object(map) => {
                let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
                let is_list = kind.ends_with("List") || kind == "Table";
                let is_bookmark = map.get("type").is_some_and(|what| what == "BOOKMARK");
                let metadata = match (is_list, is_bookmark) {
                    (true, _) => map.get_mut("metadata"),
                    (_, true) => map.get_mut("object").and_then(|object| object.get_mut("metadata")),
                    _ => None,
                };
                if let Some(version) = metadata.and_then(|metadata| metadata.get_mut("resourceVersion")) {
                    *version = json!("*");
                }
                if let Some(prefix) = map.get("generateName").and_then(Value::as_str).map(str::to_owned)
                    && let Some(name) = map.get("name").and_then(Value::as_str)
                {
                    let suffix = name.strip_prefix(&prefix).unwrap_or(name).to_owned();
                    self.name("suffix", &suffix);
                }
                for (name, value) in map.iter_mut() {
                    self.walk(name, value);
                }
            }
            _ => {}
        }
    }
}
