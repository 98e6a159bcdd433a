//! Label selectors, by the grammar of `k8s.io/apimachinery/pkg/labels`:
//!
//! ```text
//! selector    = [ requirement { "," requirement } ]
//! requirement = [ "!" ] key | key ( "=" | "==" | "!=" | ">" | "<" ) [ value ] | key ( "in" | "notin" ) set
//! set         = "(" [ value ] { "," [ value ] } ")"
//! ```

use serde_json::Value;

use crate::names::{is_label_value, is_qualified};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    /// The label is a number and greater.
    Greater(String, i64),
    Less(String, i64),
}

impl Requirement {
    pub(super) fn matches(&self, labels: &Value) -> bool {
        let label = |name: &String| labels[name.as_str()].as_str();
        let number = |name: &String| label(name)?.parse::<i64>().ok();
        let is_any = |name: &String, values: &[String]| {
            label(name).is_some_and(|is| values.iter().any(|value| value == is))
        };
        match self {
            Requirement::In(name, values) => is_any(name, values),
            Requirement::NotIn(name, values) => !is_any(name, values),
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Absent(name) => label(name).is_none(),
            Requirement::Greater(name, than) => number(name).is_some_and(|is| is > *than),
            Requirement::Less(name, than) => number(name).is_some_and(|is| is < *than),
        }
    }
}

/// Parses a selector; an empty one has no requirements.
///
/// # Errors
/// What was found where something else was expected.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut tokens = Tokens { rest: text };
    let mut requirements = Vec::new();
    if tokens.peek().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(requirement(&mut tokens)?);
        match tokens.next() {
            "" => return Ok(requirements),
            "," => {}
            found => return Err(format!("found '{found}', expected: ',' or 'end of string'")),
        }
    }
}

fn requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    if tokens.peek() == "!" {
        tokens.next();
        return Ok(Requirement::Absent(key(tokens.next())?));
    }
    let key = key(tokens.next())?;
    if matches!(tokens.peek(), "" | ",") {
        return Ok(Requirement::Exists(key));
    }
    let number = |text: String| text.parse().map_err(|_| format!("{text:?} is no integer"));
    match tokens.next() {
        "=" | "==" => Ok(Requirement::In(key, vec![value(tokens)?])),
        "!=" => Ok(Requirement::NotIn(key, vec![value(tokens)?])),
        ">" => Ok(Requirement::Greater(key, number(value(tokens)?)?)),
        "<" => Ok(Requirement::Less(key, number(value(tokens)?)?)),
        "in" => Ok(Requirement::In(key, set(tokens)?)),
        "notin" => Ok(Requirement::NotIn(key, set(tokens)?)),
        found => Err(format!("found '{found}', expected: in, notin, =, ==, !=, gt, lt")),
    }
}

fn key(token: &str) -> Result<String, String> {
    if is_qualified(token) {
        Ok(token.to_owned())
    } else {
        Err(format!("unable to parse requirement: found '{token}', expected: identifier"))
    }
}

/// What comes up to a comma, a closing parenthesis or the end; it may be nothing.
fn value(tokens: &mut Tokens<'_>) -> Result<String, String> {
    let token = if matches!(tokens.peek(), "" | "," | ")") { "" } else { tokens.next() };
    if is_label_value(token) {
        Ok(token.to_owned())
    } else {
        Err(format!("{token:?} is no value of a label"))
    }
}

fn set(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    match tokens.next() {
        "(" => {}
        found => return Err(format!("unable to parse requirement: found '{found}' expected: '('")),
    }
    let mut values = Vec::new();
    loop {
        values.push(value(tokens)?);
        match tokens.next() {
            ")" => return Ok(values),
            "," => {}
            found => {
                return Err(format!("unable to parse requirement: found '{found}', expected: ',' or ')'"));
            }
        }
    }
}

/// Operators and what stands between them. Words such as `in` are told by their place.
struct Tokens<'t> {
    rest: &'t str,
}

impl<'t> Tokens<'t> {
    /// The next token, or nothing at the end.
    fn peek(&self) -> &'t str {
        let rest = self.rest.trim_start();
        let is_special = |c: char| matches!(c, '!' | ',' | '(' | ')' | '=' | '>' | '<');
        let length = match rest.find(|c: char| is_special(c) || c.is_whitespace()) {
            Some(0) if rest.starts_with("==") || rest.starts_with("!=") => 2,
            Some(0) => 1,
            Some(end) => end,
            None => rest.len(),
        };
        &rest[..length]
    }

    fn next(&mut self) -> &'t str {
        let token = self.peek();
        self.rest = &self.rest.trim_start()[token.len()..];
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of these are refused by Kubernetes 1.37.
    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "a b",
            "a in",
            "a in (x",
            "a=b=c",
            "!",
            "a,,b",
            "(a)",
            "a in x",
            "=x",
            "Ä=1",
            "a=b c",
            ",",
            "a,",
            "a b (c)",
            "a in (x))",
            "a>x",
            "a/b/c",
            "!!a",
            "a=Ä",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn words_are_told_by_their_place() {
        let (in_, x) = ("in".to_owned(), "x".to_owned());
        assert_eq!(parse("in in (in)").unwrap(), [Requirement::In(in_.clone(), vec![in_.clone()])]);
        assert_eq!(parse("notin").unwrap(), [Requirement::Exists("notin".to_owned())]);
        assert_eq!(parse("x in (,in)").unwrap(), [Requirement::In(x.clone(), vec![String::new(), in_])]);
        assert_eq!(parse("x=").unwrap(), [Requirement::In(x, vec![String::new()])]);
    }
}
