//! A field of somebody else's JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{Error, MapAccessDeserializer};
use serde::de::{Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What a field holds. Reading it never fails as long as it is JSON, and nothing is buffered for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// It is not there, or null: Go writes an empty list or map as either.
    #[default]
    Absent,
    /// What it should hold.
    Present(T),
    /// Something of another type.
    Malformed,
}

impl<T> Field<T> {
    /// Its value, if there is one.
    ///
    /// # Errors
    /// It is malformed; `name` says which one it is.
    pub fn get(&self, name: &'static str) -> Result<Option<&T>, &'static str> {
        match self {
            Field::Absent => Ok(None),
            Field::Present(value) => Ok(Some(value)),
            Field::Malformed => Err(name),
        }
    }
}

impl<T> Field<Vec<Field<T>>> {
    /// The items of a list; those that are null are left out.
    ///
    /// # Errors
    /// The list or one of its items is malformed.
    pub fn items(&self, name: &'static str) -> Result<Vec<&T>, &'static str> {
        let items = self.get(name)?.into_iter().flatten();
        items.filter_map(|item| item.get(name).transpose()).collect()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor(PhantomData))
    }
}

struct FieldVisitor<T>(PhantomData<T>);

/// A single value is handed on whole, so that whatever `T` thinks of it, the input is behind it.
fn single<'de, T: Deserialize<'de>, E>(value: impl IntoDeserializer<'de, Error>) -> Result<Field<T>, E> {
    Ok(T::deserialize(value.into_deserializer()).map_or(Field::Malformed, Field::Present))
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for FieldVisitor<T> {
    type Value = Field<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }

    fn visit_none<E>(self) -> Result<Field<T>, E> {
        Ok(Field::Absent)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field<T>, D::Error> {
        Field::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field<T>, E> {
        single(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Field<T>, E> {
        single(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Field<T>, E> {
        single(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Field<T>, E> {
        single(value)
    }

    fn visit_str<E>(self, value: &str) -> Result<Field<T>, E> {
        single(value)
    }

    /// A `T` that is no list leaves items behind.
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field<T>, A::Error> {
        match T::deserialize(Items(&mut items)) {
            Ok(value) => Ok(Field::Present(value)),
            Err(_) => {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Field::Malformed)
            }
        }
    }

    /// A `T` that is no object leaves entries behind.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field<T>, A::Error> {
        match T::deserialize(MapAccessDeserializer::new(&mut entries)) {
            Ok(value) => Ok(Field::Present(value)),
            Err(_) => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Field::Malformed)
            }
        }
    }
}

/// A list. A struct would take one for its fields in order, which is not how Kubernetes writes objects.
struct Items<A>(A);

impl<'de, A: SeqAccess<'de>> Deserializer<'de> for Items<A> {
    type Error = A::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, A::Error> {
        visitor.visit_seq(self.0)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, A::Error> {
        Err(A::Error::custom(format_args!("a list where {name} should be")))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Object {
        text: Field<String>,
        number: Field<i32>,
        list: Field<Vec<Field<String>>>,
        object: Field<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        flag: Field<bool>,
    }

    fn read(json: &str) -> Vec<Object> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn absence_and_null_are_the_same() {
        let nothing =
            r#"[{}, {"text": null, "number": null, "list": null, "object": null, "other": [null]}]"#;
        assert_eq!(read(nothing), [Object::default(), Object::default()]);
    }

    #[test]
    fn what_is_well_formed_is_read() {
        let json =
            r#"[{"object": {"flag": true, "x": {}}, "list": ["a", null], "number": -7, "text": "\u00e9"}]"#;
        let expected = Object {
            text: Field::Present("é".to_owned()),
            number: Field::Present(-7),
            list: Field::Present(vec![Field::Present("a".to_owned()), Field::Absent]),
            object: Field::Present(Inner { flag: Field::Present(true) }),
        };
        assert_eq!(read(json), [expected]);
    }

    #[test]
    fn a_malformed_field_costs_nothing_but_itself() {
        for wrong in ["{\"a\": [{\"b\": 1}], \"c\": 2}", "[[1], {\"a\": 2}, 3]", "true", "1.5", "99999999999"]
        {
            let json = format!(
                r#"[{{"text": {wrong}, "number": {wrong}, "object": {{"flag": false}}}}, {{"text": "b"}}]"#
            );
            let objects = read(&json);
            assert_eq!(objects[0].text, Field::Malformed, "{wrong}");
            assert_eq!(objects[0].number, Field::Malformed, "{wrong}");
            assert_eq!(objects[0].object, Field::Present(Inner { flag: Field::Present(false) }), "{wrong}");
            assert_eq!(objects[1].text, Field::Present("b".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_list_is_no_object_and_an_object_no_list() {
        let objects = read(r#"[{"object": [true]}, {"object": []}, {"list": {}}]"#);
        assert_eq!(objects[0].object, Field::Malformed);
        assert_eq!(objects[1].object, Field::Malformed);
        assert_eq!(objects[2].list, Field::Malformed);
    }

    #[test]
    fn malformed_items_are_found_and_named() {
        let objects = read(r#"[{"list": ["a", null]}, {"list": ["a", 1]}, {"list": "a"}, {}]"#);
        let items: Vec<_> = objects.iter().map(|object| object.list.items("list")).collect();
        let a = "a".to_owned();
        assert_eq!(items, [Ok(vec![&a]), Err("list"), Err("list"), Ok(vec![])]);
    }

    #[test]
    fn what_is_no_json_is_still_an_error() {
        for broken in [r#"[{"text": [1, }]"#, r#"[{"object": {"flag": tru}}]"#, r#"[{"list": ["a""#] {
            assert!(serde_json::from_str::<Vec<Object>>(broken).is_err(), "{broken}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            "[a-z]{0,3}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let name = prop_oneof!["text", "number", "list", "object", "flag"];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(name, inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// Whatever a field holds, the fields and objects behind it are read.
        #[test]
        fn no_json_hides_what_follows_it(value in json()) {
            for field in ["text", "number", "list", "object"] {
                let json = format!(r#"[{{"{field}": {value}, "flag": {value}}}, {{"text": "behind"}}]"#);
                let objects: Vec<Object> = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(&objects[1].text, &Field::Present("behind".to_owned()));
            }
        }
    }
}
