//! Watches to register again on a new connection.

use zk_wire::ids::Zxid;
use zk_wire::request::{Request, SetWatches, SetWatches2};

use crate::chroot::Chroot;

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

/// A setWatches2 without any path: header, zxid, five lengths.
const OVERHEAD_BYTES: usize = 8 + 8 + 5 * 4;

impl WatchSet {
    /// Is there nothing to register?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds().iter().all(|paths| paths.is_empty())
    }

    fn kinds(&self) -> [&Vec<String>; 5] {
        [&self.data, &self.exist, &self.child, &self.persistent, &self.persistent_recursive]
    }

    /// All paths, of every kind.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &String> {
        self.kinds().into_iter().flatten()
    }

    /// The requests that register them all, with the server's paths. Each has at most `max_frame` bytes and
    /// about [`CHUNK_BYTES`], unless one path alone has more.
    pub(crate) fn requests(&self, relative_zxid: Zxid, chroot: &Chroot, max_frame: usize) -> Vec<Request> {
        let limit = CHUNK_BYTES.min(max_frame.saturating_sub(OVERHEAD_BYTES));
        let mut requests = Vec::new();
        let (mut chunk, mut bytes) = (empty(relative_zxid), 0);
        for (kind, paths) in self.kinds().into_iter().enumerate() {
            for path in paths {
                let mut path = path.clone();
                chroot.outward(&mut path);
                if bytes > 0 && bytes + 4 + path.len() > limit {
                    requests.push(request(std::mem::replace(&mut chunk, empty(relative_zxid))));
                    bytes = 0;
                }
                bytes += 4 + path.len();
                of_kind(&mut chunk, kind).push(path);
            }
        }
        if bytes > 0 {
            requests.push(request(chunk));
        }
        requests
    }
}

/// Servers before 3.6 know setWatches only, so it is asked wherever it suffices, as `ClientCnxn` does.
fn request(chunk: SetWatches2) -> Request {
    match chunk {
        SetWatches2 { relative_zxid, data, exist, child, persistent, persistent_recursive }
            if persistent.is_empty() && persistent_recursive.is_empty() =>
        {
            Request::SetWatches(SetWatches { relative_zxid, data, exist, child })
        }
        chunk => Request::SetWatches2(chunk),
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
    use zk_wire::codes::OpCode;

    use super::*;

    fn set() -> WatchSet {
        let path = |kind: &str, n: usize| format!("/{kind}/{n:0100}");
        WatchSet {
            child: (0..3_000).map(|n| path("child", n)).collect(),
            persistent: (0..10).map(|n| path("persistent", n)).collect(),
            ..WatchSet::default()
        }
    }

    fn length(request: &Request) -> usize {
        let mut frame = Vec::new();
        request.encode(0, &mut frame);
        frame.len()
    }

    #[test]
    fn every_path_is_in_exactly_one_chunk_of_bounded_size() {
        let requests = set().requests(Zxid(7), &Chroot::default(), 1 << 20);
        let mut gathered = WatchSet::default();
        for request in &requests {
            assert!(length(request) <= CHUNK_BYTES + OVERHEAD_BYTES, "{}", length(request));
            match request {
                Request::SetWatches(chunk) => {
                    assert_eq!(chunk.relative_zxid, Zxid(7));
                    gathered.child.extend(chunk.child.clone());
                }
                Request::SetWatches2(chunk) => {
                    assert_eq!(chunk.relative_zxid, Zxid(7));
                    gathered.child.extend(chunk.child.clone());
                    gathered.persistent.extend(chunk.persistent.clone());
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(gathered, set());
        assert_eq!(requests.len(), 3);
        assert_eq!(WatchSet::default().requests(Zxid(7), &Chroot::default(), 1 << 20), []);
    }

    #[test]
    fn a_chroot_counts_and_so_does_a_smaller_frame() {
        let long = Chroot::new(&format!("/{}", "c".repeat(1_000)));
        for (chroot, max_frame, limit) in [
            (&long, 1 << 20, CHUNK_BYTES + OVERHEAD_BYTES),
            (&long, 10_000, 10_000),
            (&Chroot::default(), 10_000, 10_000),
        ] {
            for request in set().requests(Zxid(7), chroot, max_frame) {
                assert!(length(&request) <= limit, "{} in a frame of {max_frame}", length(&request));
            }
        }
    }

    #[test]
    fn one_shot_watches_alone_need_no_server_that_knows_persistent_ones() {
        let ops = |set: WatchSet| {
            set.requests(Zxid(7), &Chroot::default(), 1 << 20).iter().map(Request::op).collect::<Vec<_>>()
        };
        let paths = vec!["/a".to_owned()];
        let one_shot = WatchSet { data: paths.clone(), exist: paths.clone(), ..WatchSet::default() };
        assert_eq!(ops(one_shot.clone()), [OpCode::SetWatches]);
        assert_eq!(ops(WatchSet { persistent: paths, ..one_shot }), [OpCode::SetWatches2]);
    }
}
