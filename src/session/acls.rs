//! Who may do what with what we write: templates from the configuration, or defaults.

use serde::Deserialize;
use zk_wire::acl::{Acl, Id, perms};

/// Templates as they were written, in the shell's form: `scheme:id:perms`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AclTemplates {
    /// Of what is registered.
    #[serde(default)]
    pub leaves: Option<Vec<String>>,
    /// Of directories that we make, and of what a format keeps beside leaves.
    #[serde(default)]
    pub parents: Option<Vec<String>>,
    /// Of the fence and its directory.
    #[serde(default)]
    pub own: Option<Vec<String>>,
}

/// The ACLs of what we create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acls {
    /// Of leaves. Changing one needs its WRITE, deleting one needs DELETE of its directory.
    pub leaves: Vec<Acl>,
    /// Of directories, whoever else registers there, and of what a format keeps beside leaves (Dubbo 3's mapping).
    pub parents: Vec<Acl>,
    /// Of the fence and its directory. Whoever may delete in it can stop the leader's writes.
    pub own: Vec<Acl>,
}

impl Acls {
    /// Everybody may do everything with leaves and directories, since a provider that registers itself must be able
    /// to. What is our own everybody may read, and only we may change if we are somebody.
    #[must_use]
    pub fn defaults(is_somebody: bool) -> Acls {
        let own = match is_somebody {
            true => vec![auth(), Acl::world(perms::READ)],
            false => Acl::open(),
        };
        Acls { leaves: Acl::open(), parents: Acl::open(), own }
    }

    /// The templates, and the defaults for those that were not written.
    ///
    /// # Errors
    /// One makes no sense, or lets nobody do what the bridge must: its key, what was written, and why.
    pub fn new(templates: &AclTemplates, is_somebody: bool) -> Result<Acls, (&'static str, String, String)> {
        let defaults = Acls::defaults(is_somebody);
        let template = |key, written: &Option<Vec<String>>, default, needed| match written {
            None => Ok(default),
            Some(written) => {
                parse(written, needed, is_somebody).map_err(|(text, reason)| (key, text, reason))
            }
        };
        Ok(Acls {
            leaves: template("leaves", &templates.leaves, defaults.leaves, perms::WRITE)?,
            parents: template(
                "parents",
                &templates.parents,
                defaults.parents,
                perms::READ | perms::WRITE | perms::CREATE | perms::DELETE,
            )?,
            own: template("own", &templates.own, defaults.own, perms::READ | perms::CREATE | perms::DELETE)?,
        })
    }
}

/// Whoever we have proven to be, all of them.
fn auth() -> Acl {
    Acl { perms: perms::ALL, id: Id { scheme: "auth".to_owned(), id: String::new() } }
}

fn parse(written: &[String], needed: i32, is_somebody: bool) -> Result<Vec<Acl>, (String, String)> {
    let mut acl = Vec::new();
    for text in written {
        let entry: Acl =
            text.parse().map_err(|error: zk_wire::acl::AclError| (text.clone(), error.to_string()))?;
        if entry.id.scheme == "auth" && !is_somebody {
            let reason = "is for nobody, since there is neither digestFile nor saslFile nor tls.certFile";
            return Err((text.clone(), reason.to_owned()));
        }
        acl.push(entry);
    }
    let missing = needed & !acl.iter().fold(0, |all, entry| all | entry.perms);
    if missing != 0 {
        let missing = zk_wire::acl::perms::letters(missing);
        return Err((written.join(", "), format!("gives nobody {missing}, which the bridge needs")));
    }
    Ok(acl)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(leaves: &[&str]) -> AclTemplates {
        let leaves = Some(leaves.iter().map(|&text| text.to_owned()).collect());
        AclTemplates { leaves, ..AclTemplates::default() }
    }

    #[test]
    fn what_was_not_written_is_open_but_for_what_is_our_own() {
        for (is_somebody, own) in [(true, vec![auth(), Acl::world(perms::READ)]), (false, Acl::open())] {
            let acls = Acls::new(&AclTemplates::default(), is_somebody).unwrap();
            assert_eq!(acls, Acls { leaves: Acl::open(), parents: Acl::open(), own });
        }
        let acls = Acls::new(&templates(&["auth::cdrwa", "world:anyone:r"]), true).unwrap();
        assert_eq!(acls.leaves, [auth(), Acl::world(perms::READ)]);
        assert_eq!(acls.parents, Acl::open());
    }

    #[test]
    fn a_template_that_would_stop_the_bridge_is_refused() {
        for (leaves, is_somebody, reason) in [
            (&["auth::cdrwa"][..], false, "is for nobody"),
            (&["world:anyone:r"], true, "gives nobody w"),
            (&[], true, "gives nobody w"),
            (&["world:everybody:cdrwa"], true, "anyone"),
        ] {
            let (key, _, said) = Acls::new(&templates(leaves), is_somebody).unwrap_err();
            assert!(key == "leaves" && said.contains(reason), "{said}");
        }
    }
}
