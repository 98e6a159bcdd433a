//! The order of a merged list (`normalizeElementOrder` in `k8s.io/apimachinery/pkg/util/strategicpatch`).

use serde_json::Value;

/// Elements that `order` names come in its order. The others keep theirs, and each stands before the first
/// named one that it stood before in `original`. `identity` is what elements are told apart by.
pub(super) fn merge(
    merged: Vec<Value>,
    order: &[Value],
    original: &[Value],
    identity: impl Fn(&Value) -> Value,
) -> Vec<Value> {
    let place = |list: &[Value], element: &Value| {
        let sought = identity(element);
        list.iter().position(|is| identity(is) == sought)
    };
    let (mut named, mut others): (Vec<_>, Vec<_>) =
        merged.into_iter().partition(|element| place(order, element).is_some());
    named.sort_by_key(|element| place(order, element));
    others.sort_by_key(|element| place(original, element).unwrap_or(usize::MAX));
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    let mut result = Vec::new();
    while let (Some(other), Some(next)) = (others.peek(), named.peek()) {
        let is_before = match (place(original, other), place(original, next)) {
            (Some(other), Some(next)) => other < next,
            _ => false,
        };
        result.extend(if is_before { others.next() } else { named.next() });
    }
    result.extend(named);
    result.extend(others);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_patch_decides_and_the_original_fills_in() {
        for (merged, order, original, expected) in [
            ("a,c", "c", "a", "c,a"),
            ("c,a", "a", "c,a", "c,a"),
            ("c,x", "x,c", "c", "x,c"),
            ("a,b,c,d", "d,b", "a,b,c,d", "a,c,d,b"),
            ("a,b", "", "b,a", "b,a"),
        ] {
            let list = |text: &str| -> Vec<Value> {
                text.split(',').filter(|part| !part.is_empty()).map(Value::from).collect()
            };
            let found = merge(list(merged), &list(order), &list(original), Value::clone);
            assert_eq!(found, list(expected), "{merged} by {order} from {original}");
        }
    }
}
