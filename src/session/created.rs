//! What is persistent and not our own, and yet we made it: directories for leaves, and what a format keeps beside
//! them. Each has a record below our own path, created in the transaction that it is about. So whoever cleans up knows
//! what is whose: a znode is ours if it was created by the transaction that created its record.
//!
//! ```text
//!   <own>/created/<two digits of a hash>/<path, escaped>              a znode
//!   <own>/created/<two digits of a hash>/<path, escaped>,<item, escaped>   an item of a list
//! ```
//!
//! The data of a record is the directory of leaves that need what was made, if it is no directory itself. A record that
//! cannot be created costs the record.

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha1::{Digest, Sha1};
use zk_client::{MultiFailure, RequestError, Session};
use zk_wire::codes::ErrorCode;
use zk_wire::multi::WriteOp;
use zk_wire::request::DeleteRequest;

use super::directories;
use super::fence::Fence;
use super::pool::WriteError;
use super::slots::{Shared, lock};
use crate::model::ZnodePath;

/// What is told of something that we made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// Which znode; or in which.
    pub(super) path: ZnodePath,
    /// The item of its list.
    pub(super) item: Option<String>,
    /// The leaves that need it are here.
    pub(super) leaves: Option<ZnodePath>,
}

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
/// How often each record is tried.
const ATTEMPTS: usize = 3;

impl Record {
    /// Of a directory.
    pub(super) fn directory(path: ZnodePath) -> Self {
        Record { path, item: None, leaves: None }
    }

    /// Where it is. Spread over directories, since their lists must not be longer than servers' answers may be.
    pub(super) fn place(&self, created: &ZnodePath) -> Option<ZnodePath> {
        let name = self.name();
        created.child(&shard(&name)).and_then(|shard| shard.child(&name)).ok()
    }

    fn name(&self) -> String {
        let path = utf8_percent_encode(self.path.as_str(), PLAIN);
        match &self.item {
            Some(item) => format!("{path},{}", utf8_percent_encode(item, PLAIN)),
            None => path.to_string(),
        }
    }

    fn data(&self) -> Bytes {
        self.leaves
            .as_ref()
            .map(|leaves| Bytes::copy_from_slice(leaves.as_str().as_bytes()))
            .unwrap_or_default()
    }

    /// The record of which this is the place and the data; `None` if it is none that we write.
    pub(super) fn read(place: &ZnodePath, data: &[u8]) -> Option<Record> {
        let decode = |text: &str| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
        let (path, item) = match place.name().split_once(',') {
            Some((path, item)) => (path, Some(decode(item)?)),
            None => (place.name(), None),
        };
        let leaves = match data {
            [] => None,
            data => Some(ZnodePath::new(std::str::from_utf8(data).ok()?).ok()?),
        };
        let record = Record { path: ZnodePath::new(&decode(path)?).ok()?, item, leaves };
        let created = place.parent()?.parent()?;
        (record.place(&created).as_ref() == Some(place) && record.path.as_str() != "/").then_some(record)
    }
}

fn shard(name: &str) -> String {
    let [first, ..] = <[u8; 20]>::from(Sha1::digest(name));
    format!("{first:02x}")
}

impl Shared {
    /// Carries these ops out with their records, all or none, if we still lead.
    pub(super) async fn make(
        &self,
        session: &Session,
        ops: Vec<WriteOp>,
        records: Vec<Record>,
    ) -> Result<(), WriteError> {
        let own = &self.config.ensemble.acls.own;
        let placed = |record: Record| Some((record.place(&self.config.own.created)?, record.data()));
        let mut records: Vec<_> = records.into_iter().filter_map(placed).collect();
        let mut attempts = ATTEMPTS * records.len();
        loop {
            let Some(check) = self.fence_check() else { return Err(WriteError::Fenced) };
            let kept = records.iter().map(|(place, data)| directories::create(place, data.clone(), own));
            let all = std::iter::once(check).chain(ops.iter().cloned()).chain(kept).collect();
            let (index, code) = match session.multi(all).await {
                Ok(_) => return Ok(()),
                Err(RequestError::Multi(MultiFailure { index: 0, .. })) => return Err(WriteError::Fenced),
                Err(RequestError::Multi(MultiFailure { index, code, .. })) => (index, code),
                Err(error) => return Err(error.into()),
            };
            let Some(record) = index.checked_sub(1 + ops.len()) else {
                return Err(WriteError::Refused(RequestError::Refused(code)));
            };
            // Nothing was carried out, for a record's sake only.
            attempts = attempts.saturating_sub(1);
            let place = records[record].0.clone();
            if attempts == 0 || !self.make_way(session, &place, code).await {
                tracing::warn!(%place, "what is made has no record, so it stays when the bridge goes: {code}");
                records.remove(record);
            }
        }
    }

    /// A record was refused. May it be tried again?
    async fn make_way(&self, session: &Session, place: &ZnodePath, code: ErrorCode) -> bool {
        let acls = &self.config.ensemble.acls;
        match (code, place.parent(), self.fence_check()) {
            (ErrorCode::NoNode, Some(shard), _) => {
                directories::ensure(session, &shard, &acls.own, &acls.parents).await.is_ok()
            }
            // What it was about is gone.
            (ErrorCode::NodeExists, _, Some(check)) => {
                let delete = WriteOp::Delete(DeleteRequest { path: place.to_string(), version: -1 });
                session.multi(vec![check, delete]).await.is_ok()
            }
            _ => false,
        }
    }

    fn fence_check(&self) -> Option<WriteOp> {
        lock(&self.fence).as_ref().map(Fence::check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> ZnodePath {
        ZnodePath::new(path).unwrap()
    }

    #[test]
    fn a_record_tells_what_it_is_about() {
        let created = path("/zoobridge/test/created");
        for about in
            ["/services/orders", "/dubbo/com.acme.A/providers", "/sérvices/a%2Fb", "/a-b_c/ü,x", "/a,b"]
        {
            for item in [None, Some("orders"), Some("a,b/c"), Some("ü")] {
                for leaves in [None, Some(path("/services/orders"))] {
                    let record = Record { path: path(about), item: item.map(str::to_owned), leaves };
                    let place = record.place(&created).unwrap();
                    assert!(place.is_below(&created));
                    assert_eq!(Record::read(&place, &record.data()), Some(record));
                }
            }
        }
    }

    #[test]
    fn what_we_would_not_write_is_no_record() {
        let created = path("/zoobridge/test/created");
        let good = Record::directory(path("/services")).place(&created).unwrap();
        assert!(Record::read(&good, b"").is_some());
        assert_eq!(Record::read(&good, b"no path"), None);
        assert_eq!(Record::read(&good, b"\xff"), None);
        for name in ["services", "%2fservices", "%2Fservices%2F", "%FF", "%2F", "%2Fa,%2f"] {
            let place = created.child(&shard(name)).unwrap().child(name).unwrap();
            assert_eq!(Record::read(&place, b""), None, "{name}");
        }
        // In the wrong place.
        let elsewhere = created.child("zz").unwrap().child(good.name()).unwrap();
        assert_eq!(Record::read(&elsewhere, b""), None);
    }
}
