"""check.py HOST:PORT RESTART…: two PostgreSQL servers that Patroni keeps one primary of, on ZooKeeper.

A primary is elected and replicated from, the ZooKeeper server crashes and comes back without a failover, and when the
primary is killed the other takes over with all that was written.
"""

import glob
import json
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import psycopg

# How long anything may take before the check gives up. Nothing is measured by it.
PATIENCE = 180
# PostgreSQL does not run as root.
USER = "postgres"


def ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    return [each.getsockname()[1] for each in sockets]


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not (found := holds()):
        assert time.monotonic() < end, f"in time: {what}"
        time.sleep(0.2)
    return found


class Node:
    """One PostgreSQL with its Patroni."""

    def __init__(self, name, directory, scope, zookeeper):
        self.name, self.directory = name, directory / name
        self.port, self.api = ports(2)
        self.directory.mkdir()
        self.process = None
        users = {"superuser": {"username": "postgres", "password": "super"},
                 "replication": {"username": "replicator", "password": "replica"}}
        config = {
            "scope": scope, "name": name,
            "restapi": {"listen": f"127.0.0.1:{self.api}", "connect_address": f"127.0.0.1:{self.api}"},
            "zookeeper": {"hosts": [zookeeper]},
            "bootstrap": {
                "dcs": {"ttl": 40, "loop_wait": 2, "retry_timeout": 18, "maximum_lag_on_failover": 1 << 20,
                        "postgresql": {"use_pg_rewind": True}},
                "initdb": ["data-checksums", {"encoding": "UTF8"}],
            },
            "postgresql": {
                "listen": f"127.0.0.1:{self.port}", "connect_address": f"127.0.0.1:{self.port}",
                "data_dir": str(self.directory / "data"), "pgpass": str(self.directory / "pgpass"),
                "bin_dir": sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1],
                "parameters": {"unix_socket_directories": str(self.directory), "fsync": False},
                "pg_hba": ["host all all 127.0.0.1/32 md5", "host replication replicator 127.0.0.1/32 md5"],
                "authentication": users,
            },
        }
        # YAML contains JSON.
        (self.directory / "patroni.yml").write_text(json.dumps(config))
        subprocess.run(["chown", "-R", USER, self.directory], check=True)

    def start(self):
        patroni = pathlib.Path(sys.executable).parent / "patroni"
        user = pwd.getpwnam(USER)
        with open(self.directory / "log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [patroni, self.directory / "patroni.yml"], stdout=log, stderr=log, start_new_session=True,
                cwd=self.directory, user=user.pw_uid, group=user.pw_gid, extra_groups=[],
                env={**os.environ, "HOME": str(self.directory)})

    def kill(self):
        """Patroni first, then what it would keep alive."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        self.process = None
        try:
            postmaster = int((self.directory / "data/postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)
            until("PostgreSQL ends", lambda: not os.path.exists(f"/proc/{postmaster}"))
        except (FileNotFoundError, ProcessLookupError):
            pass

    def ask(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/{path}", timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError):
            return None

    def is_primary(self):
        return self.process is not None and self.ask("primary") is not None

    def is_replica(self):
        return self.process is not None and self.ask("replica") is not None

    def sql(self, statement):
        address = f"host=127.0.0.1 port={self.port} user=postgres password=super dbname=postgres"
        with psycopg.connect(address, connect_timeout=10, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def numbers(self):
        try:
            return [row[0] for row in self.sql("SELECT n FROM numbers ORDER BY n")]
        except psycopg.Error:
            return None


def the_primary(nodes):
    primaries = [node for node in nodes if node.is_primary()]
    return primaries[0] if len(primaries) == 1 else None


def story(nodes, restart):
    for node in nodes:
        node.start()
    primary = until("there is a primary", lambda: the_primary(nodes))
    other = next(node for node in nodes if node is not primary)
    until("there is a replica", other.is_replica)
    primary.sql("CREATE TABLE numbers (n integer)")
    primary.sql("INSERT INTO numbers SELECT generate_series(1, 100)")
    until("the replica has the rows", lambda: other.numbers() == list(range(1, 101)))
    print(f"ok {primary.name} is the primary, and {other.name} has its rows", flush=True)

    timeline = primary.ask("patroni")["timeline"]
    subprocess.run(restart, check=True)
    # Longer than Patroni waits: whoever could not renew would have stepped down by now.
    end = time.monotonic() + 45
    while time.monotonic() < end:
        primary.sql("INSERT INTO numbers SELECT max(n) + 1 FROM numbers")
        time.sleep(0.5)
    assert the_primary(nodes) is primary and primary.ask("patroni")["timeline"] == timeline
    written = primary.numbers()
    until("the replica has these rows too", lambda: other.numbers() == written)
    print(f"ok the ZooKeeper server came back, {primary.name} stayed the primary and took writes", flush=True)

    primary.kill()
    until("the replica is promoted", lambda: the_primary(nodes) is other)
    assert other.numbers() == written
    other.sql("INSERT INTO numbers SELECT max(n) + 1 FROM numbers")
    primary.start()
    until("the killed one comes back as a replica", primary.is_replica)
    until("it has all rows", lambda: primary.numbers() == [*written, written[-1] + 1])
    print(f"ok {primary.name} was killed, {other.name} took over, and nothing is lost", flush=True)


def main(server, *restart):
    directory = pathlib.Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    scope = f"check-{os.getpid()}-{time.time_ns()}"
    nodes = [Node(name, directory, scope, server) for name in ("a", "b")]
    try:
        story(nodes, restart)
    except BaseException:
        for node in nodes:
            log = node.directory / "log"
            print(f"--- log of {node.name}", *log.read_text().splitlines()[-30:] if log.exists() else [], sep="\n")
        raise
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(directory)
    print(f"Patroni against {server}: all well")


if __name__ == "__main__":
    main(*sys.argv[1:])
