//! The numbers of the protocol: operations, errors, events. Unknown ones survive as numbers.

use std::fmt;

/// Declares a table of name, number, sentence over an `i32`.
macro_rules! codes {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $name:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(pub i32);

        #[allow(non_upper_case_globals)]
        impl $type {
            $($(#[$doc])* pub const $name: $type = $type($number);)*

            /// The name in the table; `None` for a number that is not there.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{name} ({})", self.0),
                    None => write!(f, "unknown ({})", self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl $crate::jute::Jute for $type {
            fn read(reader: &mut $crate::jute::Reader<'_>) -> Result<Self, $crate::jute::DecodeError> {
                <i32 as $crate::jute::Jute>::read(reader).map($type)
            }

            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }
        }
    };
}

codes! {
    /// What a request asks for, and what a transaction did (`ZooDefs.OpCode`).
    OpCode {
        /// A watch event; only with xid -1.
        Notification = 0,
        /// Create a znode, answer its path.
        Create = 1,
        /// Delete a znode.
        Delete = 2,
        /// Stat of a znode, or that there is none.
        Exists = 3,
        /// Data and stat.
        GetData = 4,
        /// Replace the data.
        SetData = 5,
        /// ACL and stat.
        GetAcl = 6,
        /// Replace the ACL.
        SetAcl = 7,
        /// Names of the children.
        GetChildren = 8,
        /// Wait for what the leader has committed.
        Sync = 9,
        /// Keep the session alive.
        Ping = 11,
        /// Names of the children, and stat.
        GetChildren2 = 12,
        /// Compare a version; only inside multi.
        Check = 13,
        /// Several writes, all or none.
        Multi = 14,
        /// Create a znode, answer path and stat.
        Create2 = 15,
        /// Change the ensemble's membership.
        Reconfig = 16,
        /// Is there such a watch?
        CheckWatches = 17,
        /// Remove watches.
        RemoveWatches = 18,
        /// Create a container.
        CreateContainer = 19,
        /// The reaper's delete of an empty container or an old TTL node.
        DeleteContainer = 20,
        /// Create a znode that ages.
        CreateTtl = 21,
        /// Several reads in one request.
        MultiRead = 22,
        /// Add an identity to the connection.
        Auth = 100,
        /// Re-register one-shot watches after a reconnect.
        SetWatches = 101,
        /// One SASL token.
        Sasl = 102,
        /// This session's ephemerals below a prefix.
        GetEphemerals = 103,
        /// How many descendants a znode has.
        GetAllChildrenNumber = 104,
        /// Re-register watches of every kind.
        SetWatches2 = 105,
        /// Add a persistent watch.
        AddWatch = 106,
        /// The connection's identities.
        WhoAmI = 107,
        /// Internal: a session begins.
        CreateSession = -10,
        /// End the session.
        CloseSession = -11,
        /// Transaction only: a write that failed.
        Error = -1,
    }
}

codes! {
    /// Outcome of a request (`KeeperException.Code`).
    ErrorCode {
        /// Success.
        Ok = 0,
        /// The server failed in a way it has no name for.
        SystemError = -1,
        /// Inside a multi: an op behind the one that failed.
        RuntimeInconsistency = -2,
        /// Inconsistent data.
        DataInconsistency = -3,
        /// The connection was lost; the outcome is unknown.
        ConnectionLoss = -4,
        /// The request cannot be decoded.
        MarshallingError = -5,
        /// The server has no such operation.
        Unimplemented = -6,
        /// Time ran out.
        OperationTimeout = -7,
        /// A path, flag or argument makes no sense.
        BadArguments = -8,
        /// Internal: no such session.
        UnknownSession = -12,
        /// A new configuration lacks a quorum.
        NewConfigNoQuorum = -13,
        /// Another reconfiguration is under way.
        ReconfigInProgress = -14,
        /// No such znode.
        NoNode = -101,
        /// The ACL does not grant it.
        NoAuth = -102,
        /// The version is another.
        BadVersion = -103,
        /// Ephemerals have no children.
        NoChildrenForEphemerals = -108,
        /// The znode exists.
        NodeExists = -110,
        /// The znode has children.
        NotEmpty = -111,
        /// The session has ended.
        SessionExpired = -112,
        /// The callback is invalid.
        InvalidCallback = -113,
        /// The ACL is invalid.
        InvalidAcl = -114,
        /// Authentication failed.
        AuthFailed = -115,
        /// The session has moved to another connection.
        SessionMoved = -118,
        /// A read-only server takes no writes.
        NotReadOnly = -119,
        /// A local session cannot own ephemerals.
        EphemeralOnLocalSession = -120,
        /// There is no such watch.
        NoWatcher = -121,
        /// The request timed out at the client.
        RequestTimeout = -122,
        /// Reconfiguration is switched off.
        ReconfigDisabled = -123,
        /// SASL authentication is required.
        SessionClosedRequireSaslAuth = -124,
        /// A hard quota would be exceeded.
        QuotaExceeded = -125,
        /// The server is overloaded.
        Throttled = -127,
    }
}

codes! {
    /// What happened to a watched znode (`Watcher.Event.EventType`).
    EventType {
        /// Nothing happened to a znode; the session's state changed.
        None = -1,
        /// It was created.
        NodeCreated = 1,
        /// It was deleted.
        NodeDeleted = 2,
        /// Its data was set.
        NodeDataChanged = 3,
        /// Its list of children changed.
        NodeChildrenChanged = 4,
    }
}

codes! {
    /// The session's state that comes with an event (`Watcher.Event.KeeperState`).
    KeeperState {
        /// Not connected.
        Disconnected = 0,
        /// Connected.
        SyncConnected = 3,
        /// Authentication failed.
        AuthFailed = 4,
        /// The session has ended.
        Expired = -112,
    }
}

codes! {
    /// How a watch added by `addWatch` behaves (`AddWatchMode`).
    AddWatchMode {
        /// Fires for the znode until removed.
        Persistent = 0,
        /// Fires for the znode and its descendants until removed.
        PersistentRecursive = 1,
    }
}

codes! {
    /// Which watches `removeWatches` and `checkWatches` mean (`Watcher.WatcherType`).
    WatcherType {
        /// One-shot watches of the children.
        Children = 1,
        /// One-shot watches of the data.
        Data = 2,
        /// Every watch on the path.
        Any = 3,
        /// Persistent watches.
        Persistent = 4,
        /// Persistent recursive watches.
        PersistentRecursive = 5,
    }
}

codes! {
    /// The flags of a create (`CreateMode`).
    CreateMode {
        /// Stays until deleted.
        Persistent = 0,
        /// Goes with its session.
        Ephemeral = 1,
        /// Stays; its name gets the parent's counter.
        PersistentSequential = 2,
        /// Goes with its session; its name gets the parent's counter.
        EphemeralSequential = 3,
        /// Goes when it has become empty.
        Container = 4,
        /// Goes when empty and not set for its TTL.
        PersistentWithTtl = 5,
        /// The same with the parent's counter.
        PersistentSequentialWithTtl = 6,
    }
}

impl CreateMode {
    /// Does the name get the parent's counter?
    #[must_use]
    pub fn is_sequential(self) -> bool {
        matches!(
            self,
            CreateMode::PersistentSequential
                | CreateMode::EphemeralSequential
                | CreateMode::PersistentSequentialWithTtl
        )
    }

    /// Does the znode age?
    #[must_use]
    pub fn has_ttl(self) -> bool {
        matches!(self, CreateMode::PersistentWithTtl | CreateMode::PersistentSequentialWithTtl)
    }

    /// Does the znode go with its session?
    #[must_use]
    pub fn is_ephemeral(self) -> bool {
        matches!(self, CreateMode::Ephemeral | CreateMode::EphemeralSequential)
    }
}
