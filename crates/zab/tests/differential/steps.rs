//! Random steps: what one of several clients does next.

use bytes::Bytes;
use zk_wire::acl::{Acl, Id};
use zk_wire::codes::{AddWatchMode, CreateMode, OpCode, WatcherType};
use zk_wire::connect::ConnectRequestBody;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::Jute;
use zk_wire::multi::{ReadOp, WriteOp};
use zk_wire::request::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest,
    PathRequest, ReconfigRequest, Request, SetAclRequest, SetDataRequest, SetWatches, SetWatches2,
    WatchedRead, WatchesRequest,
};

use crate::random::Random;

/// Clients of a round. Each has one session at a time.
pub(crate) const CLIENTS: usize = 4;

/// What a client does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// Sends all of it at once; replies come in that order.
    Ask(Vec<Ask>),
    /// The socket goes away, the session stays.
    Drop,
    /// Another connection resumes the session; one that is still there loses it.
    Resume,
    /// As [`Action::Resume`] without a connection, but with a password that is none.
    ResumeWrongly,
    /// The session ends, with something asked in front of that and behind, and the next request begins another.
    Close { before: Vec<Ask>, behind: Vec<Ask> },
    /// A connection of nobody's says hello, and ends the session that it may get.
    Greet(Greeting),
}

/// A first message that may be anything.
#[derive(Debug, Clone)]
pub(crate) struct Greeting {
    pub(crate) body: ConnectRequestBody,
    pub(crate) read_only: Option<bool>,
    /// So many bytes of it, if not all.
    pub(crate) bytes: Option<usize>,
    /// Its length is said to be this.
    pub(crate) length: Option<i32>,
}

/// One message.
#[derive(Debug, Clone)]
pub(crate) enum Ask {
    Request(Request),
    /// setWatches or setWatches2; its zxid is what the client last saw, this many steps ago, if it saw any.
    SetWatches {
        steps_ago: usize,
        request: Request,
    },
    /// A body that may be anything.
    Raw {
        op: OpCode,
        body: Vec<u8>,
    },
}

/// A step of a round.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) client: usize,
    pub(crate) action: Action,
}

/// The steps of a seed below a znode of its own.
pub(crate) fn generate(seed: u64, root: &str, count: usize) -> Vec<Step> {
    let quotas = seed.is_multiple_of(4);
    let mut generator = Generator { random: Random::new(seed), root: root.to_owned(), quotas };
    let mut steps = generator.opening();
    steps.truncate(count);
    while steps.len() < count {
        steps.push(generator.step());
    }
    steps
}

struct Generator {
    random: Random,
    root: String,
    /// Quotas too, and then nothing is sent ahead: Apache enforces them by what has been applied so far.
    quotas: bool,
}

impl Generator {
    /// Znodes to begin with, so that not everything is asked of what is not there.
    fn opening(&mut self) -> Vec<Step> {
        let root = &self.root;
        let mut paths: Vec<String> =
            ["a", "b", "a/a", "a/b"].iter().map(|name| format!("{root}/{name}")).collect();
        if self.quotas {
            let parent = root.rsplit_once('/').map_or("", |(parent, _)| parent);
            for about in [parent, root, &format!("{root}/a")] {
                paths.push(format!("/zookeeper/quota{about}"));
            }
            paths.push(format!("/zookeeper/quota{root}/zookeeper_limits"));
            paths.push(format!("/zookeeper/quota{root}/zookeeper_stats"));
        }
        let ask = |request| Step { client: 0, action: Action::Ask(vec![Ask::Request(request)]) };
        let create = |path: String, data: Vec<u8>, mode| {
            ask(Request::Create(CreateRequest { path, data: Some(data.into()), acl: Acl::open(), mode }))
        };
        let limits = b"count=-1,bytes=-1=;byteHardLimit=300;countHardLimit=12".to_vec();
        let (plain, ephemeral) = (CreateMode::Persistent, CreateMode::Ephemeral);
        let mut steps: Vec<Step> =
            paths.into_iter().map(|path| create(path, limits.clone(), plain)).collect();
        // What chance shows seldom: too much, a child of an ephemeral, no permission.
        steps.push(create(format!("{root}/much"), vec![b'x'; 400], plain));
        steps.push(create(format!("{root}/e"), Vec::new(), ephemeral));
        steps.push(create(format!("{root}/e/child"), Vec::new(), plain));
        let path = "/zookeeper/config".to_owned();
        steps.push(ask(Request::SetData(SetDataRequest { path, data: None, version: -1 })));
        steps
    }

    fn step(&mut self) -> Step {
        let client = self.random.below(CLIENTS);
        let action = match self.random.weighted(&[76, 8, 3, 4, 6, 1, 2, 2]) {
            0 if self.quotas && self.random.one_in(3) => Action::Ask(vec![self.quota()]),
            0 => Action::Ask(vec![self.ask()]),
            1 if self.quotas => Action::Ask(vec![self.quota()]),
            1 => {
                let count = 2 + self.random.below(6);
                Action::Ask(self.several(count))
            }
            2 => Action::Ask(vec![self.ask_alone()]),
            3 => Action::Drop,
            4 => Action::Resume,
            5 => Action::ResumeWrongly,
            6 => {
                // A write behind it takes a zxid on Apache or not, as timing has it.
                let behind = (0..self.random.below(2)).map(|_| Ask::Request(Request::Exists(self.read())));
                let behind = behind.collect();
                Action::Close { before: self.few(), behind }
            }
            _ => Action::Greet(self.greeting()),
        };
        Step { client, action }
    }

    /// None where quotas are, of which Apache counts what has been applied so far.
    fn few(&mut self) -> Vec<Ask> {
        let count = if self.quotas { 0 } else { self.random.weighted(&[4, 1, 1]) };
        self.several(count)
    }

    /// So many, sent at once; but nothing behind a setACL: Apache checks that against the old ACL for as long as the
    /// setACL is not applied, against the new one behind that.
    fn several(&mut self, count: usize) -> Vec<Ask> {
        let mut asks = Vec::new();
        while asks.len() < count && !matches!(asks.last(), Some(Ask::Request(Request::SetAcl(_)))) {
            asks.push(self.ask());
        }
        asks
    }

    fn greeting(&mut self) -> Greeting {
        let body = ConnectRequestBody {
            protocol_version: self.random.pick(&[0, 0, 0, 7, -1]),
            last_zxid_seen: Zxid(self.random.pick(&[0, 0, 0, -1, i64::MIN, i64::MAX])),
            timeout_ms: self.random.pick(&[10_000, 10_000, 0, -1, 1, i32::MAX, i32::MIN]),
            session_id: SessionId(self.random.pick(&[0, 0, 0, 7, -1, i64::MIN])),
            password: self.random.pick(&[
                Some(Bytes::from_static(&[0; 16])),
                Some(Bytes::from_static(&[1; 16])),
                Some(Bytes::new()),
                Some(Bytes::from_static(&[3; 40])),
                None,
            ]),
        };
        let read_only = self.random.pick(&[None, Some(false), Some(true)]);
        let bytes = if self.random.one_in(6) { Some(self.random.below(44)) } else { None };
        let length = if self.random.one_in(8) {
            Some(self.random.pick(&[-1, i32::MIN, i32::MAX, 2_000_000]))
        } else {
            None
        };
        Greeting { body, read_only, bytes, length }
    }

    /// What `setquota` and `listquota` of `zkCli` do, in any order.
    fn quota(&mut self) -> Ask {
        let about = match self.random.below(4) {
            0 => self.root.rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default(),
            1 => self.root.clone(),
            _ => format!("{}/a", self.root),
        };
        let name = self.random.pick(&["", "/zookeeper_limits", "/zookeeper_limits", "/zookeeper_stats"]);
        let path = format!("/zookeeper/quota{about}{name}");
        let data = Some(Bytes::from(self.random.pick(&[
            "count=3,bytes=1000",
            "count=-1,bytes=-1",
            "count=-1,bytes=-1=;countHardLimit=2",
            "count=-1,bytes=-1=;countHardLimit=6",
            "count=-1,bytes=-1=;byteHardLimit=40",
            "count=9,bytes=9=;byteHardLimit=500;countHardLimit=9",
            "bytes=5;count=6",
        ])));
        Ask::Request(match self.random.weighted(&[8, 6, 3, 1]) {
            0 => {
                let (acl, mode) = (Acl::open(), CreateMode::Persistent);
                Request::Create(CreateRequest { path, data, acl, mode })
            }
            1 => Request::GetData(WatchedRead { path, watch: false }),
            2 => Request::SetData(SetDataRequest { path, data, version: -1 }),
            _ => Request::Delete(DeleteRequest { path, version: -1 }),
        })
    }

    /// What is answered outside the order of the requests, or ends the connection.
    fn ask_alone(&mut self) -> Ask {
        match self.random.below(6) {
            0..4 => {
                let (scheme, auth) = self.random.pick(&[
                    ("digest", "user0:pw0"),
                    ("digest", "user1:pw1"),
                    ("digest", "user1:other"),
                    ("digest", "nocolon"),
                    ("digest", "user2:a:b"),
                    ("ip", ""),
                    ("nosuch", "x"),
                ]);
                let packet = AuthPacket { kind: 0, scheme: scheme.to_owned(), auth: Some(auth.into()) };
                Ask::Request(Request::Auth(packet))
            }
            4 => Ask::Raw {
                op: self.random.pick(&[OpCode(0), OpCode(10), OpCode(23), OpCode(999)]),
                body: Vec::new(),
            },
            _ => Ask::Request(Request::Check(self.check())),
        }
    }

    fn ask(&mut self) -> Ask {
        let weights = [24, 9, 10, 12, 7, 7, 6, 5, 4, 5, 2, 3, 2, 2, 1, 6, 4, 2, 4, 1, 2, 2];
        Ask::Request(match self.random.weighted(&weights) {
            0 => self.create(),
            1 => Request::Delete(self.delete()),
            2 => Request::SetData(self.set_data()),
            3 => Request::Multi((0..self.random.below(6)).map(|_| self.write_op()).collect()),
            4 => Request::Exists(self.read()),
            5 => Request::GetData(self.read()),
            6 => Request::GetChildren(self.read()),
            7 => Request::GetChildren2(self.read()),
            8 => Request::GetAcl(self.path_request()),
            9 => self.set_acl(),
            10 => Request::Sync(self.path_request()),
            11 => Request::MultiRead((0..self.random.below(5)).map(|_| self.read_op()).collect()),
            12 => Request::GetEphemerals(self.path_request()),
            // Of no path Apache counts one too many.
            13 => match self.path_request() {
                PathRequest { path } if path.is_empty() => Request::WhoAmI,
                request => Request::GetAllChildrenNumber(request),
            },
            14 => Request::WhoAmI,
            15 => Request::AddWatch(AddWatchRequest {
                path: self.path(),
                mode: self.random.pick(&[
                    AddWatchMode::Persistent,
                    AddWatchMode::Persistent,
                    AddWatchMode::PersistentRecursive,
                    AddWatchMode::PersistentRecursive,
                    AddWatchMode(2),
                    AddWatchMode(-1),
                ]),
            }),
            16 => Request::RemoveWatches(self.watches()),
            17 => Request::CheckWatches(self.watches()),
            18 => return self.set_watches(),
            19 => Request::Reconfig(ReconfigRequest {
                joining: None,
                leaving: Some("2".to_owned()),
                new_members: None,
                current_config_id: -1,
            }),
            // Apache asks for no permission, so only where everybody has it.
            20 => {
                let path = format!("{}/{}", self.root, self.random.pick(&["a", "b", "c", "s0000000002"]));
                Request::DeleteContainer(PathRequest { path })
            }
            _ => return self.raw(),
        })
    }

    /// Paths collide often, and sometimes are none.
    fn path(&mut self) -> String {
        if self.random.one_in(12) {
            return self.odd_path();
        }
        let mut path = self.root.clone();
        for _ in 0..self.random.weighted(&[2, 8, 8, 1]) {
            path.push('/');
            path.push_str(self.random.pick(&["a", "a", "a", "b", "b", "c", "s0000000002", "s0000000003"]));
        }
        path
    }

    /// No character beyond the basic plane: Apache writes it into an event as two that are not UTF-8.
    fn odd_path(&mut self) -> String {
        let name = self.random.pick(&[
            "",
            "x",
            "/",
            "/zookeeper",
            "/zookeeper/quota",
            "/zookeeper/config",
            "/zookeeper/none/x",
            "~/",
            "~//a",
            "~/a/",
            "~/.",
            "~/a/..",
            "~/\u{1}",
            "~/a\0",
            "~/\u{e9}",
            "~/\u{7f}",
            "~/\u{fff0}",
            "~/\u{e000}",
            "~/a b",
            "~/a/./b",
        ]);
        name.replace('~', &self.root)
    }

    /// A path whose ACL may be changed without locking every later round out.
    fn path_below(&mut self) -> String {
        let path = self.path();
        if path.starts_with(&format!("{}/", self.root)) { path } else { format!("{}/a", self.root) }
    }

    fn path_request(&mut self) -> PathRequest {
        PathRequest { path: self.path() }
    }

    fn read(&mut self) -> WatchedRead {
        WatchedRead { path: self.path(), watch: self.random.one_in(2) }
    }

    fn data(&mut self) -> Option<Bytes> {
        match self.random.below(8) {
            0 => None,
            1 => Some(Bytes::new()),
            2 => Some(vec![b'x'; self.random.below(300)].into()),
            _ => Some(Bytes::from(self.random.pick(&["one", "two", "three"]))),
        }
    }

    fn version(&mut self) -> i32 {
        self.random.pick(&[-1, -1, -1, 0, 0, 1, 2, 7, -2, i32::MIN])
    }

    fn acl(&mut self) -> Vec<Acl> {
        if !self.random.one_in(3) {
            return Acl::open();
        }
        (0..self.random.weighted(&[1, 8, 4, 1])).map(|_| self.acl_entry()).collect()
    }

    fn acl_entry(&mut self) -> Acl {
        let (scheme, id) = self.random.pick(&[
            ("world", "anyone"),
            ("world", "anyone"),
            ("auth", ""),
            ("auth", "ignored"),
            // Of user0:pw0 and user1:pw1.
            ("digest", "user0:RXD/Flp0JCe9SctcGrjablicePY="),
            ("digest", "user1:GMJqCvSAmNfv41XqBotWHO0HsNc="),
            ("ip", "127.0.0.1"),
            ("ip", "127.0.0.0/8"),
            ("ip", "10.0.0.0/8"),
            // No IPv6: 3.9.3 takes none, 3.9.4 does (ZOOKEEPER-4240).
            ("ip", "127.0.0.1/33"),
            ("ip", "nonsense"),
            ("world", "me"),
            ("digest", "nocolon"),
            ("digest", "a:b:c"),
            ("nosuch", "x"),
        ]);
        let perms = self.random.pick(&[31, 31, 31, 1, 1, 2, 4, 8, 16, 0, 15, 32]);
        Acl { perms, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } }
    }

    fn create_request(&mut self, modes: &[CreateMode]) -> CreateRequest {
        let mode = self.random.pick(modes);
        let mut path = self.path();
        if mode.is_sequential() && self.random.one_in(2) {
            path = format!("{path}/s");
        }
        CreateRequest { path, data: self.data(), acl: self.acl(), mode }
    }

    fn plain_create(&mut self) -> CreateRequest {
        self.create_request(&[
            CreateMode::Persistent,
            CreateMode::Persistent,
            CreateMode::Persistent,
            CreateMode::Ephemeral,
            CreateMode::Ephemeral,
            CreateMode::PersistentSequential,
            CreateMode::EphemeralSequential,
            CreateMode::Container,
            CreateMode::PersistentWithTtl,
            CreateMode(7),
            CreateMode(-1),
        ])
    }

    fn container(&mut self) -> CreateRequest {
        self.create_request(&[
            CreateMode::Container,
            CreateMode::Container,
            CreateMode::Container,
            CreateMode::Persistent,
            CreateMode::PersistentSequential,
        ])
    }

    fn ttl(&mut self) -> CreateTtlRequest {
        let modes = [CreateMode::PersistentWithTtl, CreateMode::PersistentSequentialWithTtl];
        let mut create = self.create_request(&modes);
        let ttl_ms = match self.random.below(8) {
            0 => self.random.pick(&[0, -1, i64::MAX, 1 << 40]),
            1 => (1 << 40) - 1,
            // Not one that Apache's server dies of: another mode with a negative TTL.
            2 => {
                create.mode = self.random.pick(&[CreateMode::Persistent, CreateMode::Ephemeral]);
                5
            }
            _ => 1_000_000,
        };
        CreateTtlRequest { path: create.path, data: create.data, acl: create.acl, mode: create.mode, ttl_ms }
    }

    fn create(&mut self) -> Request {
        match self.random.weighted(&[10, 6, 2, 2]) {
            0 => Request::Create(self.plain_create()),
            1 => Request::Create2(self.plain_create()),
            2 => Request::CreateContainer(self.container()),
            _ => Request::CreateTtl(self.ttl()),
        }
    }

    fn delete(&mut self) -> DeleteRequest {
        DeleteRequest { path: self.path(), version: self.version() }
    }

    fn set_data(&mut self) -> SetDataRequest {
        SetDataRequest { path: self.path(), data: self.data(), version: self.version() }
    }

    fn check(&mut self) -> CheckVersionRequest {
        CheckVersionRequest { path: self.path(), version: self.version() }
    }

    fn set_acl(&mut self) -> Request {
        Request::SetAcl(SetAclRequest { path: self.path_below(), acl: self.acl(), version: self.version() })
    }

    fn write_op(&mut self) -> WriteOp {
        match self.random.weighted(&[8, 4, 2, 2, 4, 6, 5]) {
            0 => WriteOp::Create(self.plain_create()),
            1 => WriteOp::Create2(self.plain_create()),
            2 => WriteOp::CreateContainer(self.container()),
            3 => WriteOp::CreateTtl(self.ttl()),
            4 => WriteOp::Delete(self.delete()),
            5 => WriteOp::SetData(self.set_data()),
            _ => WriteOp::Check(self.check()),
        }
    }

    fn read_op(&mut self) -> ReadOp {
        if self.random.one_in(2) { ReadOp::GetData(self.read()) } else { ReadOp::GetChildren(self.read()) }
    }

    fn watches(&mut self) -> WatchesRequest {
        WatchesRequest { path: self.path(), kind: WatcherType(self.random.pick(&[1, 2, 3, 3, 4, 5, 0, 6])) }
    }

    fn paths(&mut self) -> Vec<String> {
        (0..self.random.below(3)).map(|_| self.path()).collect()
    }

    fn set_watches(&mut self) -> Ask {
        let steps_ago = self.random.pick(&[0, 0, 1, 5, 20, usize::MAX]);
        let (data, exist, child) = (self.paths(), self.paths(), self.paths());
        let relative_zxid = Zxid::ZERO;
        let request = if self.random.one_in(3) {
            Request::SetWatches(SetWatches { relative_zxid, data, exist, child })
        } else {
            let (persistent, persistent_recursive) = (self.paths(), self.paths());
            Request::SetWatches2(SetWatches2 {
                relative_zxid,
                data,
                exist,
                child,
                persistent,
                persistent_recursive,
            })
        };
        Ask::SetWatches { steps_ago, request }
    }

    /// A body that is cut short, or goes on behind its end, or is another operation's.
    fn raw(&mut self) -> Ask {
        let Ask::Request(request) = self.well_formed() else { unreachable!("it is one") };
        let mut body = Vec::new();
        request.encode(0, &mut body);
        let mut body = body.split_off(8);
        let op = match self.random.below(3) {
            0 => {
                body.truncate(self.random.below(body.len().max(1)));
                request.op()
            }
            1 => {
                body.extend([0, 1, 2]);
                request.op()
            }
            _ => self.random.pick(&[
                OpCode::Create,
                OpCode::SetData,
                OpCode::GetData,
                OpCode::Multi,
                OpCode::MultiRead,
                OpCode::AddWatch,
                OpCode::SetAcl,
                OpCode::RemoveWatches,
            ]),
        };
        // A null path: Apache stumbles over it later, behind the beginning of a transaction, or with a watch.
        if body.starts_with(&(-1_i32).to_bytes()) {
            body.clear();
        }
        Ask::Raw { op, body }
    }

    fn well_formed(&mut self) -> Ask {
        Ask::Request(match self.random.below(6) {
            0 => self.create(),
            1 => Request::SetData(self.set_data()),
            2 => Request::GetData(self.read()),
            3 => Request::Multi((0..self.random.below(3)).map(|_| self.write_op()).collect()),
            4 => Request::MultiRead((0..self.random.below(3)).map(|_| self.read_op()).collect()),
            _ => Request::Delete(self.delete()),
        })
    }
}
