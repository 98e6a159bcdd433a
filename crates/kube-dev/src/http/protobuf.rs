//! Bodies in protobuf: `kubectl create` sends what it knows by type in no other form.
//!
//! Only the kinds that it creates without a manifest and that have nothing but plain fields are read. Answers are
//! JSON, which every client accepts as well. Numbers of fields are those of `k8s.io/api/core/v1/generated.proto`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use crate::kinds::Kind;

pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Before each body; a `runtime.Unknown` follows.
const MAGIC: &[u8] = b"k8s\0";

/// What is in a field.
#[derive(Debug, Clone, Copy)]
enum Field {
    Text,
    Flag,
    Texts,
    /// In JSON they are base64.
    Blobs,
    Message(&'static [(u64, &'static str, Field)]),
}

const METADATA: Field = Field::Message(&[
    (1, "name", Field::Text),
    (2, "generateName", Field::Text),
    (3, "namespace", Field::Text),
    (11, "labels", Field::Texts),
    (12, "annotations", Field::Texts),
]);
const CONFIG_MAP: [(u64, &str, Field); 4] = [
    (1, "metadata", METADATA),
    (2, "data", Field::Texts),
    (3, "binaryData", Field::Blobs),
    (4, "immutable", Field::Flag),
];
const SECRET: [(u64, &str, Field); 5] = [
    (1, "metadata", METADATA),
    (2, "data", Field::Blobs),
    (3, "type", Field::Text),
    (4, "stringData", Field::Texts),
    (5, "immutable", Field::Flag),
];
const METADATA_ONLY: [(u64, &str, Field); 1] = [(1, "metadata", METADATA)];

/// The object in a body; none if it is not one of this kind, or the kind is none of the few.
pub(super) fn decode(kind: &Kind, body: &[u8]) -> Option<Value> {
    let fields: &[_] = match (kind.group, kind.plural) {
        ("", "configmaps") => &CONFIG_MAP,
        ("", "secrets") => &SECRET,
        ("", "namespaces" | "serviceaccounts") => &METADATA_ONLY,
        _ => return None,
    };
    let unknown = records(body.strip_prefix(MAGIC)?)?;
    let raw = unknown.into_iter().find(|(number, _)| *number == 2)?.1;
    message(fields, raw)
}

fn message(fields: &[(u64, &str, Field)], bytes: &[u8]) -> Option<Value> {
    let mut object = Map::new();
    for (number, content) in records(bytes)? {
        let Some((_, name, field)) = fields.iter().find(|(of, ..)| *of == number) else { continue };
        match field {
            Field::Text if content.is_empty() => {}
            Field::Text => _ = object.insert((*name).to_owned(), text(content)?.into()),
            Field::Flag => _ = object.insert((*name).to_owned(), (content != [0]).into()),
            Field::Message(fields) => _ = object.insert((*name).to_owned(), message(fields, content)?),
            Field::Texts | Field::Blobs => {
                let entry = records(content)?;
                let part = |sought| {
                    entry.iter().find(|(number, _)| *number == sought).map_or(&[][..], |(_, part)| part)
                };
                let value = match field {
                    Field::Blobs => STANDARD.encode(part(2)),
                    _ => text(part(2))?,
                };
                object.entry(*name).or_insert_with(|| Map::new().into())[text(part(1))?] = value.into();
            }
        }
    }
    Some(object.into())
}

/// The numbers and contents of a message's fields; a number's content is its bytes.
fn records(mut bytes: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let length = match tag & 7 {
            0 => bytes.iter().position(|byte| byte & 0x80 == 0)? + 1,
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (content, rest) = bytes.split_at_checked(length)?;
        records.push((tag >> 3, content));
        bytes = rest;
    }
    Some(records)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for n in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bytes_are_an_object_or_nothing() {
        // Unknown{raw: ConfigMap{metadata: {name: "c"}, data: {"a": "b"}, immutable: true}}
        let config = b"\x0a\x03\x0a\x01c\x12\x06\x0a\x01a\x12\x01b\x20\x01";
        let body = [MAGIC, &[0x12, config.len() as u8], config].concat();
        let kind = Kind::named("configmaps");
        let expected = json!({"metadata": {"name": "c"}, "data": {"a": "b"}, "immutable": true});
        assert_eq!(decode(kind, &body), Some(expected));
        assert_eq!(decode(Kind::named("pods"), &body), None);
        for length in 0..body.len() {
            assert_eq!(decode(kind, &body[..length]), None, "{length}");
        }
    }
}
