//! Records of what was written, and why: JSON, for people and for `zoobridge history`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{Kind, Origin, Service, ServiceKey, ZnodePath};
use crate::plan::{Because, Cause, Changes, Op, Roots};
use crate::session::{Note, Subject};

/// Writes of one transaction, of one Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `namespace/name`; `/` if it is nobody's.
    pub service: String,
    /// The Service as it was planned; `None` if there was none.
    pub object: Option<Object>,
    /// The process that wrote.
    pub by: String,
    /// What it wrote.
    pub writes: Vec<Written>,
}

/// Znodes of one directory that were written for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What was done to them.
    pub op: Verb,
    /// Why.
    pub cause: Cause,
    /// The object whose state is the cause, as far as that is known.
    pub object: Option<Object>,
    /// The directory.
    pub directory: String,
    /// Their names in it; of one that is longer than 100 bytes the address that it stands for.
    pub znodes: Vec<String>,
}

/// One state of an object of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Distinguishes it from an earlier object of the same name.
    pub uid: String,
    /// Which state of it.
    pub resource_version: String,
}

impl From<&Origin> for Object {
    fn from(Origin { kind, name, uid, resource_version }: &Origin) -> Self {
        Object {
            kind: *kind,
            name: name.to_string(),
            uid: uid.to_string(),
            resource_version: resource_version.to_string(),
        }
    }
}

/// What can be done to a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// It appeared.
    Create,
    /// Its data changed.
    Set,
    /// It went.
    Delete,
}

/// What the records of one change of a Service say, whichever of its writes come to be in one transaction.
#[derive(Debug)]
pub(super) struct Notes {
    subject: Subject,
    service: String,
    object: Option<Object>,
    by: Arc<str>,
    /// Of each leaf, why it is written, and under which name that is told.
    leaves: BTreeMap<ZnodePath, (Because, String)>,
}

/// Dubbo's names are whole URLs, of which the address tells enough.
const NAME_BYTES: usize = 100;

impl Notes {
    pub(super) fn new(
        key: &ServiceKey,
        service: Option<&Service>,
        by: Arc<str>,
        changes: &Changes,
        causes: BTreeMap<ZnodePath, Because>,
        roots: &Roots,
    ) -> Self {
        let name = |path: &ZnodePath| match path.name() {
            long if long.len() > NAME_BYTES => {
                let data = changes.creates.get(path).or_else(|| changes.sets.get(path));
                let registered = roots.registered(path, data.map(|data| &**data).unwrap_or_default());
                registered.map_or_else(|| crate::format::shortened(long), |it| it.host.with_port(it.port))
            }
            short => short.to_owned(),
        };
        let service_name = key.to_string();
        Notes {
            subject: Subject::of(&service_name),
            service: service_name,
            object: service.map(|service| (&service.origin()).into()),
            by,
            leaves: causes
                .into_iter()
                .map(|(path, because)| {
                    let name = name(&path);
                    (path, (because, name))
                })
                .collect(),
        }
    }

    /// The record of the transaction with these writes.
    pub(super) fn of<'o>(&self, ops: impl Iterator<Item = &'o Op>) -> Note {
        let mut grouped: BTreeMap<(Verb, &Because, ZnodePath), Vec<String>> = BTreeMap::new();
        for (verb, path) in ops.flat_map(written) {
            if let (Some((because, name)), Some(directory)) = (self.leaves.get(path), path.parent()) {
                grouped.entry((verb, because, directory)).or_default().push(name.clone());
            }
        }
        let one = |((op, because, directory), znodes): ((Verb, &Because, ZnodePath), Vec<String>)| Written {
            op,
            cause: because.cause,
            object: because.object.as_ref().map(Object::from),
            directory: directory.to_string(),
            znodes,
        };
        let record = Record {
            service: self.service.clone(),
            object: self.object.clone(),
            by: self.by.to_string(),
            writes: grouped.into_iter().map(one).collect(),
        };
        // Strings always have a JSON form.
        let data = serde_json::to_vec(&record).unwrap_or_default().into();
        Note { subject: self.subject, data }
    }
}

/// What an op does, and to which znodes.
fn written(op: &Op) -> impl Iterator<Item = (Verb, &ZnodePath)> {
    let [first, second] = match op {
        Op::Create(path, _) => [Some((Verb::Create, path)), None],
        Op::Set(path, _) => [Some((Verb::Set, path)), None],
        Op::Delete(path) => [Some((Verb::Delete, path)), None],
        Op::Swap { create, delete, .. } => [Some((Verb::Create, create)), Some((Verb::Delete, delete))],
    };
    first.into_iter().chain(second)
}
