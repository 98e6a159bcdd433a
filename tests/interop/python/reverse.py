"""Providers outside the cluster, Services in it, on a real control plane (KUBECONFIG).

reverse.py --zoobridge BINARY [--quiet SECONDS]

Real Curator and Dubbo programs (2.7 and 3) register at our server. Two replicas of the bridge, which run under the
ServiceAccount of deploy/kustomize/imports, make Services of them: with ready endpoints as long as they are
registered, and without when they deregister or are killed. A Service that is not ours stays as it is; ZooKeeper is
away for longer than the sessions' timeout; the leader is killed. Then both directions are on, at the same roots,
and for SECONDS nothing is written on either side. In the end the operators' tools work under their own account, the
one of deploy/kustomize/operator, which may do nothing else, and uninstall leaves nothing behind.
"""

import argparse
import json
import os
import signal
import subprocess
import time

from kazoo.client import KazooClient

from cluster import KUBECTL, ROOT, eventually, java, run
from forward import Scenario

ADDRESS = "10.99.0.1"


class Reverse(Scenario):
    components = ("deploy/kustomize/imports", "deploy/kustomize/operator")

    def __init__(self, arguments, directory):
        super().__init__(arguments, directory)
        self.programs = {}
        self.configure(True)

    def configure(self, forward):
        """One root for both directions: what came from one side must not go back."""
        rules = f"\n  - {{namespaces: ['{self.namespace}'], formats: [curator, dubbo], names: ['*'], addresses: [pod, custom]}}" if forward else " []"
        common = f"namespace: {self.namespace}, addresses: [10.99.0.0/16]"
        self.config.write_text(
            f"cluster: reverse\n"
            f"zookeeper: {{connect: '{self.server}', sessionTimeout: 10s}}\n"
            f"sessions: {{namespace: {self.namespace}}}\n"
            f"leaderElection: {{namespace: {self.namespace}}}\n"
            f"http: {{address: '127.0.0.1:0'}}\n"
            f"rules:{rules}\n"
            f"imports:\n"
            f"  - {{name: curator, format: curator, root: /services, {common}, servicePort: 80, endpoints: true}}\n"
            f"  - {{name: dubbo, format: dubbo, root: /dubbo, {common}}}\n"
        )

    def serve(self):
        host, port = self.server.split(":")
        settings = (f"dataDir={self.directory}/data", f"clientPort={port}", f"clientPortAddress={host}", "tickTime=1000")
        words = (word for setting in settings for word in ("--set", setting))
        self.processes.start("server", self.arguments.zoobridge, "server", *words)

    def start(self):
        self.serve()
        self.kazoo = KazooClient(self.server, timeout=10)
        self.kazoo.start(timeout=30)
        self.kubectl("create", "namespace", self.namespace)
        self.grant()
        self.start_bridge()
        self.start_bridge()

    def register(self, name, module, *words):
        """Starts a program; it deregisters when it gets a line."""
        log = open(self.directory / f"{name}.log", "a")
        self.programs[name] = subprocess.Popen(
            java(module, "Registration", self.server, *words, home=self.directory / f"home-{name}", memory="96m"),
            stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
        )
        self.processes.running[name] = self.programs[name]

    def deregister(self, name):
        self.programs[name].stdin.write("\n")
        self.programs[name].stdin.flush()

    def items(self, kind, *words):
        return json.loads(self.kubectl("get", kind, *words, "-o", "json"))["items"]

    def endpoints(self, service):
        """What a kube-proxy would send traffic to; None without a Service."""
        if service is None or service not in {one["metadata"]["name"] for one in self.items("services")}:
            return None
        found = set()
        for item in self.items("endpointslices", "-l", f"kubernetes.io/service-name={service}"):
            for endpoint in item.get("endpoints") or []:
                if endpoint["conditions"].get("ready", True):
                    found |= {f"{endpoint['addresses'][0]}:{port['port']}" for port in item["ports"]}
        return found

    def service_of(self, source):
        """The Service that stands for this."""
        for one in self.items("services"):
            if one["metadata"].get("annotations", {}).get("zoobridge.io/source-service") == source:
                return one["metadata"]["name"]
        return None

    def until(self, step, source, expected):
        wanted = None if expected is None else set(expected)
        eventually(f"{step}: {source} has {wanted}", lambda: self.endpoints(self.service_of(source)) == wanted)
        print(f"  {step}: {source} has {sorted(wanted) if wanted is not None else 'no Service'}", flush=True)

    def versions(self):
        """The versions of everything that may be ours."""
        kinds = ("services", "endpointslices", "endpoints")
        return {
            (kind, one["metadata"]["name"]): one["metadata"]["resourceVersion"]
            for kind in kinds for one in self.items(kind)
        }

    def changed_since(self, before):
        return before.items() ^ self.versions().items()

    def steps(self):
        orders = "com.acme.OrderService:1.0.0"
        self.kubectl("apply", "-f", "-", stdin=FOREIGN)
        foreign = self.kubectl("get", "service/taken", "-o", "json")
        self.register("curator-1", "curator5", "/services", "legacy", ADDRESS, "8080")
        self.register("curator-2", "curator2", "/services", "legacy", "10.99.0.2", "8080")
        self.register("dubbo-2", "dubbo2", ADDRESS, "20882")
        self.register("dubbo-3", "dubbo3", ADDRESS, "20883")
        self.register("curator-3", "curator5", "/services", "taken", "10.99.0.3", "8080")
        both = {f"{ADDRESS}:8080", "10.99.0.2:8080"}
        self.until("registered", "legacy", both)
        self.until("registered", orders, {f"{ADDRESS}:20882", f"{ADDRESS}:20883"})
        self.event("NotOurs", "/services/taken", about="taken")
        assert self.kubectl("get", "service/taken", "-o", "json") == foreign
        managers = json.loads(self.kubectl("get", "service/legacy", "--show-managed-fields", "-o", "json"))
        managers = [(one["manager"], one["operation"]) for one in managers["metadata"]["managedFields"]]
        assert managers == [("zoobridge", "Apply")], managers
        written = {one["ip"] for s in self.endpoints_object("legacy")["subsets"] for one in s["addresses"]}
        assert written == {ADDRESS, "10.99.0.2"}, written

        self.deregister("dubbo-2")
        self.until("deregistered", orders, {f"{ADDRESS}:20883"})
        self.deregister("curator-1")
        self.until("deregistered", "legacy", {"10.99.0.2:8080"})
        self.processes.end("dubbo-3", signal.SIGKILL)
        self.until("killed", orders, set())
        self.processes.end("curator-1", signal.SIGKILL)
        self.kubectl("delete", "service/taken")
        self.until("the foreign Service goes", "taken", {"10.99.0.3:8080"})

        before, _ = self.settle()
        self.kill_leader()
        # A version never comes back: what was written once differs for ever.
        eventually("all is as it was before the next leader", lambda: not self.changed_since(before))
        self.away()
        self.both_directions(orders)

    def endpoints_object(self, name):
        return json.loads(self.kubectl("get", f"endpoints/{name}", "-o", "json"))

    def kill_leader(self):
        old = eventually("one leads", self.leader)
        self.processes.end(old, signal.SIGKILL)
        new = eventually("another one leads", self.leader)
        self.register("curator-4", "curator5", "/services", "late", "10.99.0.4", "8080")
        self.until(f"{new} follows {old}, which was killed", "late", {"10.99.0.4:8080"})
        self.start_bridge()
        # What the newcomer registered counts for nothing in the comparison.
        self.processes.end("curator-4", signal.SIGKILL)
        self.until("killed", "late", set())
        eventually("its directory is gone", self.forget_late)
        self.until("its directory is gone", "late", None)

    def forget_late(self):
        if self.kazoo.exists("/services/late"):
            self.kazoo.delete("/services/late")
        return True

    def away(self):
        """For longer than the session's timeout."""
        before = self.versions()
        self.kazoo.stop()
        assert self.processes.end("server", signal.SIGTERM) == 0
        time.sleep(12)
        assert self.versions() == before, "something was written while ZooKeeper was away"
        self.serve()
        self.kazoo = KazooClient(self.server, timeout=10)
        self.kazoo.start(timeout=30)
        self.restart_the_useless()
        self.until("ZooKeeper was away", "legacy", {"10.99.0.2:8080"})
        self.register("dubbo-4", "dubbo3", "10.99.0.5", "20885")
        self.until("and is heard again", "com.acme.OrderService:1.0.0", {"10.99.0.5:20885"})
        print("  ZooKeeper was away for 12 s, and nothing changed", flush=True)

    def restart_the_useless(self):
        """A leader that lost all its sessions ended, to make room; the next one waited. A kubelet restarts it."""
        bridges = self.bridges()
        ended = [name for name in bridges if self.processes.running[name].poll() is not None]
        assert len(ended) == 1, f"of {bridges} these ended: {ended}"
        assert self.processes.running.pop(ended[0]).returncode == 1
        self.start_bridge()

    def both_directions(self, orders):
        self.kubectl("apply", "-f", "-", stdin=PODS)
        children = lambda: set(self.kazoo.get_children("/services/pods"))  # noqa: E731
        eventually("pods are published", lambda: self.kazoo.exists("/services/pods"))
        eventually("pods are published", lambda: children() == {"10.99.9.1:8080", "10.99.9.2:8080"})
        # Somebody wants what came from ZooKeeper back there.
        self.kubectl("annotate", "service/legacy", "zoobridge.io/curator=again")
        self.event("Imported", "not published", about="legacy")
        self.until("both directions", "legacy", {"10.99.0.2:8080"})
        versions, znodes = self.settle()
        time.sleep(self.arguments.quiet)
        assert self.versions() == versions, "something was written in Kubernetes"
        assert self.znodes() == znodes, "something was written in ZooKeeper"
        assert not self.kazoo.exists("/services/again")
        print(
            f"  quiet for {self.arguments.quiet} s: {len(versions)} objects and {len(znodes)} znodes as they were",
            flush=True,
        )

    def settle(self):
        """Both sides, once two looks are the same."""
        last = None

        def same():
            nonlocal last
            before, last = last, (self.versions(), self.znodes())
            return last if before == last else None

        return eventually("both sides come to rest", same)

    def znodes(self):
        """What was last written where; and by whom, for ephemerals."""
        found = {}
        due = ["/services", "/dubbo", "/zoobridge"]
        while due:
            path = due.pop()
            stat = self.kazoo.exists(path)
            if stat is None:
                continue
            found[path] = (stat.mzxid, stat.pzxid, stat.ephemeralOwner)
            due += [f"{path}/{name}" for name in self.kazoo.get_children(path)]
        return found

    def operate(self, *words):
        """What a command of the operators' says under their account."""
        command = [self.arguments.zoobridge, *words, "--config", self.config, "--output", "json"]
        environment = {**os.environ, "KUBECONFIG": str(self.directory / "operator")}
        done = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.returncode} {done.stdout} {done.stderr}"
        return json.loads(done.stdout)

    def operators(self):
        self.become("zoobridge-operator", self.directory / "operator")
        assert self.operate("verify", f"{self.namespace}/pods")[0]["seen"] == 2
        for words in (("plan",), ("diff",), ("status",), ("explain", f"{self.namespace}/pods")):
            assert self.operate(*words), words
        assert self.operate("history", f"{self.namespace}/pods")
        subject = f"system:serviceaccount:{self.namespace}:zoobridge-operator"
        for words in (
            ("create", "secrets"), ("list", "secrets"), ("get", "secrets/other"), ("delete", "secrets/other"),
            ("update", "leases/zoobridge"), ("create", "services"), ("update", "services"),
            ("delete", "endpointslices"), ("create", "events"), ("delete", "services", "-n", "default"),
        ):
            done = subprocess.run([*KUBECTL, "-n", self.namespace, "auth", "can-i", *words, "--as", subject],
                                  capture_output=True, text=True)
            assert done.stdout.strip() == "no", f"{words}: {done.stdout} {done.stderr}"
        print("  the operators' tools work under their account, which may do nothing else", flush=True)

    def imported(self):
        """The names of Services that came from ZooKeeper."""
        services = [one["metadata"] for one in self.items("services")]
        return {one["name"] for one in services if "zoobridge.io/source-service" in one.get("annotations", {})}

    def uninstall(self):
        """Twice: of a Secret that somebody prepared only what is in it goes."""
        imported = self.imported()
        assert {"legacy", "taken"} <= imported, imported
        self.end_bridges()
        self.kubectl("label", "secret/zoobridge-sessions", "app=zoobridge")
        for is_prepared in (True, False):
            told = self.operate("uninstall")
            done = self.operate("uninstall", "--yes")
            assert (told["done"], done["done"]) == (False, True)
            assert told["objects"] == done["objects"], (told, done)
            assert sum("Secret" in one for one in done["objects"]) == 1, done
            gone = sorted(one.split()[0] for one in done["objects"] if "Secret" not in one)
            assert gone == ["Lease", *["Service"] * len(imported)], done
            assert not self.imported() and not self.items("leases")
            secrets = [one.get("data") for one in self.items("secrets")]
            assert secrets == ([None] if is_prepared else []), secrets
            assert not self.kazoo.exists("/zoobridge") and not self.kazoo.exists("/services/pods")
            assert self.kazoo.exists("/services/legacy"), "what others made stays"
            if is_prepared:
                self.kubectl("delete", "secret/zoobridge-sessions")
                self.start_bridge()
                eventually("pods are published again", lambda: self.kazoo.exists("/services/pods/10.99.9.1:8080"))
                eventually("the same is imported again", lambda: self.imported() == imported)
                self.end_bridges()
        print("  uninstall left nothing behind, under the operators' account", flush=True)

    def verdict(self):
        self.operators()
        self.uninstall()


FOREIGN = """
apiVersion: v1
kind: Service
metadata: {name: taken, labels: {whose: mine}}
spec:
  ports: [{port: 90}]
"""

PODS = """
apiVersion: v1
kind: Service
metadata: {name: pods, annotations: {zoobridge.io/curator: pods}}
spec:
  ports: [{port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: pods, labels: {kubernetes.io/service-name: pods}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints:
  - {addresses: [10.99.9.1], conditions: {ready: true}}
  - {addresses: [10.99.9.2], conditions: {ready: true}}
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoobridge", required=True)
    parser.add_argument("--quiet", type=float, default=10)
    arguments = parser.parse_args()
    subprocess.run([ROOT / "tests/interop/java/run"], check=True)
    run(lambda directory: Reverse(arguments, directory))
    print("reverse: all well")


if __name__ == "__main__":
    main()
