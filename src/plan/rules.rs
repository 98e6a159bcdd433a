//! What administrators grant: who may publish what, and what is published without being asked for.

use serde::Deserialize;

use crate::format::Format;
use crate::model::{AddressKind, ServiceKey};

/// All rules. Whatever none of them grants is not published.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Rules(pub Vec<Rule>);

/// One grant. An empty list of patterns, formats or addresses grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// Which namespaces.
    #[serde(default = "anything")]
    pub namespaces: Vec<Pattern>,
    /// Which Services in them.
    #[serde(default = "anything")]
    pub services: Vec<Pattern>,
    /// Which formats they may ask for.
    pub formats: Vec<Format>,
    /// Which names: of services, sets and directories, of Dubbo's interfaces.
    #[serde(default = "anything")]
    pub names: Vec<Pattern>,
    /// Which kinds of addresses; pods if there is no such key.
    #[serde(default = "pods")]
    pub addresses: Vec<AddressKind>,
    /// Publish them without an annotation, under their own names, in each of the formats but Dubbo.
    #[serde(default)]
    pub publish: bool,
}

/// A shell pattern: `*`, `?`, `[a-z]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct Pattern(#[schemars(with = "String")] glob::Pattern);

/// Why a string is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no pattern: {reason}")]
pub struct PatternError {
    /// As it was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The pattern of everything.
pub(crate) fn anything() -> Vec<Pattern> {
    vec![Pattern(glob::Pattern::new("*").unwrap_or_default())]
}

fn pods() -> Vec<AddressKind> {
    vec![AddressKind::Pod]
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        match glob::Pattern::new(&text) {
            Ok(pattern) => Ok(Pattern(pattern)),
            Err(error) => Err(PatternError { reason: error.msg.to_owned(), text }),
        }
    }
}

impl Rules {
    /// May this Service publish this name in this format?
    #[must_use]
    pub fn grant(&self, key: &ServiceKey, format: Format, name: &str) -> bool {
        self.0.iter().any(|rule| rule.grants(key, format, name))
    }

    /// May it do so with addresses of this kind?
    #[must_use]
    pub fn grant_address(&self, key: &ServiceKey, format: Format, name: &str, kind: AddressKind) -> bool {
        self.0.iter().any(|rule| rule.grants(key, format, name) && rule.addresses.contains(&kind))
    }

    /// Does any rule grant addresses of this kind?
    #[must_use]
    pub fn grant_any(&self, kind: AddressKind) -> bool {
        self.0.iter().any(|rule| rule.addresses.contains(&kind))
    }

    /// Is this Service published in this format without an annotation?
    #[must_use]
    pub fn publish_unasked(&self, key: &ServiceKey, format: Format) -> bool {
        self.0.iter().any(|rule| rule.publish && rule.is_about(key) && rule.formats.contains(&format))
    }
}

impl Rule {
    fn grants(&self, key: &ServiceKey, format: Format, name: &str) -> bool {
        self.is_about(key) && self.formats.contains(&format) && matches(&self.names, name)
    }

    fn is_about(&self, key: &ServiceKey) -> bool {
        matches(&self.namespaces, &key.namespace) && matches(&self.services, &key.name)
    }
}

/// Does one of them fit?
pub(crate) fn matches(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.0.matches(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(yaml: &str) -> Rules {
        serde_saphyr::from_str(yaml).unwrap()
    }

    #[test]
    fn what_no_rule_grants_is_not_granted() {
        let rules = rules(
            "- {namespaces: ['shop-*'], formats: [curator], names: ['shop-*', orders]}\n\
             - {services: [legacy], formats: [dubbo]}\n",
        );
        let grant = |namespace: &str, name: &str, format, published: &str| {
            rules.grant(&ServiceKey::new(namespace, name), format, published)
        };
        assert!(grant("shop-a", "orders", Format::Curator, "orders"));
        assert!(grant("shop-a", "orders", Format::Curator, "shop-x"));
        assert!(!grant("shop-a", "orders", Format::Curator, "payments"));
        assert!(!grant("shop-a", "orders", Format::Dubbo, "orders"));
        assert!(!grant("other", "orders", Format::Curator, "orders"));
        assert!(grant("other", "legacy", Format::Dubbo, "com.acme.Any"));
        assert!(!rules.publish_unasked(&ServiceKey::new("shop-a", "orders"), Format::Curator));
    }

    #[test]
    fn a_rule_grants_pods_only_unless_it_says_more() {
        let rules = rules(
            "- {services: [orders], formats: [curator]}\n\
             - {services: [orders], formats: [curator], names: [outside], addresses: [node, load-balancer]}\n",
        );
        let grant =
            |name, kind| rules.grant_address(&ServiceKey::new("shop", "orders"), Format::Curator, name, kind);
        assert!(grant("orders", AddressKind::Pod) && grant("outside", AddressKind::Pod));
        assert!(grant("outside", AddressKind::Node) && grant("outside", AddressKind::LoadBalancer));
        assert!(!grant("orders", AddressKind::Node) && !grant("outside", AddressKind::Custom));
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let error = serde_saphyr::from_str::<Rules>("- {services: ['[a'], formats: [curator]}").unwrap_err();
        assert!(error.to_string().contains("[a"), "{error}");
    }
}
