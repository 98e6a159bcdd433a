"""check.py HOST:PORT RESTART…: what kazoo can do with a server, step by step. Ends with 1 if a step failed."""

import datetime
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid

from kazoo.client import KazooClient, KazooState
from kazoo import exceptions as errors
from kazoo.protocol.states import EventType
from kazoo.recipe.barrier import DoubleBarrier
from kazoo.recipe.cache import TreeCache, TreeEvent
from kazoo.recipe.partitioner import SetPartitioner
from kazoo.recipe.watchers import PatientChildrenWatch
from kazoo.retry import KazooRetry
from kazoo.security import make_acl, make_digest_acl

# How long anything may take before a step gives up. Nothing is measured by it.
PATIENCE = 60


def connect(server, timeout=30, **options):
    retry = KazooRetry(max_tries=-1, max_delay=1)
    client = KazooClient(server, timeout=timeout, connection_retry=retry, command_retry=retry, **options)
    client.start(timeout=PATIENCE)
    return client


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"in time: {what}"
        time.sleep(0.02)


def refuses(error, call, *arguments, **options):
    try:
        result = call(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{call.__name__}{arguments} gives {result}, not {error.__name__}")


class Heard:
    """What a watch heard."""

    def __init__(self):
        self.events, self.condition = [], threading.Condition()

    def __call__(self, event):
        if event.type != EventType.NONE:
            with self.condition:
                self.events.append((event.type, event.path))
                self.condition.notify_all()

    def next(self, *expected):
        with self.condition:
            assert self.condition.wait_for(lambda: self.events, PATIENCE), f"{expected} was not heard"
            assert self.events.pop(0) == expected


class Thread(threading.Thread):
    """A thread whose end says how its work went."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.error = work, None
        self.start()

    def run(self):
        try:
            self.work()
        except BaseException as error:
            self.error = error

    def done(self):
        self.join(PATIENCE)
        assert not self.is_alive(), "the thread ends"
        if self.error:
            raise self.error


class Checks:
    """One client, another, and a place of its own for each step."""

    def __init__(self, server, restart):
        self.server, self.restart_command = server, restart
        self.root = f"/kazoo-{uuid.uuid4()}"
        self.one, self.two = connect(server), connect(server)
        self.one.create(self.root)

    def place(self):
        name = sys._getframe(1).f_code.co_name
        return self.one.create(f"{self.root}/{name}")

    def restart(self):
        subprocess.run(self.restart_command, check=True)

    def modes(self):
        place = self.place()
        for options in ({}, {"ephemeral": True}, {"sequence": True}, {"ephemeral": True, "sequence": True}):
            path, stat = self.one.create(f"{place}/{len(options)}-", b"abc", include_data=True, **options)
            assert self.two.exists(path) == stat
            assert (stat.version, stat.cversion, stat.aversion, stat.dataLength) == (0, 0, 0, 3)
            assert stat.czxid == stat.mzxid == stat.pzxid and stat.ctime == stat.mtime
            owner = self.one.client_id[0] if options.get("ephemeral") else 0
            assert stat.ephemeralOwner == owner
            self.one.delete(path)
        assert self.one.create(f"{place}/a/b/c", makepath=True) == f"{place}/a/b/c"
        numbers = [int(self.one.create(f"{place}/s-", sequence=True)[-10:]) for _ in range(3)]
        assert numbers == [5, 6, 7], numbers
        names, stat = self.one.get_children(place, include_data=True)
        assert stat.children_count == len(names) == 4

    def errors(self):
        place = self.place()
        refuses(errors.NoNodeError, self.one.create, f"{place}/none/child")
        refuses(errors.NodeExistsError, self.one.create, place)
        ephemeral = self.one.create(f"{place}/e", ephemeral=True)
        refuses(errors.NoChildrenForEphemeralsError, self.one.create, f"{ephemeral}/child")
        refuses(errors.NotEmptyError, self.one.delete, place)
        refuses(errors.BadVersionError, self.one.set, ephemeral, b"x", version=7)
        refuses(errors.BadVersionError, self.one.delete, ephemeral, version=7)
        for call in (self.one.get, self.one.get_children, self.one.get_acls, self.one.delete):
            refuses(errors.NoNodeError, call, f"{place}/none")
        refuses(errors.InvalidACLError, self.one.create, f"{place}/acl", acl=[make_acl("nonsense", "x", all=True)])
        assert self.one.exists(f"{place}/none") is None

    def transactions(self):
        place = self.place()
        done = self.one.transaction()
        done.create(f"{place}/a", b"1")
        done.check(f"{place}/a", version=0)
        done.set_data(f"{place}/a", b"22", version=0)
        done.create(f"{place}/s-", sequence=True)
        done.delete(f"{place}/a", version=1)
        results = done.commit()
        assert (results[0], results[1], results[2].version) == (f"{place}/a", True, 1), results
        assert results[3:] == [f"{place}/s-0000000001", True], results
        fails = self.one.transaction()
        fails.create(f"{place}/b")
        fails.check(f"{place}/none", version=-1)
        fails.delete(place)
        kinds = [type(result) for result in fails.commit()]
        assert kinds == [errors.RolledBackError, errors.NoNodeError, errors.RuntimeInconsistency], kinds
        assert self.one.exists(f"{place}/b") is None

    def access(self):
        place = self.place()
        owner = connect(self.server, auth_data=[("digest", "user:secret")])
        mine = owner.create(f"{place}/mine", b"x", acl=[make_digest_acl("user", "secret", all=True)])
        for call in (self.one.get, self.one.get_children, self.one.get_acls):
            refuses(errors.NoAuthError, call, mine)
        refuses(errors.NoAuthError, self.one.set, mine, b"y")
        refuses(errors.NoAuthError, self.one.create, f"{mine}/child")
        assert owner.get(mine)[0] == b"x"
        readable = [make_digest_acl("user", "secret", all=True), make_acl("world", "anyone", read=True)]
        assert owner.set_acls(mine, readable).aversion == 1
        assert self.one.get(mine)[0] == b"x"
        refuses(errors.BadVersionError, owner.set_acls, mine, [make_acl("world", "anyone", all=True)], version=0)
        late = connect(self.server)
        refuses(errors.NoAuthError, late.set, mine, b"y")
        assert late.add_auth("digest", "user:secret")
        late.set(mine, b"y")
        late.stop()
        owner.stop()
        refuses(errors.AuthFailedError, connect(self.server).add_auth, "nonsense", "x")

    def watches(self):
        place = self.place()
        data, children = Heard(), Heard()
        self.one.exists(f"{place}/a", watch=data)
        self.one.get_children(place, watch=children)
        self.two.create(f"{place}/a")
        data.next(EventType.CREATED, f"{place}/a")
        children.next(EventType.CHILD, place)
        self.one.get(f"{place}/a", watch=data)
        self.two.set(f"{place}/a", b"x")
        data.next(EventType.CHANGED, f"{place}/a")
        self.one.get(f"{place}/a", watch=data)
        self.one.get_children(f"{place}/a", watch=children)
        self.two.delete(f"{place}/a")
        data.next(EventType.DELETED, f"{place}/a")
        children.next(EventType.DELETED, f"{place}/a")

    def unicode_and_chroot(self):
        place = self.place()
        names = ["grün", "日本語", "с пробелом"]
        for name in names:
            path = self.one.create(f"{place}/{name}", name.encode())
            assert self.two.get(path)[0] == name.encode()
        assert sorted(self.two.get_children(place)) == sorted(names)
        # Beyond the first plane Apache allows nothing.
        refuses(errors.BadArgumentsError, self.one.create, f"{place}/emoji-😀")
        inner = connect(f"{self.server}{place}/grün")
        heard = Heard()
        inner.get_children("/", watch=heard)
        assert inner.create("/a") == "/a"
        heard.next(EventType.CHILD, "/")
        assert self.one.exists(f"{place}/grün/a")
        inner.stop()

    def large(self):
        place = self.place()
        prefix = f"{place}/a-child-with-a-rather-long-name-"
        calls = [self.one.create_async(prefix, sequence=True) for _ in range(20_000)]
        for call in calls:
            call.get(timeout=PATIENCE)
        assert len(set(self.two.get_children(place))) == 20_000
        self.one.set(place, b"x" * 1_000_000)
        assert len(self.two.get(place)[0]) == 1_000_000
        sets = [self.one.set_async(place, b"%d" % number) for number in range(100)]
        assert [call.get(timeout=PATIENCE).version for call in sets] == list(range(2, 102))
        assert self.two.sync(place) == place

    def session(self):
        """Resumed by another client, expired by time, and closed by a process that is killed."""
        place = self.place()
        first = connect(self.server)
        first.create(f"{place}/kept", ephemeral=True)
        credentials = first.client_id
        second = connect(self.server, client_id=credentials)
        assert second.client_id == credentials
        # It lost its connection, and must not take the session back.
        first._session = None
        second.stop()
        first.stop()
        until("the ephemeral ends with its session", lambda: self.one.exists(f"{place}/kept") is None)
        command = [sys.executable, __file__, "hold", self.server, f"{place}/killed"]
        holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert holder.stdout.readline() == "holds\n"
        heard, states = Heard(), []
        assert self.one.exists(f"{place}/killed", watch=heard)
        holder.send_signal(signal.SIGSTOP)
        heard.next(EventType.DELETED, f"{place}/killed")
        holder.kill()
        holder.wait()
        victim = connect(self.server)
        victim.add_listener(states.append)
        thief = connect(self.server, client_id=victim.client_id)
        thief.stop()
        until("the loss is heard", lambda: KazooState.LOST in states)
        until("a new session begins", lambda: victim.state == KazooState.CONNECTED)
        victim.stop()

    def restarted(self):
        """A server that crashes and comes back: sessions, ephemerals and credentials stay, and recipes go on.

        Bare watches end with the connection: kazoo does not set them again.
        """
        place = self.place()
        client = connect(self.server, auth_data=[("digest", "user:secret")])
        mine = client.create(f"{place}/e", b"kept", ephemeral=True, acl=[make_digest_acl("user", "secret", all=True)])
        before, states, data, seen = client.exists(mine), [], [], []
        client.add_listener(states.append)
        client.DataWatch(f"{place}/soon", lambda value, stat: data.append(value))
        client.ChildrenWatch(place, seen.append)
        identity = client.client_id
        self.restart()
        until("the connection is back", lambda: states[-1:] == [KazooState.CONNECTED])
        assert KazooState.LOST not in states and client.client_id == identity, states
        assert client.exists(mine) == before and client.get(mine)[0] == b"kept"
        self.one.retry(self.one.create, f"{place}/soon", b"1")
        until("the data is heard", lambda: data[-1] == b"1")
        until("the children are heard", lambda: sorted(seen[-1]) == ["e", "soon"])
        client.stop()

    def locks(self):
        place = self.place()
        first, second = self.one.Lock(f"{place}/lock", "first"), self.two.Lock(f"{place}/lock", "second")
        assert first.acquire()
        assert not second.acquire(blocking=False)
        refuses(errors.LockTimeout, second.acquire, timeout=0.2)
        waiting = Thread(second.acquire)
        until("two stand in line", lambda: first.contenders() == ["first", "second"])
        first.release()
        waiting.done()
        second.release()
        reads = [client.ReadLock(f"{place}/rw", "r") for client in (self.one, self.two)]
        assert all(lock.acquire() for lock in reads)
        write = self.two.WriteLock(f"{place}/rw", "w")
        assert not write.acquire(blocking=False)
        for lock in reads:
            lock.release()
        assert write.acquire() and not self.one.ReadLock(f"{place}/rw").acquire(blocking=False)
        write.release()
        semaphores = [client.Semaphore(f"{place}/semaphore", str(n), max_leases=2)
                      for n, client in enumerate([self.one, self.two, self.two])]
        assert semaphores[0].acquire() and semaphores[1].acquire()
        assert not semaphores[2].acquire(blocking=False)
        semaphores[0].release()
        assert semaphores[2].acquire(timeout=PATIENCE)
        hour = datetime.timedelta(hours=1)
        assert self.one.NonBlockingLease(f"{place}/lease", hour, identifier="first")
        assert not self.two.NonBlockingLease(f"{place}/lease", hour, identifier="second")

    def elections(self):
        place = self.place()
        leaders, stays = [], threading.Event()

        def lead(name):
            leaders.append(name)
            stays.wait(PATIENCE)

        first, second = self.one.Election(place, "first"), self.two.Election(place, "second")
        threads = [Thread(lambda: first.run(lead, "first"))]
        until("the first leads", lambda: leaders == ["first"])
        threads.append(Thread(lambda: second.run(lead, "second")))
        until("both are candidates", lambda: first.contenders() == ["first", "second"])
        stays.set()
        for thread in threads:
            thread.done()
        assert leaders == ["first", "second"]

    def barriers(self):
        place = self.place()
        barrier = self.one.Barrier(f"{place}/barrier")
        barrier.create()
        assert not self.two.Barrier(f"{place}/barrier").wait(0.2)
        waiting = Thread(lambda: self.two.Barrier(f"{place}/barrier").wait(PATIENCE) or 1 / 0)
        barrier.remove()
        waiting.done()

        def both(client):
            double = DoubleBarrier(client, f"{place}/double", 2)
            double.enter()
            assert double.participating
            double.leave()

        for thread in [Thread(lambda: both(self.one)), Thread(lambda: both(self.two))]:
            thread.done()

    def groups(self):
        place = self.place()
        parties = [client.Party(f"{place}/party", name) for client, name in ((self.one, "a"), (self.two, "b"))]
        for party in parties:
            party.join()
        until("both are there", lambda: sorted(parties[0]) == ["a", "b"])
        parties[0].leave()
        until("one is there", lambda: list(parties[1]) == ["b"])
        shallow = self.one.ShallowParty(f"{place}/shallow", "c")
        shallow.join()
        assert list(self.two.ShallowParty(f"{place}/shallow")) == ["c"]
        shallow.leave()
        parts = [SetPartitioner(client, f"{place}/parts", tuple(range(6)), identifier=name, time_boundary=0.5)
                 for client, name in ((self.one, "a"), (self.two, "b"))]

        def shared():
            for part in parts:
                if part.release:
                    part.release_set()
            return all(part.acquired for part in parts) and [len(list(part)) for part in parts] == [3, 3]

        until("each has half", shared)
        assert sorted([*parts[0], *parts[1]]) == list(range(6))
        for part in parts:
            part.finish()

    def queues(self):
        place = self.place()
        queue, other = self.one.Queue(f"{place}/queue"), self.two.Queue(f"{place}/queue")
        queue.put(b"later", priority=200)
        queue.put(b"first", priority=10)
        queue.put(b"second", priority=10)
        assert [other.get(), queue.get(), other.get(), other.get()] == [b"first", b"second", b"later", None]
        queue, other = self.one.LockingQueue(f"{place}/locking"), self.two.LockingQueue(f"{place}/locking")
        queue.put_all([b"1", b"2"])
        assert queue.get(PATIENCE) == b"1" and other.get(PATIENCE) == b"2"
        assert queue.consume() and other.consume()
        counters = [client.Counter(f"{place}/counter") for client in (self.one, self.two)]

        def count(counter):
            for _ in range(25):
                counter += 1

        for thread in [Thread(lambda: count(counters[0])), Thread(lambda: count(counters[1]))]:
            thread.done()
        assert counters[0].value == 50

    def watchers(self):
        place = self.place()
        data, children, tree = [], [], []
        self.one.DataWatch(f"{place}/node", lambda value, stat: data.append(value))
        self.one.ChildrenWatch(place, lambda names: children.append(sorted(names)))
        cache = TreeCache(self.one, place)
        cache.listen(lambda event: tree.append((event.event_type, getattr(event.event_data, "path", None))))
        cache.start()
        until("the cache has begun", lambda: (TreeEvent.INITIALIZED, None) in tree)
        self.two.create(f"{place}/node", b"1")
        until("the data is heard", lambda: data == [None, b"1"])
        self.two.set(f"{place}/node", b"2")
        until("the change is heard", lambda: data == [None, b"1", b"2"])
        self.two.create(f"{place}/node/deep")
        until("the cache has it", lambda: cache.get_children(f"{place}/node") == frozenset({"deep"}))
        self.two.delete(f"{place}/node", recursive=True)
        until("the end is heard", lambda: data[-1] is None and children[-1] == [])
        until("the cache hears it", lambda: (TreeEvent.NODE_REMOVED, f"{place}/node/deep") in tree)
        cache.close()
        patient = PatientChildrenWatch(self.one, place, time_boundary=0.2).start()
        names, changed = patient.get(timeout=PATIENCE)
        assert names == []
        self.two.create(f"{place}/more")
        changed.get(timeout=PATIENCE)

    def commands(self):
        assert self.one.server_version()[:2] == (3, 9)
        assert self.one.command(b"ruok") == "imok"
        assert "zk_znode_count" in self.one.command(b"mntr")


def hold(server, path):
    """Holds an ephemeral until it is killed."""
    connect(server, timeout=2).create(path, ephemeral=True)
    print("holds", flush=True)
    time.sleep(3600)


def main(server, *restart):
    checks, failed = Checks(server, list(restart)), []
    steps = [name for name, member in vars(Checks).items()
             if callable(member) and name not in ("__init__", "place", "restart")]
    for name in steps:
        try:
            getattr(checks, name)()
            print(f"ok {name}", flush=True)
        except BaseException:
            failed.append(name)
            print(f"FAILED {name}")
            traceback.print_exc(file=sys.stdout)
    print(f"kazoo: {len(steps) - len(failed)} steps passed, {len(failed)} failed", flush=True)
    # Threads of clients that a failed step left behind do not hold the end up.
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    # What kazoo says of each lost connection.
    logging.disable(logging.ERROR)
    hold(*sys.argv[2:]) if sys.argv[1] == "hold" else main(*sys.argv[1:])
