//! What may be a name or a label (`k8s.io/apimachinery/pkg/util/validation`).

/// RFC 1123 label: lower-case letters, digits and `-`; at most 63.
pub(crate) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_enclosed(text, lower, |c| lower(c) || c == '-')
}

/// RFC 1123 subdomain: labels of any length with dots between; at most 253.
pub(crate) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|part| is_enclosed(part, lower, |c| lower(c) || c == '-'))
}

/// `[<subdomain>/]<name>`, as keys of labels and annotations are.
pub(crate) fn is_qualified(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_part(name),
        None => is_part(text),
    }
}

/// A label's value; it may be empty.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_part(text)
}

fn is_part(text: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric();
    text.len() <= 63 && is_enclosed(text, good, |c| good(c) || matches!(c, '-' | '_' | '.'))
}

fn lower(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_enclosed(text: &str, end: fn(char) -> bool, middle: impl Fn(char) -> bool) -> bool {
    text.starts_with(end) && text.ends_with(end) && text.chars().all(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_their_alphabets_and_lengths() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        for (text, label, subdomain, qualified) in [
            ("a", true, true, true),
            ("a-1", true, true, true),
            ("a.b", false, true, true),
            ("a..b", false, false, true),
            ("a.-b", false, false, true),
            ("A_b", false, false, true),
            ("a/B", false, false, true),
            ("a.b/c_d", false, false, true),
            ("A/b", false, false, false),
            ("a/b/c", false, false, false),
            ("/a", false, false, false),
            ("a/", false, false, false),
            ("-a", false, false, false),
            ("a-", false, false, false),
            ("a b", false, false, false),
            ("ä", false, false, false),
            ("", false, false, false),
            (&long, true, true, true),
            (&longer, false, true, false),
        ] {
            let found = (is_label(text), is_subdomain(text), is_qualified(text));
            assert_eq!(found, (label, subdomain, qualified), "{text:?}");
        }
        assert!(is_label_value("") && is_label_value("A.b_c") && !is_label_value("a/b"));
        assert!(is_subdomain(&"a".repeat(253)) && !is_subdomain(&"a".repeat(254)));
    }
}
