//! Watches to register again on a new connection.

use zk_wire::ids::Zxid;
use zk_wire::request::{Request, SetWatches2};

/// The watches of a session, by kind. They live in the connection, so they are sent again after a resume;
/// the server then reports at once what changed since the last transaction seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchSet {
    /// One-shot watches of data.
    pub data: Vec<String>,
    /// One-shot watches for a creation.
    pub exist: Vec<String>,
    /// One-shot watches of children.
    pub child: Vec<String>,
    /// Persistent watches.
    pub persistent: Vec<String>,
    /// Persistent recursive watches.
    pub persistent_recursive: Vec<String>,
}

/// One setWatches2 holds at most this many bytes of paths (`ClientCnxn.SET_WATCHES_MAX_LENGTH`).
const CHUNK_BYTES: usize = 128 * 1024;

impl WatchSet {
    /// Is there nothing to register?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds().iter().all(|paths| paths.is_empty())
    }

    fn kinds(&self) -> [&Vec<String>; 5] {
        [&self.data, &self.exist, &self.child, &self.persistent, &self.persistent_recursive]
    }

    /// The requests that register them all, each below the chunk size unless one path alone is above it.
    pub(crate) fn requests(&self, relative_zxid: Zxid) -> Vec<Request> {
        let mut requests = Vec::new();
        let (mut chunk, mut bytes) = (empty(relative_zxid), 0);
        for (kind, paths) in self.kinds().into_iter().enumerate() {
            for path in paths {
                if bytes > 0 && bytes + 4 + path.len() > CHUNK_BYTES {
                    requests.push(Request::SetWatches2(std::mem::replace(&mut chunk, empty(relative_zxid))));
                    bytes = 0;
                }
                bytes += 4 + path.len();
                of_kind(&mut chunk, kind).push(path.clone());
            }
        }
        if bytes > 0 {
            requests.push(Request::SetWatches2(chunk));
        }
        requests
    }
}

fn empty(relative_zxid: Zxid) -> SetWatches2 {
    SetWatches2 {
        relative_zxid,
        data: Vec::new(),
        exist: Vec::new(),
        child: Vec::new(),
        persistent: Vec::new(),
        persistent_recursive: Vec::new(),
    }
}

fn of_kind(chunk: &mut SetWatches2, kind: usize) -> &mut Vec<String> {
    match kind {
        0 => &mut chunk.data,
        1 => &mut chunk.exist,
        2 => &mut chunk.child,
        3 => &mut chunk.persistent,
        _ => &mut chunk.persistent_recursive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_in_exactly_one_chunk_of_bounded_size() {
        let path = |kind: &str, n: usize| format!("/{kind}/{n:0100}");
        let set = WatchSet {
            child: (0..3_000).map(|n| path("child", n)).collect(),
            persistent: (0..10).map(|n| path("persistent", n)).collect(),
            ..WatchSet::default()
        };
        let requests = set.requests(Zxid(7));
        let mut gathered = WatchSet::default();
        for request in &requests {
            let mut frame = Vec::new();
            request.encode(0, &mut frame);
            assert!(frame.len() < CHUNK_BYTES + 64, "{}", frame.len());
            let Request::SetWatches2(chunk) = request else { panic!("{request:?}") };
            assert_eq!(chunk.relative_zxid, Zxid(7));
            gathered.child.extend(chunk.child.clone());
            gathered.persistent.extend(chunk.persistent.clone());
        }
        assert_eq!(gathered, set);
        assert_eq!(requests.len(), 3);
        assert_eq!(WatchSet::default().requests(Zxid(7)), []);
    }
}
