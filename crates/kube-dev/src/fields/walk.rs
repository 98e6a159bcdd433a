//! From objects to sets of their fields, and back.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::set::{Element, FieldSet};
use super::shape::{Place, Shape};

/// The fields that an object has (`ToFieldSet` upstream).
pub(super) fn fields(place: &Place, object: &Value) -> FieldSet {
    let mut set = FieldSet::default();
    match place.shape(object) {
        Shape::Whole => {}
        Shape::Fields => {
            for (name, value) in object.as_object().into_iter().flatten() {
                let (element, place) = (Element::Field(name.clone()), place.field(name));
                let is_leaf = place.shape(value) == Shape::Whole || is_empty_object(value);
                set.insert_both(element, is_leaf, fields(&place, value));
            }
        }
        shape => {
            for item in object.as_array().into_iter().flatten() {
                if let Some(element) = shape.element(item) {
                    set.insert_both(element, true, fields(&place.items(), item));
                }
            }
        }
    }
    set
}

/// How two objects differ (`Comparison`).
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    /// Added or modified.
    pub(super) set: FieldSet,
}

/// What has to be done to `before` to make it `after` (`Compare`).
pub(super) fn compare(place: &Place, before: &Value, after: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    comparison.walk(place, &mut Vec::new(), Some(before), Some(after));
    comparison
}

impl Comparison {
    fn walk(
        &mut self,
        place: &Place,
        path: &mut Vec<Element>,
        before: Option<&Value>,
        after: Option<&Value>,
    ) {
        if before == after {
            return;
        }
        let mut is_whole = true;
        for (element, place, before, after) in parts(place, before, after) {
            is_whole = false;
            path.push(element);
            self.walk(&place, path, before, after);
            path.pop();
        }
        match (before, after) {
            (Some(before), Some(after)) if is_whole && before != after => self.set.insert(path),
            (None, Some(_)) => self.set.insert(path),
            (Some(_), None) => self.removed.insert(path),
            _ => {}
        }
    }
}

/// What a configuration makes of an object: its values replace those of the object, its elements of lists come
/// in its order (`Merge`).
pub(super) fn merge(place: &Place, before: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let parts = parts(place, before, config);
    if parts.is_empty() {
        return config.or(before).cloned();
    }
    let is_list = matches!(parts[0].0, Element::Key(_) | Element::Item(_));
    let merged = parts
        .into_iter()
        .filter_map(|(element, place, before, config)| Some((element, merge(&place, before, config)?)));
    Some(if is_list {
        merged.map(|(_, item)| item).collect()
    } else {
        let named = merged.filter_map(|(element, value)| match element {
            Element::Field(name) => Some((name, value)),
            Element::Key(_) | Element::Item(_) => None,
        });
        named.collect::<Map<_, _>>().into()
    })
}

/// An object without some of its fields; null if nothing is left (`RemoveItems`).
pub(super) fn remove(place: &Place, object: &Value, removed: &FieldSet) -> Value {
    let nothing = FieldSet::default();
    let shape = place.shape(object);
    let rest = |element: &Element, place: &Place, value: &Value| {
        let below = removed.below(element).unwrap_or(&nothing);
        let rest = if below.is_empty() { value.clone() } else { remove(place, value, below) };
        (!removed.has(element)).then_some(rest)
    };
    match (shape, object) {
        (Shape::Whole, _) => object.clone(),
        (_, Value::Object(map)) => {
            let left = map.iter().filter_map(|(name, value)| {
                let value = rest(&Element::Field(name.clone()), &place.field(name), value)?;
                Some((name.clone(), value))
            });
            let left: Map<_, _> = left.collect();
            if left.is_empty() { Value::Null } else { left.into() }
        }
        (shape, Value::Array(list)) => {
            let left = list.iter().filter_map(|item| match shape.element(item) {
                Some(element) => rest(&element, &place.items(), item),
                None => Some(item.clone()),
            });
            let left: Vec<_> = left.collect();
            if left.is_empty() { Value::Null } else { left.into() }
        }
        (_, other) => other.clone(),
    }
}

type Part<'v> = (Element, Place, Option<&'v Value>, Option<&'v Value>);

/// The parts of two values that are owned one by one, each as it is in both; none if the values are owned as a
/// whole, or are empty.
fn parts<'v>(place: &Place, before: Option<&'v Value>, after: Option<&'v Value>) -> Vec<Part<'v>> {
    let Some(value) = after.filter(|after| !after.is_null()).or(before) else { return Vec::new() };
    match place.shape(value) {
        Shape::Whole => Vec::new(),
        Shape::Fields => {
            let map = |value: Option<&'v Value>| value.and_then(Value::as_object);
            let (before, after) = (map(before), map(after));
            let names: BTreeSet<_> = [before, after].into_iter().flatten().flat_map(Map::keys).collect();
            let get = |map: Option<&'v Map<String, Value>>, name: &str| map.and_then(|map| map.get(name));
            names
                .into_iter()
                .map(|name| {
                    (Element::Field(name.clone()), place.field(name), get(before, name), get(after, name))
                })
                .collect()
        }
        shape => {
            let items = |list: Option<&'v Value>| -> Vec<(Element, &'v Value)> {
                let items = list.and_then(Value::as_array).into_iter().flatten();
                items.filter_map(|item| Some((shape.element(item)?, item))).collect()
            };
            let (before, after) = (items(before), items(after));
            let get = |list: &[(Element, &'v Value)], sought: &Element| {
                list.iter().find(|(element, _)| element == sought).map(|(_, item)| *item)
            };
            let elements =
                |list: &[(Element, &'v Value)]| list.iter().map(|(e, _)| e.clone()).collect::<Vec<_>>();
            in_order(&elements(&before), &elements(&after))
                .into_iter()
                .map(|element| {
                    let (before, after) = (get(&before, &element), get(&after, &element));
                    (element, place.items(), before, after)
                })
                .collect()
        }
    }
}

/// The elements of both lists: those of `after` in its order, and before each of them that is in both those
/// that only `before` has up to there (`visitListItems` of the merge).
fn in_order(before: &[Element], after: &[Element]) -> Vec<Element> {
    let mut order = Vec::<Element>::new();
    let mut shared = after.iter().filter(|element| before.contains(element)).peekable();
    let (mut before, mut rest) = (before.iter().peekable(), after.iter().peekable());
    loop {
        if let (Some(left), Some(right)) = (before.peek(), rest.peek()) {
            if left == right {
                order.extend(rest.next().cloned());
                (_, _) = (before.next(), shared.next());
                continue;
            }
            if after.contains(left) && shared.peek().is_some_and(|next| next != left) {
                before.next();
                continue;
            }
        }
        if let Some(left) = before.peek() {
            if !after.contains(left) {
                order.extend(before.next().cloned());
                continue;
            } else if order.contains(left) {
                before.next();
            }
        }
        let Some(right) = rest.next() else {
            if before.peek().is_none() {
                break;
            } else {
                continue;
            };
        };
        order.push(right.clone());
        if shared.peek() == Some(&right) {
            shared.next();
        }
    }
    order
}

fn is_empty_object(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}
