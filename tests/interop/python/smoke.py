"""What kazoo can do with a ZooKeeper: smoke.py HOST:PORT. The same against ours and against Apache's."""

import sys
import threading
import uuid

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoNodeError, NodeExistsError, NotEmptyError, RolledBackError
from kazoo.protocol.states import EventType
from kazoo.security import make_digest_acl

WAIT = 10


def connect(server, **options):
    client = KazooClient(server, timeout=10, **options)
    client.start(timeout=WAIT)
    return client


def refuses(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error:
        return
    raise AssertionError(f"{call.__name__}{arguments} does not raise {error.__name__}")


def nodes(client, root):
    path, stat = client.create(f"{root}/a", b"1", include_data=True)
    assert (path, stat.version, stat.dataLength) == (f"{root}/a", 0, 1)
    refuses(NodeExistsError, client.create, path)
    refuses(NoNodeError, client.create, f"{root}/x/y")
    assert client.set(path, b"22", version=0).version == 1
    refuses(BadVersionError, client.set, path, b"3", version=0)
    data, stat = client.get(path)
    assert (data, stat.version) == (b"22", 1)
    client.create(f"{path}/child")
    refuses(NotEmptyError, client.delete, path)
    assert client.get_children(path) == ["child"]
    names = [client.create(f"{root}/s-", sequence=True) for _ in range(3)]
    numbers = [int(name[-10:]) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + 3)), names
    client.delete(path, recursive=True)
    assert client.exists(path) is None


def ephemerals(client, server, root):
    other = connect(server)
    other.create(f"{root}/e", b"", ephemeral=True)
    sequential = other.create(f"{root}/es-", ephemeral=True, sequence=True)
    assert client.exists(f"{root}/e").ephemeralOwner == other.client_id[0]
    assert client.exists(sequential)
    gone = threading.Event()
    client.exists(f"{root}/e", watch=lambda event: event.type == EventType.DELETED and gone.set())
    other.stop()
    assert gone.wait(WAIT)
    client.sync("/")
    assert client.exists(sequential) is None


def resume(client, server, root):
    first = connect(server)
    first.create(f"{root}/kept", ephemeral=True)
    credentials = first.client_id
    owner = client.exists(f"{root}/kept").ephemeralOwner
    second = connect(server, client_id=credentials)
    assert second.client_id == credentials
    assert client.exists(f"{root}/kept").ephemeralOwner == owner
    # The first lost its connection; it must not end the session when it is thrown away.
    first._session = None
    second.delete(f"{root}/kept")
    second.stop()
    first.stop()


def watches(client, server, root):
    other = connect(server)
    seen, fired = [], threading.Event()

    def watch(event):
        seen.append((event.type, event.path))
        fired.set()

    client.create(f"{root}/w")
    client.get(f"{root}/w", watch=watch)
    client.get_children(root, watch=watch)
    other.set(f"{root}/w", b"x")
    assert fired.wait(WAIT)
    fired.clear()
    other.create(f"{root}/w2")
    assert fired.wait(WAIT)
    assert seen == [(EventType.CHANGED, f"{root}/w"), (EventType.CHILD, root)], seen
    other.stop()


def transactions(client, root):
    done = client.transaction()
    done.create(f"{root}/t1", b"1")
    done.create(f"{root}/t2", b"2")
    done.check(f"{root}/t1", version=0)
    done.set_data(f"{root}/t1", b"x")
    done.delete(f"{root}/t2")
    results = done.commit()
    assert results[0] == f"{root}/t1" and not any(isinstance(result, Exception) for result in results), results
    failing = client.transaction()
    failing.create(f"{root}/t3")
    failing.check(f"{root}/t1", version=7)
    results = failing.commit()
    assert isinstance(results[0], RolledBackError) and isinstance(results[1], BadVersionError), results
    assert client.exists(f"{root}/t3") is None


def access(client, server, root):
    owner = connect(server, auth_data=[("digest", "user:secret")])
    owner.create(f"{root}/mine", b"x", acl=[make_digest_acl("user", "secret", all=True)])
    assert owner.get(f"{root}/mine")[0] == b"x"
    try:
        client.get(f"{root}/mine")
        raise AssertionError("a stranger may read")
    except Exception as error:
        assert type(error).__name__ == "NoAuthError", error
    owner.delete(f"{root}/mine")
    owner.stop()


def recipes(client, root):
    with client.Lock(f"{root}/lock", "me"):
        assert client.Lock(f"{root}/lock").contenders() == ["me"]
    queue = client.Queue(f"{root}/queue")
    for item in (b"1", b"2"):
        queue.put(item)
    assert [queue.get(), queue.get()] == [b"1", b"2"]
    counter = client.Counter(f"{root}/counter")
    counter += 5
    assert counter.value == 5


def main(server):
    client = connect(server)
    root = f"/smoke-{uuid.uuid4()}"
    client.create(root)
    nodes(client, root)
    ephemerals(client, server, root)
    resume(client, server, root)
    watches(client, server, root)
    transactions(client, root)
    access(client, server, root)
    recipes(client, root)
    client.delete(root, recursive=True)
    client.stop()
    print(f"kazoo against {server}: all well")


if __name__ == "__main__":
    main(sys.argv[1])
