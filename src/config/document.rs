//! The text of a configuration as a tree that knows where each part stands, so that all mistakes are told, each
//! with its place, and not only the first.

use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use serde_path_to_error::Segment;
use serde_saphyr::Spanned;

use super::mistake::{Mistake, Place};

/// A YAML document.
#[derive(Debug, Clone)]
pub(super) struct Document(Node);

#[derive(Debug, Clone)]
struct Node {
    place: Place,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Scalar(Value),
    /// What made no sense is taken out, and the others keep their numbers.
    List(Vec<Option<Node>>),
    Map(Vec<(String, Node)>),
}

/// A document with more mistakes is none.
const MOST_MISTAKES: usize = 100;

impl Document {
    /// Reads YAML.
    pub(super) fn parse(text: &str) -> Result<Document, Mistake> {
        match serde_saphyr::from_str::<Spanned<Content>>(text) {
            Ok(root) => Ok(Document(Node::from(root))),
            Err(error) => {
                let place = error.location().map(place);
                let reason = error.without_snippet().to_string();
                Err(Mistake {
                    place,
                    key: String::new(),
                    reason: reason.lines().next().unwrap_or_default().to_owned(),
                })
            }
        }
    }

    /// Reads it as a `T`. Whatever makes no sense is told and taken out, until the rest does.
    pub(super) fn read<T: DeserializeOwned>(&self) -> (Option<T>, Vec<Mistake>) {
        let mut rest = self.clone();
        let mut mistakes: Vec<Mistake> = Vec::new();
        while mistakes.len() < MOST_MISTAKES {
            let error = match serde_path_to_error::deserialize(rest.value()) {
                Ok(read) => return (Some(read), mistakes),
                Err(error) => error,
            };
            let path: Vec<_> = error.path().iter().cloned().collect();
            let mut reason = error.inner().to_string();
            let (key, place, node) = rest.find(&path);
            if let Content::Scalar(value) = &node.content
                && !reason.contains(value.as_str().unwrap_or_default())
            {
                reason = format!("{value}: {reason}");
            }
            let missing = reason.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            let absent = missing.map(|field| join(&key, field));
            // What was taken out is not missing.
            if !absent.is_some_and(|absent| mistakes.iter().any(|mistake| mistake.key == absent)) {
                let place = (!key.is_empty()).then_some(place);
                mistakes.push(Mistake { place, key: key.clone(), reason });
            }
            if !rest.take_out(&path) {
                break;
            }
        }
        (None, mistakes)
    }

    /// Where a key stands, or the innermost one above it that does.
    pub(super) fn place(&self, key: &str) -> Option<Place> {
        let mut node = &self.0;
        let mut place = None;
        for part in key.split(['.', '[']) {
            let next = match (&node.content, part.strip_suffix(']')) {
                (Content::List(list), Some(index)) => {
                    index.parse::<usize>().ok().and_then(|index| list.get(index)?.as_ref())
                }
                (Content::Map(map), _) => map.iter().find(|(key, _)| key == part).map(|(_, node)| node),
                _ => None,
            };
            let Some(next) = next else { break };
            (node, place) = (next, Some(next.place));
        }
        place
    }

    /// The keys whose values differ, as deep as both are maps.
    pub(super) fn differences(&self, other: &Document) -> Vec<String> {
        let mut keys = Vec::new();
        differences("", &self.value(), &other.value(), &mut keys);
        keys
    }

    fn value(&self) -> Value {
        self.0.value()
    }

    /// The key of a path, where it stands, and what is there.
    fn find(&self, path: &[Segment]) -> (String, Place, &Node) {
        let (mut node, mut key) = (&self.0, String::new());
        for segment in path {
            let Some((name, next)) = node.child(segment) else { break };
            key = if name.starts_with('[') { key + &name } else { join(&key, &name) };
            node = next;
        }
        (key, node.place, node)
    }

    /// Takes out what a path leads to, or as near to it as there is something; not the whole.
    fn take_out(&mut self, path: &[Segment]) -> bool {
        let mut depth = 0;
        let mut node = &self.0;
        for segment in path {
            let Some((_, next)) = node.child(segment) else { break };
            (node, depth) = (next, depth + 1);
        }
        let Some((last, above)) = path[..depth].split_last() else { return false };
        let mut node = &mut self.0;
        for segment in above {
            let Some(next) = node.child_mut(segment) else { return false };
            node = next;
        }
        match (&mut node.content, last) {
            (Content::Map(map), Segment::Map { key }) => map.retain(|(name, _)| name != key),
            (Content::List(list), Segment::Seq { index }) => {
                if let Some(place) = list.iter_mut().filter(|item| item.is_some()).nth(*index) {
                    *place = None;
                }
            }
            _ => return false,
        }
        true
    }
}

impl Node {
    fn value(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(list) => list.iter().flatten().map(Node::value).collect(),
            Content::Map(map) => Value::Object(
                map.iter().map(|(key, node)| (key.clone(), node.value())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Its name, and it. Numbers are those of what is left, and names those of what was written.
    fn child(&self, segment: &Segment) -> Option<(String, &Node)> {
        match (&self.content, segment) {
            (Content::List(list), Segment::Seq { index }) => {
                let mut left =
                    list.iter().enumerate().filter_map(|(place, item)| Some((place, item.as_ref()?)));
                left.nth(*index).map(|(place, node)| (format!("[{place}]"), node))
            }
            (Content::Map(map), Segment::Map { key }) => {
                map.iter().find(|(name, _)| name == key).map(|(name, node)| (name.clone(), node))
            }
            _ => None,
        }
    }

    fn child_mut(&mut self, segment: &Segment) -> Option<&mut Node> {
        match (&mut self.content, segment) {
            (Content::List(list), Segment::Seq { index }) => list.iter_mut().flatten().nth(*index),
            (Content::Map(map), Segment::Map { key }) => {
                map.iter_mut().find(|(name, _)| name == key).map(|(_, node)| node)
            }
            _ => None,
        }
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        Node { place: place(spanned.referenced), content: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Content, E> {
                Ok(Content::Scalar(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }

            fn visit_none<E>(self) -> Result<Content, E> {
                Ok(Content::Scalar(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element::<Spanned<Content>>()? {
                    list.push(Some(Node::from(item)));
                }
                Ok(Content::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
                let mut map = Vec::new();
                while let Some(key) = entries.next_key::<Spanned<String>>()? {
                    let value = entries.next_value::<Spanned<Content>>()?;
                    // A mistake in a value of several lines is looked for at its key.
                    let place = place(key.referenced);
                    map.push((key.value, Node { place, ..Node::from(value) }));
                }
                Ok(Content::Map(map))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

fn place(location: serde_saphyr::Location) -> Place {
    Place { line: location.line(), column: location.column() }
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

fn differences(key: &str, one: &Value, other: &Value, keys: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let names: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
            for name in names {
                let value = |map: &Map<_, _>| map.get(name).cloned().unwrap_or_default();
                differences(&join(key, name), &value(one), &value(other), keys);
            }
        }
        (one, other) if one != other => keys.push(key.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Read {
        number: u8,
        #[serde(default)]
        list: Vec<Item>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Item {
        name: String,
        #[serde(default)]
        flag: bool,
    }

    fn mistakes(text: &str) -> Vec<String> {
        let (_, mut mistakes) = Document::parse(text).unwrap().read::<Read>();
        mistakes.sort_by_key(|mistake| mistake.place);
        mistakes.iter().map(Mistake::to_string).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let text = "number: 300\nlist:\n  - name: a\n    flog: true\n  - flag: maybe\n  - name: c\n  - name: [d]\nmore: 1\n";
        let told = mistakes(text);
        let begin: Vec<_> =
            told.iter().map(|one| one.splitn(3, ": ").take(2).collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            begin,
            [
                "1:1 number",
                "4:5 list[0].flog",
                "5:5 list[1].flag",
                "5:5 list[1]",
                "7:5 list[3].name",
                "8:1 more",
            ],
            "{told:?}"
        );
    }

    #[test]
    fn what_makes_sense_is_read() {
        let (read, mistakes) = Document::parse("number: 3\nlist: [{name: a}]").unwrap().read::<Read>();
        assert_eq!(read, Some(Read { number: 3, list: vec![Item { name: "a".to_owned(), flag: false }] }));
        assert!(mistakes.is_empty());
    }

    #[test]
    fn what_is_no_yaml_is_told_with_its_line() {
        for text in ["a: [", "a: 1\na: 2", "a: 1\n b: 2", "\"", "{a: 1}}"] {
            let mistake = Document::parse(text).unwrap_err();
            assert!(mistake.place.is_some() && mistake.reason.len() < 300, "{text:?}: {mistake}");
        }
    }

    #[test]
    fn differences_are_told_by_their_keys() {
        let read = |text| Document::parse(text).unwrap();
        let (one, other) = (read("{a: {b: 1, c: [1]}, d: x}"), read("{a: {b: 2, c: [1]}, e: x}"));
        assert_eq!(one.differences(&other), ["a.b", "d", "e"]);
        assert!(one.differences(&one).is_empty());
        assert_eq!(one.place("a.c[0]"), Some(Place { line: 1, column: 16 }));
        assert_eq!(one.place("a.nosuch"), Some(Place { line: 1, column: 2 }));
    }
}
