"""Creates COUNT znodes as fast as kazoo can, and writes down which ones were acknowledged.

acked_creates.py create HOST:PORT COUNT FILE    ends when the connection is lost or COUNT are acknowledged
acked_creates.py verify HOST:PORT FILE          fails if one of them is not there, with its data
"""

import itertools
import os
import sys
import threading

from kazoo.client import KazooClient
from kazoo.protocol.states import KazooState

WINDOW = 1000


def create(server, count, file):
    client = KazooClient(server, timeout=10)
    client.start(timeout=10)
    client.ensure_path("/acked")
    lost = threading.Event()
    client.add_listener(lambda state: state != KazooState.CONNECTED and lost.set())
    room = threading.Semaphore(WINDOW)
    lock = threading.Lock()
    acked = 0
    with open(file, "w") as out:

        def done(result, path):
            nonlocal acked
            if result.successful():
                with lock:
                    out.write(path + "\n")
                    out.flush()
                    acked += 1
                    if acked == count:
                        print(f"{acked} acknowledged", flush=True)
            room.release()

        def send():
            # Goes on beyond COUNT: the server is killed while requests are under way.
            for number in itertools.count():
                room.acquire()
                path = f"/acked/n{number:07}"
                client.create_async(path, path.encode()).rawlink(lambda result, path=path: done(result, path))

        # kazoo blocks for ever in a request without a connection; nobody waits for this thread.
        threading.Thread(target=send, daemon=True).start()
        lost.wait()
        with lock:
            print(f"{acked} acknowledged before the connection was lost", flush=True)
            out.flush()
            os._exit(0 if acked >= count else 1)


def verify(server, file):
    client = KazooClient(server, timeout=10)
    client.start(timeout=10)
    acked = [line.strip() for line in open(file)]
    there = set(client.get_children("/acked"))
    missing = [path for path in acked if path.rsplit("/", 1)[1] not in there]
    reads = [(path, client.get_async(path)) for path in acked if path not in missing]
    wrong = [path for path, read in reads if read.get()[0] != path.encode()]
    print(f"{len(acked)} acknowledged, {len(there)} there, {len(missing)} lost, {len(wrong)} wrong")
    client.stop()
    return 1 if missing or wrong else 0


if __name__ == "__main__":
    if sys.argv[1] == "create":
        create(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        sys.exit(verify(sys.argv[2], sys.argv[3]))
