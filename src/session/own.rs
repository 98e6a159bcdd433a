//! Where the bridge of a cluster has its own znodes. All that it needs is known by its name; what else is there is not
//! ours.

use zk_wire::path::PathError;

use crate::model::ZnodePath;

/// The directories of one bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    /// That of the cluster, with the others in it.
    pub root: ZnodePath,
    /// Of the fence.
    pub fence: ZnodePath,
    /// Of the records of what was written.
    pub history: ZnodePath,
    /// Of the records of persistent znodes that the bridge made.
    pub created: ZnodePath,
    /// Of an ephemeral of each session.
    pub sessions: ZnodePath,
}

impl Own {
    /// Those of the bridge of a cluster.
    ///
    /// # Errors
    /// The cluster's name cannot be part of a path.
    pub fn new(paths_own: &ZnodePath, cluster: &str) -> Result<Own, PathError> {
        let root = paths_own.child(cluster)?;
        Ok(Own {
            fence: root.child("fence")?,
            history: root.child("history")?,
            created: root.child("created")?,
            sessions: root.child("sessions")?,
            root,
        })
    }
}
