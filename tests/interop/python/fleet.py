"""250 pods, 1,000 calls/s, rolling updates.

fleet.py --zoobridge BINARY

On a real control plane (KUBECONFIG) a Deployment of 250 small providers, each in its pod's network namespace (root and
iproute2), is rolled twice, the second time while the leader of two replicas of the bridge is killed with -9.

Dubbo 3 and Dubbo 2.7 make 500 calls/s each, with 1 s for each call and no second try; a Kubernetes client without a
registry makes 1,000. As in consumers.py a call may fail only if the Kubernetes client's to the same address did at the
same time. Curator 5 and the two ZooKeeper clients in Rust must never miss an endpoint that is ready. In the first
update they may see one that is not for 200 ms at p99 and 2 s at most, from the moment at which a watch of the
EndpointSlices told of it.
"""

import argparse
import json

from consumers import FIRST, ORDERS, RUST, Scenario
from cluster import run

# How long what is not ready may be seen, in milliseconds.
LONGEST, P99 = 2_000, 200


class Fleet(Scenario):
    count = 250
    readers = ("curator5", "zookeeper-client", "tokio-zookeeper")
    calling = ("dubbo3", "dubbo2", "direct")
    # So that none is left out by chance.
    round = 20
    patience = 180
    # Each query reads 250 znodes.
    query_pause = 1_000
    memory = "512m"
    # The control plane and the pods need more than this machine has, and are no part of what is measured.
    priority = FIRST

    def __init__(self, arguments, directory):
        arguments.caller, arguments.fast, arguments.expect_faults = "dubbo3", False, False
        super().__init__(arguments, directory)
        self.rates = {"dubbo3": 500, "dubbo2": 500, "direct": 1_000}

    def provider(self, release):
        """A program that all releases have in common."""
        return ["env", f"RELEASE={release}", str(RUST / "provider"), "20880", "8080"]

    def orders(self):
        manifest = ORDERS.replace("COMMAND", json.dumps(self.provider(1)))
        for old, new in (
            ("replicas: 3", f"replicas: {self.count}"),
            ("maxSurge: 1", "maxSurge: 4%"),
            # Kubernetes' own grace period. When the leader is killed a Lease must end before another one takes an endpoint
            # away, and Dubbo needs longer for more of them.
            ("terminate-after: 12s", "terminate-after: 30s"),
            ("periodSeconds: 1,", "periodSeconds: 2,"),
        ):
            assert old in manifest, old
            manifest = manifest.replace(old, new)
        return manifest

    def steps(self):
        self.roll(self.provider(2))
        self.rolled("rolled")
        # Before the leader is killed: then what goes is seen until another one leads.
        delays = {name: self.delays(name) for name in self.readers}
        late = {name: times[-20:] for name, times in delays.items() if p99(times) > P99 or times[-1] > LONGEST}
        assert not late, f"what was not ready was seen too long: {late}"
        self.roll(self.provider(3))
        self.kill_leader("in the middle of a rolling update")
        self.rolled("rolled again")

    def left(self, name):
        """When the pods' addresses left what it knew."""
        lines = (line.split() for line in self.lines(name, "left"))
        return {address.split(":")[0]: int(at) for at, address in lines}

    def delays(self, name):
        """How long the reader saw each endpoint after it was ready no more, in order."""
        left, gone = self.left("direct"), self.left(name)
        assert len(left) >= self.count, f"only {len(left)} endpoints left"
        assert gone.keys() == left.keys(), f"{name} saw others go: {gone.keys() ^ left.keys()}"
        times = sorted(max(0, gone[address] - left[address]) for address in left)
        told = f"{times[len(times) // 2]} ms (p50), {p99(times)} ms (p99), {times[-1]} ms (max)"
        print(f"  {name} saw {len(times)} endpoints too long by {told}", flush=True)
        return times


def p99(times):
    return times[len(times) * 99 // 100]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoobridge", required=True)
    arguments = parser.parse_args()
    run(lambda directory: Fleet(arguments, directory))
    print("fleet: all well")


if __name__ == "__main__":
    main()
