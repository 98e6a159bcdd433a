"""Two ensembles, of which one goes away, on a real control plane (KUBECONFIG).

ensembles.py --zoobridge BINARY

Two replicas of the bridge run under the ServiceAccount of deploy/kustomize/bridge with the component ensembles, before
two servers. A Deployment is published in both. The second server is killed with -9 and stays away until its bridge has
begun anew, while the Deployment is scaled: the first one's consumers must see each change, and nothing of the second
one may be lost when it is back. Then the leader is killed, and whoever follows resumes both.
"""

import argparse
import signal
import socket

from cluster import ROOT, Cluster, eventually, ready_set, run
from forward import CURATOR, by_kazoo
from kazoo.client import KazooClient
from kazoo.exceptions import KazooException


def sees(client, ready):
    try:
        return by_kazoo(client, CURATOR) == ready
    except KazooException:
        return False  # It is not connected again yet.


class Ensembles(Cluster):
    components = ("deploy/kustomize/ensembles",)

    def __init__(self, arguments, directory):
        super().__init__(arguments.zoobridge, "ensembles", directory)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.legacy_port = free.getsockname()[1]
        legacy = f"127.0.0.1:{self.legacy_port}"
        with self.config.open("a") as config:
            config.write(
                f"  - {{namespaces: ['{self.namespace}'], formats: [curator], names: ['*'], ensembles: [legacy]}}\n"
                f"ensembles:\n"
                f"  - name: legacy\n"
                f"    zookeeper: {{connect: '{legacy}', sessionTimeout: 10s}}\n"
                f"    sessions: {{namespace: {self.namespace}}}\n"
            )
        self.legacy_kazoo = KazooClient(legacy, timeout=10)

    def start_legacy(self):
        settings = (
            f"dataDir={self.directory / 'legacy'}", f"clientPort={self.legacy_port}", "clientPortAddress=127.0.0.1",
            "tickTime=1000",
        )
        self.processes.start("legacy", self.zoobridge, "server", *(w for s in settings for w in ("--set", s)))

    def start(self):
        self.start_server()
        self.start_legacy()
        self.kazoo = KazooClient(self.server, timeout=10)
        self.kazoo.start(timeout=30)
        self.legacy_kazoo.start(timeout=30)
        self.kubectl("apply", "-f", str(ROOT / "config/demo/orders.yaml"))
        self.grant()
        self.start_bridge()
        self.start_bridge()

    def settled(self, step, count, clients):
        def ready_now():
            now = ready_set(self.namespace, "orders", "http")
            return now if len(now) == count else None

        ready = eventually(f"{step}: {count} ready", ready_now)
        for name, client in clients.items():
            eventually(f"{step}: {sorted(ready)} in {name}", lambda: sees(client, ready))
        print(f"  {step}: {count} ready, seen in {' and '.join(clients)}", flush=True)

    def znodes(self, client):
        return {name: client.exists(f"{CURATOR}/{name}") for name in client.get_children(CURATOR)}

    def unchanged(self, what, before, client):
        after = self.znodes(client)
        changed = [name for name, stat in before.items() if name in after and after[name] != stat]
        assert not changed, f"{what}: {changed} changed"

    def steps(self):
        first = {"the first": self.kazoo}
        both = {**first, "the second": self.legacy_kazoo}
        self.settled("created", 3, both)
        leader = eventually("one leads", self.leader)
        before = [self.znodes(client) for client in both.values()]
        self.processes.end("legacy", signal.SIGKILL)
        self.kubectl("scale", "deployment/orders", "--replicas=5")
        self.settled("the second is away, scaled to 5", 5, first)
        eventually("its bridge begins anew", lambda: "is started again" in self.processes.log(leader))
        self.kubectl("scale", "deployment/orders", "--replicas=4")
        self.settled("its bridge has begun anew, scaled to 4", 4, first)
        assert self.processes.running[leader].poll() is None, "the leader has ended"
        self.start_legacy()
        self.settled("the second is back", 4, both)
        for step, stats, client in zip(("first", "second"), before, both.values()):
            self.unchanged(f"the {step} ensemble", stats, client)
        before = [self.znodes(client) for client in both.values()]
        # One session of each.
        print(f"  {self.end_leader(signal.SIGKILL)}", flush=True)
        eventually("both are resumed", lambda: self.processes.log(self.leader()).count("resumed=1") == 2)
        self.kubectl("scale", "deployment/orders", "--replicas=6")
        self.settled("another one leads, scaled to 6", 6, both)
        for step, stats, client in zip(("first", "second"), before, both.values()):
            self.unchanged(f"the {step} ensemble", stats, client)

    def verdict(self):
        self.end_bridges()
        print("ensembles: all well")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoobridge", required=True)
    arguments = parser.parse_args()
    run(lambda directory: Ensembles(arguments, directory))


if __name__ == "__main__":
    main()
