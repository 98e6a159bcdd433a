"""Pods that never registered themselves, and the consumers of five libraries that find them all the same.

consumers.py --zoobridge BINARY --caller dubbo3|dubbo2 [--fast] [--expect-faults]

On a real control plane (KUBECONFIG) a Deployment of Dubbo providers, each in its pod's network namespace (root
and iproute2), is scaled 3 -> 8 -> 3, rolled from Dubbo 2 to 3 and back, and loses pods, while two replicas of the bridge run
and their leader is killed with -9, once at rest and once in the middle of a rolling update.

After each step Curator 5 and 2 and the two ZooKeeper clients in Rust must see exactly the ready set, and Dubbo 3,
Dubbo 2.7 and dubbo2.js must get answers from exactly that. All the time no endpoint that stayed ready may be missing
from what the first four read.

One of the Dubbo consumers in Java, the caller, makes 500 calls/s in an open loop, with 1 s for each call and no second
try; the others make a few. Beside them runs a Kubernetes client that makes 500 of the same calls/s with the caller's
library to the endpoints that a watch of the EndpointSlices says are ready. A consumer's call may fail only if this
client's call to the same address failed too, at most a second before or after. A call that timed out at an endpoint
that was ready before and after is one that this client would have made as well: it tells of a slow machine, and is
counted apart.

--fast is a part of it. --expect-faults is for a build that deletes first: then calls must fail that the Kubernetes
client's do not.
"""

import argparse
import json
import os
import re
import signal
import subprocess

from cluster import KUBECTL, ROOT, SETTLE_SECONDS, Cluster, eventually, java, ready_set, run

RATE = 500
FEW = 25
WINDOW_MS = 1_000  # The timeout of a call.
TIMED_OUT = re.compile("[Rr]emote (method|invoke) timeout|server-side response timeout")
CURATOR = ("curator5", "curator2")
READERS = (*CURATOR, "zookeeper-client", "tokio-zookeeper")
CALLING = ("dubbo3", "dubbo2", "dubbo2.js", "direct")
RUST = ROOT / "tests/interop/rust/.build/debug"
WATCH = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices?watch=1&labelSelector=kubernetes.io/service-name=orders"

# A program that starts takes all of a small machine. Those that measure come before it.
FIRST = ("nice", "-n", "-10")


class Scenario(Cluster):
    # Its pods, and who finds them.
    count = 3
    readers = READERS
    calling = CALLING
    # Seconds in which a caller calls every endpoint, and in which what has begun comes to its end.
    round = 1
    patience = SETTLE_SECONDS
    # Milliseconds between two queries of Curator's.
    query_pause = 5
    # Of each consumer in Java.
    memory = "128m"

    def __init__(self, arguments, directory):
        super().__init__(arguments.zoobridge, "consumers", directory)
        self.caller = arguments.caller
        self.fast = arguments.fast
        self.expect_faults = arguments.expect_faults
        self.rates = {name: RATE if name in (self.caller, "direct") else FEW for name in CALLING}

    def java(self, module, *words):
        # What fails is printed once; a warning for each, with its stack, costs more than the call.
        home = self.directory / f"home-{module}"
        return [*FIRST, *java(module, *words, home=home, memory=self.memory, level="error")]

    def provider(self, module):
        return java(module, "Provider", "20880", "8080", home="/nonexistent", level="error")

    def command(self, name):
        """Each consumer's."""
        rate = str(self.rates.get(name))
        if name in CURATOR:
            return self.java(name, "Consumer", self.server, "/services", "orders", str(self.query_pause))
        if name in READERS:
            return [*self.priority, RUST / "consumers", name, self.server, "/services/orders"]
        if name == "direct":
            watch = [*KUBECTL, "get", "--raw", WATCH.format(self.namespace)]
            return self.java(self.caller, "Direct", rate, *map(str, watch))
        if name == "dubbo2.js":
            return [*FIRST, "node", ROOT / "tests/interop/node/consumer.js", rate, self.server]
        # Dubbo 3 would look for applications too.
        only = "-Ddubbo.application.service-discovery.migration=FORCE_INTERFACE"
        return self.java(name, only, "Consumer", rate, self.server)

    def orders(self):
        """The Deployment and its Service."""
        return ORDERS.replace("COMMAND", json.dumps(self.provider("dubbo2")))

    def start(self):
        self.start_server()
        self.kubectl("apply", "-f", "-", stdin=self.orders())
        self.grant()
        self.start_bridge()
        self.start_bridge()
        eventually("one leads", self.leader)
        self.wait_for_pods("created", self.count)
        for name in (*self.readers, *sorted(self.calling, key=lambda name: name != "direct")):
            self.processes.start(name, *self.command(name))
            # One after the other: a program that starts needs more than its share of a small machine.
            first = "cache" if name in READERS else "calls"
            eventually(f"{name} has begun", lambda: self.lines(name, first), self.patience)
        self.settled("created", self.count)

    def lines(self, name, kind):
        """What follows this word in the program's lines, but for one that it still writes."""
        return re.findall(rf"^{kind}(?: (.*))?\n", self.processes.log(name), re.MULTILINE)

    def ready(self, port):
        return ready_set(self.namespace, "orders", port)

    def pods(self):
        return self.kubectl("get", "pods", "-o", "name").split()

    def calls(self, name):
        """The totals of a caller, and the addresses that answered in its last round."""
        lines = [line.split() for line in self.lines(name, "calls")[-self.round:]]
        totals = dict(word.split("=") for word in lines[-1] if "=" in word)
        return totals, {word for line in lines for word in line if "=" not in word}

    def sees_the_ready(self, name):
        if name in READERS:
            ready = " ".join(sorted(self.ready("http")))
            kinds = ("cache", "query") if name in CURATOR else ("cache",)
            return all(self.lines(name, kind)[-1:] == [ready] for kind in kinds)
        return self.calls(name)[1] == {address.split(":")[0] for address in self.ready("dubbo")}

    def wait_for_pods(self, step, count):
        for port in ("http", "dubbo"):
            # Programs start, on a machine that is busy.
            eventually(f"{step}: {count} ready endpoints", lambda: len(self.ready(port)) == count, seconds=120)

    def settled(self, step, count, pods=None):
        """Waits until so many are ready, all others are gone, and all consumers use exactly those."""
        self.wait_for_pods(step, count)
        eventually(f"{step}: {pods or count} pods", lambda: len(self.pods()) == (pods or count), self.patience)
        # What is counted after one more line was called when the last pod had gone.
        before = {name: len(self.lines(name, "calls")) for name in self.calling}
        for name in self.calling:
            eventually(f"{step}: {name} calls", lambda: len(self.lines(name, "calls")) > before[name] + 1)
        for name in (*self.readers, *self.calling):
            eventually(f"{step}: {name} sees the ready endpoints", lambda: self.sees_the_ready(name), self.patience)
        failed = {name: len(self.failures(name)) for name in self.calling if self.failures(name)}
        print(f"  {step}: {count} ready, seen by all; calls that failed so far: {failed or 'none'}", flush=True)
        unmatched = self.unmatched()
        assert self.expect_faults or not unmatched, f"{step}: no Kubernetes client's call failed then: {unmatched}"

    def failures(self, name):
        """When each was sent, where to, and why it failed."""
        found = [line.split(" ", 2) for line in self.lines(name, "failure")]
        return [(int(sent), address, why) for sent, address, why in found]

    def unmatched(self):
        """The failed calls to addresses that the Kubernetes client called at the same time without a failure."""
        excuses = [(sent, address) for sent, address, _ in self.failures("direct")]
        left = {address: at for at, address in (line.split() for line in self.lines("direct", "left"))}
        return [
            f"{name} at {sent} to {address} (not ready since {left.get(address, 'never')}): {why}"
            for name in self.calling for sent, address, why in self.failures(name)
            if not any(there == address and abs(then - sent) <= WINDOW_MS for then, there in excuses)
            and not self.is_slow(sent, address, why)
        ]

    def is_slow(self, sent, address, why):
        """Did the call time out at an endpoint that was ready then, and for some time after it?"""
        left = (line.split() for line in self.lines("direct", "left"))
        stayed = all(there != address or int(at) > sent + 2 * WINDOW_MS for at, there in left)
        return bool(TIMED_OUT.search(why)) and address != "none" and stayed

    def scale(self, count):
        self.kubectl("scale", "deployment/orders", f"--replicas={count}")
        self.settled(f"scaled to {count}", count)

    def roll(self, command):
        container = {"name": "orders", "command": command}
        patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
        self.kubectl("patch", "deployment/orders", "-p", json.dumps(patch))

    def rolled(self, step):
        self.kubectl("rollout", "status", "deployment/orders", "--timeout=300s")
        self.settled(step, self.count)

    def steps(self):
        self.scale(5 if self.fast else 8)
        self.scale(3)
        if self.expect_faults:
            return
        self.replace_leader()
        if self.fast:
            return
        self.roll(self.provider("dubbo3"))
        self.rolled("rolled to providers of Dubbo 3")
        self.crash_a_pod()
        self.delete_a_pod()
        self.roll(self.provider("dubbo2"))
        self.kill_leader("in the middle of a rolling update")
        self.rolled("rolled to providers of Dubbo 2")

    def holder(self):
        return self.kubectl("get", "lease", "zoobridge", "-o", "jsonpath={.spec.holderIdentity}")

    def kill_leader(self, when):
        before = self.holder()
        followed = self.end_leader(signal.SIGKILL)
        after = self.holder()
        assert before != after, f"{before} still holds the Lease"
        print(f"  the leader is killed {when}: {followed}; the Lease was {before}'s and is {after}'s", flush=True)
        self.start_bridge()

    def replace_leader(self):
        """The next one resumes the session: the caches hear of nothing."""
        before = {name: self.lines(name, "cache") for name in READERS}
        self.kill_leader("at rest")
        self.settled("the leader is killed", 3)
        after = {name: self.lines(name, "cache") for name in READERS}
        assert before == after, f"the caches changed: before {before}, after {after}"

    def lose_a_pod(self):
        """One of the pods whose process ends at once, and its address."""
        pod = self.pods()[0]
        address = self.kubectl("get", pod, "-o", "jsonpath={.status.podIP}") + ":20880"
        uid = self.kubectl("get", pod, "-o", "jsonpath={.metadata.uid}")
        for pid in subprocess.check_output(["ip", "netns", "pids", f"zb-{uid[:8]}"], text=True).split():
            os.kill(int(pid), signal.SIGKILL)
        return pod, address

    def crash_a_pod(self):
        """Kubernetes hears of it from the probe."""
        pod, address = self.lose_a_pod()
        eventually("its endpoint is not ready", lambda: address not in self.ready("dubbo"))
        self.settled("a pod crashed", 2, pods=3)
        self.delete(pod)
        self.settled("it is replaced", 3)

    def delete_a_pod(self):
        """By force, while it is ready, as of a node that is lost: its network ends too."""
        pod, address = self.lose_a_pod()
        self.delete(pod)
        eventually("its endpoint is gone", lambda: address not in self.ready("dubbo"))
        self.settled("a pod was deleted by force", 3)

    def delete(self, pod):
        self.kubectl("delete", pod, "--force", "--grace-period=0", "--wait=false")

    def heard_late(self, name):
        """How long after an endpoint was ready no more its last answer came, at most; by the second."""
        late = 0
        lines = [line.split() for line in self.lines(name, "calls")]
        answers = [(int(words[0][3:]), set(words)) for words in lines]
        for line in self.lines("direct", "left"):
            left, address = line.split()
            late = max([late, *(at - int(left) for at, seen in answers if address.split(":")[0] in seen)])
        return late / 1_000

    def verdict(self):
        for name in self.readers:
            self.processes.end(name, signal.SIGTERM)
            changes, misses = (len(self.lines(name, kind)) for kind in ("cache", "miss"))
            print(f"  {name}: {changes} changes, {misses} misses", flush=True)
        for name in self.calling:
            totals = self.calls(name)[0]
            del totals["at"]
            said = " ".join(f"{key}={value}" for key, value in totals.items())
            slow = sum(self.is_slow(*failure) for failure in self.failures(name))
            late = f"{slow} timed out at ready endpoints, called an endpoint up to {self.heard_late(name):.0f} s after it left"
            print(f"  {name}: {said}, {late}", flush=True)
            rate = self.rates[name]
            assert rate < RATE or float(totals["rate"]) > 0.99 * rate, f"{name} did not keep the rate"
        misses = {name: self.lines(name, "miss") for name in self.readers if self.lines(name, "miss")}
        unmatched = self.unmatched()
        if self.expect_faults:
            assert misses, "no reader notices a build that deletes first"
            assert unmatched, "no caller notices a build that deletes first"
            print(f"  {len(unmatched)} calls failed that the Kubernetes client's did not, the first: {unmatched[0]}")
        else:
            assert not misses, misses
            assert not unmatched, unmatched
        self.end_bridges()


# As in config/demo/orders.yaml. What is being removed answers for 12 s more, as with a preStop hook: Dubbo 3 takes
# each change of the addresses 5 s after the one before, and what comes in between is one more change.
ORDERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  selector: {matchLabels: {app: orders}}
  template:
    metadata:
      labels: {app: orders}
      annotations: {controlplane.test/netns: "true", controlplane.test/terminate-after: 12s}
    spec:
      containers:
        - name: orders
          image: registry.example/orders:1
          command: COMMAND
          ports:
            - {name: http, containerPort: 8080}
            - {name: dubbo, containerPort: 20880}
          readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata:
  name: orders
  annotations:
    zoobridge.io/curator: orders
    zoobridge.io/curator-port: http
    zoobridge.io/dubbo: com.acme.OrderService:1.0.0
    zoobridge.io/dubbo-port: dubbo
    zoobridge.io/dubbo-parameters: methods=create,get&timeout=3000
spec:
  selector: {app: orders}
  ports:
    - {name: http, port: 80, targetPort: http}
    - {name: dubbo, port: 20880, targetPort: dubbo}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoobridge", required=True)
    parser.add_argument("--caller", choices=("dubbo3", "dubbo2"), required=True)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--expect-faults", action="store_true")
    arguments = parser.parse_args()
    run(lambda directory: Scenario(arguments, directory))
    what = "a build that deletes first is noticed" if arguments.expect_faults else "all well"
    print(f"consumers: {what}")


if __name__ == "__main__":
    main()
