"""A bridge beside others in a registry: while pods register themselves, when it is killed, and when it is uninstalled.

leftovers.py PORT

PORT is that of a ZooKeeper server, ours or Apache's. ZOOBRIDGE and PLANE are the programs.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import urllib.request

from cluster import Processes, eventually
from formats import PODS, Plane
from kazoo.client import KazooClient

CURATOR = "/services/orders"
DUBBO = "/dubbo/com.acme.OrderService/providers"
MAPPING = "/dubbo/mapping/com.acme.OrderService"
ANNOTATIONS = {
    "curator": "",
    "curator-port": "http",
    "dubbo": "com.acme.OrderService",
    "dubbo-port": "dubbo",
    "dubbo3": "com.acme.OrderService",
    "dubbo3-application": "orders-application",
    "dubbo3-port": "dubbo",
}
CONFIGURATION = """
cluster: leftovers
zookeeper: {{connect: "127.0.0.1:{port}", sessionTimeout: 4s}}
http: {{address: "127.0.0.1:0"}}
rules:
  - {{formats: [curator, dubbo, dubbo3], names: ['*'], shared: true}}
"""


class Scenario:
    def __init__(self, port, directory):
        self.server = f"127.0.0.1:{port}"
        self.processes = Processes(directory)
        self.plane = Plane(directory, self.processes)
        self.configuration = directory / "zoobridge.yaml"
        self.configuration.write_text(CONFIGURATION.format(port=port))
        self.environment = {**os.environ, "KUBECONFIG": str(self.plane.kubeconfig), "ZOOBRIDGE_CONFIG": str(self.configuration)}
        self.eye = KazooClient(self.server)
        self.eye.start()

    def tree(self):
        """What is there: who made each znode, by its transaction, and what it says."""
        found, due = {}, [f"/{name}" for name in self.eye.get_children("/") if name != "zookeeper"]
        while due:
            path = due.pop()
            data, stat = self.eye.get(path)
            found[path] = (stat.czxid, data)
            due += [f"{path}/{name}" for name in self.eye.get_children(path)]
        return found

    def pod(self):
        """A pod that registers itself; its session is its life."""
        pod = KazooClient(self.server, timeout=4)
        pod.start()
        instance = {"name": "orders", "id": "by-itself", "address": PODS[0], "port": 8080}
        pod.create(f"{CURATOR}/by-itself", json.dumps(instance).encode(), ephemeral=True)
        url = f"dubbo%3A%2F%2F{PODS[0]}%3A20880%2Fcom.acme.OrderService%3Finterface%3Dcom.acme.OrderService%26pid%3D7"
        pod.create(f"{DUBBO}/{url}", b"", ephemeral=True)
        return pod

    def bridge(self):
        self.processes.start("bridge", os.environ["ZOOBRIDGE"], "run", env=self.environment)

    def command(self, *words):
        command = [os.environ["ZOOBRIDGE"], *words, "--output", "json"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return done.returncode, done.stdout or done.stderr

    def done(self, *words):
        code, text = self.command(*words)
        assert code == 0, f"{words}: {code} {text}"
        return json.loads(text)

    def until(self, what, expected):
        eventually(f"{what}: {expected}", lambda: set(self.eye.get_children(CURATOR)) == set(expected))
        eventually(f"{what}: as many providers", lambda: len(self.eye.get_children(DUBBO)) == len(expected))
        print(f"  {what}: {', '.join(sorted(expected))}", flush=True)

    def steps(self):
        for directory in (CURATOR, DUBBO, "/dubbo/mapping"):
            self.eye.ensure_path(directory)
        self.eye.create(MAPPING, b"legacy")
        before = self.tree()
        self.plane.service(ANNOTATIONS)
        self.plane.ready(PODS[:2])
        by_itself, ours = "by-itself", [f"{pod}:8080" for pod in PODS[:2]]

        pod = self.pod()
        self.bridge()
        self.until("a pod registers itself", [by_itself, ours[1]])
        assert self.done("status")["selfRegistered"] == 2
        pod.stop()
        self.until("it does not any more", ours)
        pod = self.pod()
        self.until("and again", [by_itself, ours[1]])
        causes = [write["cause"] for entry in self.done("history", "default/orders") for write in entry["writes"]]
        assert causes.count("registers-itself") == 2, causes
        pod.stop()
        self.until("and is taken over", ours)
        assert self.done("diff")["writes"] == []

        self.processes.end("bridge", signal.SIGKILL)
        code, text = self.command("gc", "--yes")
        assert code == 1 and "which lives" in text, f"{code} {text}"
        eventually("its sessions expire", lambda: self.command("gc", "--owner", "leftovers", "--yes")[0] == 0)
        assert self.tree() == before, "gc leaves what others made, as it was"
        print(f"  gc left {len(before)} znodes of others", flush=True)

        self.bridge()
        self.until("the next bridge publishes", ours)
        assert self.command("uninstall", "--yes")[0] == 1, "it leads"
        assert self.processes.end("bridge", signal.SIGTERM) == 0
        removed = self.done("uninstall", "--yes")
        assert removed["sessions"] and removed["items"] == [{"item": "orders-application", "of": MAPPING}], removed
        assert self.tree() == before, "uninstall leaves what others made, as it was"
        for kind in ("api/v1/secrets", "apis/coordination.k8s.io/v1/leases"):
            with urllib.request.urlopen(f"{self.plane.url}/{kind}", timeout=10) as answer:
                assert json.load(answer)["items"] == [], kind
        print(f"  uninstall left {len(before)} znodes of others", flush=True)


def main():
    with tempfile.TemporaryDirectory() as directory:
        scenario = Scenario(sys.argv[1], pathlib.Path(directory))
        try:
            scenario.steps()
        except BaseException:
            for name in ("plane", "bridge"):
                print(f"--- {name}", scenario.processes.log(name)[-3000:], sep="\n")
            raise
        finally:
            scenario.eye.stop()
            scenario.processes.end_all()


if __name__ == "__main__":
    main()
