//! What is in ZooKeeper below some roots, as any client sees it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use zk_client::{RequestError, Session};
use zk_wire::codes::ErrorCode;
use zk_wire::ids::SessionId;
use zk_wire::stat::Stat;

use super::owned::{Inherited, Owned};
use crate::model::ZnodePath;

/// Znodes, each with its path.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// The roots, and everything below them.
    pub znodes: BTreeMap<ZnodePath, Znode>,
    /// Znodes whose children we may not list.
    pub unreadable: BTreeSet<ZnodePath>,
}

/// One znode.
#[derive(Debug, Clone)]
pub struct Znode {
    /// Its stat.
    pub stat: Stat,
    /// Its data; `None` if we may not read it.
    pub data: Option<Bytes>,
}

/// Reads under way.
const READS: usize = 256;

impl Tree {
    /// Reads everything below these roots, behind a `sync`. A root that is not there has nothing below it. What
    /// changes meanwhile may be read as it was or as it is.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn read(
        session: &Session,
        roots: impl IntoIterator<Item = ZnodePath>,
    ) -> Result<Tree, RequestError> {
        session.sync("/").await?;
        let mut tree = Tree::default();
        let mut level: BTreeSet<ZnodePath> = roots.into_iter().collect();
        while !level.is_empty() {
            let reads = level.into_iter().map(|path| read(session, path));
            let found: Vec<_> = futures::stream::iter(reads).buffer_unordered(READS).try_collect().await?;
            level = BTreeSet::new();
            for (path, znode, children) in found.into_iter().flatten() {
                match children {
                    // ZooKeeper has no name that is none.
                    Some(children) => level.extend(children.iter().filter_map(|name| path.child(name).ok())),
                    None => drop(tree.unreadable.insert(path.clone())),
                }
                tree.znodes.insert(path, znode);
            }
            level.retain(|path| !tree.znodes.contains_key(path));
        }
        Ok(tree)
    }

    /// The ephemerals of these sessions.
    #[must_use]
    pub fn ephemerals(&self, sessions: &BTreeSet<SessionId>) -> Inherited {
        let ours = self.znodes.iter().filter(|(_, znode)| sessions.contains(&znode.stat.ephemeral_owner));
        ours.map(|(path, znode)| (path.clone(), znode.owned())).collect()
    }

    /// The znodes right below this one.
    pub fn children(&self, of: &ZnodePath) -> impl Iterator<Item = (&ZnodePath, &Znode)> {
        let below =
            self.znodes.range(of.clone()..).take_while(|(path, _)| path.as_str().starts_with(of.as_str()));
        below.filter(|(path, _)| path.parent().as_ref() == Some(of))
    }
}

impl Znode {
    /// As the pool remembers an ephemeral of its own.
    #[must_use]
    pub fn owned(&self) -> Owned {
        Owned::new(&self.stat, self.data.as_deref())
    }
}

type Read = (ZnodePath, Znode, Option<Vec<String>>);

/// A znode with its children's names; `None` if it is not there, or not any more.
async fn read(session: &Session, path: ZnodePath) -> Result<Option<Read>, RequestError> {
    let found = match session.get(path.as_str()).await {
        Ok(found) => found.map(|(data, stat)| Znode { stat, data: Some(data) }),
        Err(RequestError::Refused(ErrorCode::NoAuth)) => {
            session.exists(path.as_str()).await?.map(|stat| Znode { stat, data: None })
        }
        Err(error) => return Err(error),
    };
    let Some(znode) = found else { return Ok(None) };
    let children = match znode.stat.num_children {
        0 => Some(Vec::new()),
        _ => match session.children(path.as_str()).await {
            Ok(children) => Some(children.map(|(names, _)| names).unwrap_or_default()),
            Err(RequestError::Refused(ErrorCode::NoAuth)) => None,
            Err(error) => return Err(error),
        },
    };
    Ok(Some((path, znode, children)))
}
