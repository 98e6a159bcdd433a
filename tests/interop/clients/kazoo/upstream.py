"""upstream.py HOST:PORT RESTART…: the tests that kazoo brings along, against a server that is there.

Their harness starts an ensemble of Apache's servers; here it finds one server instead. Left out are the tests that
want TLS, SASL, several servers or a handler of another library; `LEFT_OUT` names them.
"""

import os
import subprocess
import sys

import pytest
from kazoo.testing import harness

LEFT_OUT = [
    "test_sasl", "test_gevent_handler", "test_eventlet_handler", "test_build", "TestSSLClient",
    # They want an ensemble.
    "TestReconfig", "test_read_only", "test_update_host_list",
]


class Server:
    """Stands for one of the harness's managed servers."""

    secure_address = None
    running = True

    def __init__(self, address, command):
        self.address = address
        self.program, _, self.directory = command

    def stop(self):
        subprocess.run([self.program, "stop", self.directory], check=True)

    def run(self):
        subprocess.run([self.program, "again", self.directory], check=True)

    def get_logs(self, num_lines=100):
        return []


class Cluster(list):
    def start(self):
        pass

    stop = terminate = reset = start


def main(address, *restart):
    os.environ.update(ZOOKEEPER_VERSION="3.9.3", ZOOKEEPER_PATH="/nonexistent")
    harness.get_global_cluster = lambda: Cluster([Server(address, restart)])
    sys.exit(pytest.main([
        "--pyargs", "kazoo.tests", "-q", "-p", "no:cacheprovider", "--disable-warnings", "--tb=short",
        "--show-capture=no", "-rf", "-k", f"not ({' or '.join(LEFT_OUT)})"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
