//! The audit log: who changed what, and whether it came about. The fields and their order are Apache's
//! (`AuditHelper`, `AuditEvent`); data, passwords and hashes of passwords are in none.
//!
//! Lines go to the target [`TARGET`] of the log: successes as info, failures as errors.

use zk_wire::acl::{Acl, perms};
use zk_wire::codes::CreateMode;
use zk_wire::ids::SessionId;
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::request::Request;

use crate::access::{Identities, masked};

/// Where audit lines go.
pub const TARGET: &str = "zookeeper.audit";

/// The user of what the server does by itself.
pub const SERVER: &str = "zoobridge";

/// A request that is audited, from its arrival to its result.
#[derive(Debug)]
pub struct Audit {
    session: SessionId,
    user: String,
    ip: String,
    is_multi: bool,
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Operation {
    name: &'static str,
    path: String,
    mode: Option<CreateMode>,
    acl: Option<String>,
}

impl Audit {
    /// What is audited of a request; `None` if it is of no such kind.
    #[must_use]
    pub fn of(request: &Request, session: SessionId, who: &Identities) -> Option<Audit> {
        let operations = match request {
            Request::Create(r) | Request::Create2(r) | Request::CreateContainer(r) => {
                vec![Operation::create(&r.path, r.mode)]
            }
            Request::CreateTtl(r) => vec![Operation::create(&r.path, r.mode)],
            Request::Delete(r) => vec![Operation::new("delete", &r.path)],
            Request::DeleteContainer(r) => vec![Operation::new("delete", &r.path)],
            Request::SetData(r) => vec![Operation::new("setData", &r.path)],
            Request::SetAcl(r) => {
                vec![Operation { acl: Some(acl(&r.acl)), ..Operation::new("setAcl", &r.path) }]
            }
            Request::Multi(ops) => ops.iter().map(Operation::element).collect(),
            _ => return None,
        };
        let ip = who.all().iter().find(|id| id.scheme == "ip").map(|id| id.id.clone());
        let is_multi = matches!(request, Request::Multi(_));
        Some(Audit { session, user: who.users(), ip: ip.unwrap_or_default(), is_multi, operations })
    }

    /// Writes what has become of it, from what applying its transaction gave.
    pub fn record(&self, results: &[MultiResult]) {
        let failed = results.iter().any(|result| matches!(result, MultiResult::Error(_)));
        for line in self.lines(results, failed) {
            emit(&line, failed);
        }
    }

    fn lines(&self, results: &[MultiResult], failed: bool) -> Vec<String> {
        if failed && self.is_multi {
            return vec![self.line("multiOperation", None, None, None, "failure")];
        }
        let line = |(index, operation): (usize, &Operation)| {
            // A sequential znode has its name only now.
            let path = match results.get(index) {
                Some(MultiResult::Create(path) | MultiResult::Create2(path, _)) => path,
                _ => &operation.path,
            };
            let result = if failed { "failure" } else { "success" };
            self.line(operation.name, Some(path), operation.mode, operation.acl.as_deref(), result)
        };
        let is_change = |(_, operation): &(usize, &Operation)| operation.name != "check";
        self.operations.iter().enumerate().filter(is_change).map(line).collect()
    }

    fn line(
        &self,
        operation: &str,
        path: Option<&str>,
        mode: Option<CreateMode>,
        acl: Option<&str>,
        result: &str,
    ) -> String {
        let mode = mode.and_then(CreateMode::name).map(znode_type);
        let session = format!("0x{:x}", self.session.0);
        line(&[
            ("session", Some(&session)),
            ("user", Some(&self.user).filter(|user| !user.is_empty()).map(String::as_str)),
            ("ip", Some(&self.ip)),
            ("operation", Some(operation)),
            ("znode", path),
            ("znode_type", mode.as_deref()),
            ("acl", acl),
            ("result", Some(result)),
        ])
    }
}

/// The server starts or stops.
pub fn server(operation: &str, result: &str) {
    let fields = [("user", Some(SERVER)), ("operation", Some(operation)), ("result", Some(result))];
    emit(&line(&fields), result == "failure");
}

/// An ephemeral znode has gone with its session.
pub fn ephemeral_deleted(session: SessionId, path: &str) {
    let session = format!("0x{:x}", session.0);
    let fields = [
        ("session", Some(session.as_str())),
        ("user", Some(SERVER)),
        ("operation", Some("ephemeralZNodeDeletionOnSessionCloseOrExpire")),
        ("znode", Some(path)),
        ("result", Some("success")),
    ];
    emit(&line(&fields), false);
}

fn emit(line: &str, failed: bool) {
    match failed {
        true => tracing::error!(target: TARGET, "{line}"),
        false => tracing::info!(target: TARGET, "{line}"),
    }
}

/// Fields separated by tabs. What clients choose cannot make a field or a line of its own.
fn line(fields: &[(&str, Option<&str>)]) -> String {
    let field = |(name, value): &(&str, Option<&str>)| value.map(|value| format!("{name}={}", plain(value)));
    fields.iter().filter_map(field).collect::<Vec<_>>().join("\t")
}

fn plain(value: &str) -> String {
    value.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// `PersistentSequential` to `persistent_sequential`.
fn znode_type(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// As `ZKUtil.aclToString`, but without hashes.
fn acl(acl: &[Acl]) -> String {
    let entry = |entry: &Acl| format!("{}:{}:{}", entry.id.scheme, entry.id.id, permissions(entry.perms));
    masked(acl).iter().map(entry).collect()
}

fn permissions(perms: i32) -> String {
    let letters = [
        (perms::CREATE, 'c'),
        (perms::DELETE, 'd'),
        (perms::READ, 'r'),
        (perms::WRITE, 'w'),
        (perms::ADMIN, 'a'),
    ];
    letters.iter().filter(|(bit, _)| perms & bit != 0).map(|(_, letter)| letter).collect()
}

impl Operation {
    fn new(name: &'static str, path: &str) -> Self {
        Operation { name, path: path.to_owned(), mode: None, acl: None }
    }

    fn create(path: &str, mode: CreateMode) -> Self {
        Operation { mode: Some(mode), ..Operation::new("create", path) }
    }

    fn element(op: &WriteOp) -> Self {
        match op {
            WriteOp::Create(r) | WriteOp::Create2(r) | WriteOp::CreateContainer(r) => {
                Operation::create(&r.path, r.mode)
            }
            WriteOp::CreateTtl(r) => Operation::create(&r.path, r.mode),
            WriteOp::Delete(r) => Operation::new("delete", &r.path),
            WriteOp::SetData(r) => Operation::new("setData", &r.path),
            WriteOp::Check(r) => Operation::new("check", &r.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_wire::codes::ErrorCode;
    use zk_wire::request::{CreateRequest, DeleteRequest, SetAclRequest, SetDataRequest};

    fn who() -> Identities {
        let mut who = Identities::of_address("10.1.2.3".parse().unwrap(), std::sync::Arc::default());
        who.authenticate("digest", Some(b"bob:secret")).unwrap();
        who
    }

    fn lines(request: &Request, results: &[MultiResult], failed: bool) -> Vec<String> {
        Audit::of(request, SessionId(0x1f), &who()).unwrap().lines(results, failed)
    }

    fn create(path: &str, mode: CreateMode) -> CreateRequest {
        CreateRequest { path: path.to_owned(), data: Some("secret".into()), acl: Acl::open(), mode }
    }

    const WHO: &str = "session=0x1f\tuser=10.1.2.3,bob\tip=10.1.2.3\t";

    /// The lines of Apache 3.9.
    #[test]
    fn fields_and_their_order_are_those_of_apache() {
        let sequential = Request::Create(create("/a", CreateMode::EphemeralSequential));
        let result = [MultiResult::Create("/a0000000003".to_owned())];
        let expected =
            "operation=create\tznode=/a0000000003\tznode_type=ephemeral_sequential\tresult=success";
        assert_eq!(lines(&sequential, &result, false), [format!("{WHO}{expected}")]);
        let set = Request::SetData(SetDataRequest {
            path: "/a".to_owned(),
            data: Some("secret".into()),
            version: 1,
        });
        let failure = [MultiResult::Error(ErrorCode::BadVersion)];
        let expected = "operation=setData\tznode=/a\tresult=failure";
        assert_eq!(lines(&set, &failure, true), [format!("{WHO}{expected}")]);
    }

    #[test]
    fn acls_are_shown_without_hashes() {
        let entry = |scheme: &str, id: &str, perms| Acl {
            perms,
            id: zk_wire::acl::Id { scheme: scheme.to_owned(), id: id.to_owned() },
        };
        let acl = vec![entry("digest", "bob:2Om+GBbT2q", 31), entry("world", "anyone", 1)];
        let request = Request::SetAcl(SetAclRequest { path: "/a".to_owned(), acl, version: -1 });
        let expected = "operation=setAcl\tznode=/a\tacl=digest:bob:x:cdrwaworld:anyone:r\tresult=success";
        assert_eq!(lines(&request, &[], false), [format!("{WHO}{expected}")]);
    }

    #[test]
    fn a_multi_is_its_elements_or_one_failure() {
        let delete = WriteOp::Delete(DeleteRequest { path: "/b".to_owned(), version: -1 });
        let request = Request::Multi(vec![WriteOp::Create(create("/a", CreateMode::Persistent)), delete]);
        let success = lines(&request, &[], false);
        assert_eq!(
            success[0],
            format!("{WHO}operation=create\tznode=/a\tznode_type=persistent\tresult=success")
        );
        assert_eq!(success[1], format!("{WHO}operation=delete\tznode=/b\tresult=success"));
        assert_eq!(lines(&request, &[], true), [format!("{WHO}operation=multiOperation\tresult=failure")]);
    }

    #[test]
    fn nobody_can_write_a_line_or_a_field_of_his_own() {
        let request = Request::Create(create("/a\tresult=success\nsession=0x0", CreateMode::Persistent));
        let line = lines(&request, &[], true).remove(0);
        assert!(line.contains("znode=/a\\tresult=success\\nsession=0x0\t"), "{line}");
        assert_eq!(line.matches('\n').count(), 0);
    }
}
