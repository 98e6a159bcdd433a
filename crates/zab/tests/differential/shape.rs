//! A message with its zxids, sessions and times taken out, so that two servers' can be compared.

use std::fmt::Write;

use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::connect::ConnectResponse;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::Reader;
use zk_wire::multi::MultiResult;
use zk_wire::reply::{ReplyHeader, Response, WatcherEvent};
use zk_wire::stat::Stat;

/// What is the same on every server, and the numbers that are not.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shape {
    pub(crate) text: String,
    pub(crate) zxids: Vec<Zxid>,
    pub(crate) sessions: Vec<SessionId>,
    /// A transaction, and when it says that it was.
    pub(crate) times: Vec<(Zxid, i64)>,
    pub(crate) is_event: bool,
    /// What kind of message it is, to count.
    pub(crate) kind: String,
}

/// Constructors, apart so that the struct reads as what it is.
pub(crate) trait ShapeOf {
    fn text(text: &str) -> Shape;
    fn connected(response: &ConnectResponse) -> Shape;
    fn event(header: &ReplyHeader, event: &WatcherEvent) -> Shape;
    fn reply(header: &ReplyHeader, op: OpCode, reader: &mut Reader<'_>) -> Shape;
}

impl ShapeOf for Shape {
    fn text(text: &str) -> Shape {
        Shape { text: text.to_owned(), ..Shape::default() }
    }

    fn connected(response: &ConnectResponse) -> Shape {
        let body = &response.body;
        let password = body.password.as_ref().map(|password| password.len());
        let text = format!(
            "connected: version {}, {} ms, password of {password:?} bytes, read-only {:?}",
            body.protocol_version, body.timeout_ms, response.read_only
        );
        Shape { text, sessions: vec![body.session_id], ..Shape::default() }
    }

    fn event(header: &ReplyHeader, event: &WatcherEvent) -> Shape {
        let text = format!("event {} {:?} state {} err {}", event.kind, event.path, event.state, header.err);
        let kind = event.kind.to_string();
        Shape { text, zxids: vec![header.zxid], is_event: true, kind, ..Shape::default() }
    }

    fn reply(header: &ReplyHeader, op: OpCode, reader: &mut Reader<'_>) -> Shape {
        let mut shape = Shape::text(&format!("reply {}: {}", header.xid, header.err));
        shape.kind = header.err.to_string();
        // The two that are not the last transaction's: of auth, and of what is not implemented.
        match header.zxid {
            Zxid(0) | Zxid(-1) => write!(shape.text, " zxid {}", header.zxid.0).unwrap(),
            zxid => shape.zxids.push(zxid),
        }
        if header.err == ErrorCode::Ok {
            let response = Response::read(op, reader);
            shape.response(response.unwrap_or_else(|error| panic!("the reply to {op}: {error}")));
        }
        shape
    }
}

impl Shape {
    fn response(&mut self, response: Response) {
        match response {
            Response::Empty => {}
            Response::Path(r) => self.say(&r.path),
            Response::Create2(r) => {
                self.say(&r.path);
                self.stat(&r.stat);
            }
            Response::Stat(r) => self.stat(&r.stat),
            Response::Data(r) => {
                self.say(&r.data);
                self.stat(&r.stat);
            }
            Response::Acl(r) => {
                self.unordered(r.acl);
                self.stat(&r.stat);
            }
            Response::Strings(r) => self.unordered(r.strings),
            Response::Children2(r) => {
                self.unordered(r.children);
                self.stat(&r.stat);
            }
            Response::Multi(results) => {
                for result in results.0 {
                    self.result(result);
                }
            }
            Response::Number(number) => self.say(&number),
            Response::WhoAmI(infos) => self.unordered(infos),
            Response::Token(token) => self.say(&token),
        }
    }

    fn result(&mut self, result: MultiResult) {
        match result {
            MultiResult::Create2(path, stat) => {
                self.say(&("create2", path));
                self.stat(&stat);
            }
            MultiResult::SetData(stat) => self.stat(&stat),
            MultiResult::GetData(data, stat) => {
                self.say(&data);
                self.stat(&stat);
            }
            MultiResult::GetChildren(children) => self.unordered(children),
            other => self.say(&other),
        }
    }

    fn say(&mut self, what: &impl std::fmt::Debug) {
        write!(self.text, " {what:?}").unwrap();
    }

    /// Children and ephemerals are in no order, and nor are identities, which `auth` puts into ACLs.
    fn unordered<T: std::fmt::Debug>(&mut self, what: Vec<T>) {
        let mut texts: Vec<String> = what.iter().map(|element| format!("{element:?}")).collect();
        texts.sort();
        write!(self.text, " [{}]", texts.join(", ")).unwrap();
    }

    fn stat(&mut self, stat: &Stat) {
        let Stat {
            czxid,
            mzxid,
            ctime,
            mtime,
            version,
            cversion,
            aversion,
            ephemeral_owner,
            data_length,
            num_children,
            pzxid,
        } = *stat;
        write!(
            self.text,
            " [v{version} cv{cversion} av{aversion} {data_length} bytes, {num_children} children]"
        )
        .unwrap();
        self.zxids.extend([czxid, mzxid, pzxid]);
        self.sessions.push(ephemeral_owner);
        self.times.extend([(czxid, ctime), (mzxid, mtime)]);
    }
}
