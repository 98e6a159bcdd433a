"""Pods in, znodes out, on a real control plane (KUBECONFIG): what kazoo and Apache's zkCli see after each step.

forward.py --zoobridge BINARY --witness BINARY [--expect-faults]

A Deployment is scaled 3 -> 10 -> 2, rolled, loses a probe and a pod. Two replicas of the bridge run under the
ServiceAccount of deploy/kustomize/bridge; the leader is killed with -9, and later stopped. After each step
kazoo and zkCli must see exactly the ready set, and all the time the witness, which re-reads without a pause,
must not miss an endpoint that stayed ready. A second Deployment runs real servers in network namespaces (root
and iproute2): its probes are real, and so is the connection to what the znodes say.

--expect-faults is for a build that deletes first: then the witness must find faults.
"""

import argparse
import json
import signal
import subprocess
import urllib.parse
import urllib.request

from cluster import ROOT, Cluster, eventually, ready_set, run
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

ZKCLI = [ROOT / "tests/interop/apache/run", "cli"]
CURATOR = "/services/orders"
DUBBO = "/dubbo/com.acme.OrderService/providers"


def dubbo_addresses(names):
    return {urllib.parse.urlsplit(urllib.parse.unquote_plus(name)).netloc for name in names}


def by_kazoo(client, directory):
    names = client.get_children(directory) if client.exists(directory) else []
    if directory.startswith("/dubbo"):
        return dubbo_addresses(names)
    addresses = set()
    for name in names:
        try:
            instance = json.loads(client.get(f"{directory}/{name}")[0])
            addresses.add(f"{instance['address']}:{instance['port']}")
        except NoNodeError:
            pass  # Gone since it was listed, as every consumer must expect.
    return addresses


def by_zkcli(server, directory):
    done = subprocess.run([*ZKCLI, server, "ls", directory], capture_output=True, text=True, check=True)
    line = done.stdout.strip()
    assert line.startswith("[") and line.endswith("]"), done.stdout
    names = [name for name in line[1:-1].split(", ") if name]
    # A Curator instance's name is its address too; kazoo reads what the data says.
    return dubbo_addresses(names) if directory.startswith("/dubbo") else set(names)


class Scenario(Cluster):
    def __init__(self, arguments, directory):
        super().__init__(arguments.zoobridge, "forward", directory)
        self.arguments = arguments
        self.www = directory / "www"
        self.www.mkdir()

    def replace_leader(self, step, how):
        """Ends the leader; another one follows, and nothing changes in the tree."""
        before = {name: self.kazoo.exists(f"{CURATOR}/{name}") for name in self.kazoo.get_children(CURATOR)}
        followed = self.end_leader(how)
        after = {name: self.kazoo.exists(f"{CURATOR}/{name}") for name in self.kazoo.get_children(CURATOR)}
        assert before == after, f"{step}: znodes changed"
        print(f"  {step}: {followed}, no znode changed", flush=True)
        self.start_bridge()

    def start(self):
        self.start_server()
        self.kazoo = KazooClient(self.server, timeout=10)
        self.kazoo.start(timeout=30)
        self.kubectl("apply", "-f", str(ROOT / "config/demo/orders.yaml"))
        self.grant()
        self.start_bridge()
        self.start_bridge()
        for name, port, directory in (("curator", "http", CURATOR), ("dubbo", "dubbo", DUBBO)):
            self.processes.start(
                f"witness-{name}", self.arguments.witness,
                self.server, self.namespace, "orders", port, f"{name}:{directory}",
            )

    def settled(self, step, count, service="orders", directories=((CURATOR, "http"), (DUBBO, "dubbo"))):
        """Waits until so many are ready and both consumers see exactly them."""
        for directory, port in directories:

            def ready_now():
                now = ready_set(self.namespace, service, port)
                return [now] if len(now) == count else None

            ready = eventually(f"{step}: {count} ready endpoints of {service}", ready_now)[0]
            eventually(f"{step}: kazoo sees {sorted(ready)}", lambda: by_kazoo(self.kazoo, directory) == ready)
            seen = by_zkcli(self.server, directory)
            assert seen == ready, f"{step}: zkCli sees {sorted(seen)}, ready are {sorted(ready)}"
        print(f"  {step}: {count} ready, seen by kazoo and zkCli", flush=True)
        return ready

    def scale(self, count):
        self.kubectl("scale", "deployment/orders", f"--replicas={count}")
        self.settled(f"scaled to {count}", count)

    def first_pod(self, app):
        names = self.kubectl("get", "pods", "-l", f"app={app}", "-o", "name").split()
        return names[0]

    def steps(self):
        self.settled("created", 3)
        self.scale(10)
        self.scale(2)
        if self.arguments.expect_faults:
            return
        self.scale(5)
        annotations = {"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}}
        self.kubectl("patch", "deployment/orders", "-p", json.dumps(annotations))
        self.kubectl("rollout", "status", "deployment/orders", "--timeout=60s")
        self.settled("rolled", 5)
        pod = self.first_pod("orders")
        self.kubectl("annotate", pod, "controlplane.test/ready=false")
        self.settled("a probe fails", 4)
        self.kubectl("annotate", pod, "controlplane.test/ready-")
        self.settled("the probe succeeds again", 5)
        self.kubectl("delete", self.first_pod("orders"), "--force", "--grace-period=0", "--wait=false")
        self.settled("a pod was deleted by force", 5)
        self.replace_leader("the leader is killed", signal.SIGKILL)
        self.scale(6)
        self.replace_leader("the leader is stopped", signal.SIGTERM)
        self.mistakes()
        self.stranger()
        self.real_servers()

    def mistakes(self):
        """What makes no sense gets an Event, and everything else goes on."""
        self.kubectl("annotate", "service/orders", "zoobridge.io/curator-prot=http")
        self.event("UnknownAnnotation", "zoobridge.io/curator-prot")
        self.kubectl("annotate", "service/orders", "zoobridge.io/curator-prot-")
        self.event("Published", "everything")
        self.kubectl("annotate", "--overwrite", "service/orders", "zoobridge.io/curator-port=nosuch")
        self.event("PortNotFound", "nosuch")
        self.settled("a mistyped port takes nothing away", 6)
        self.kubectl("annotate", "--overwrite", "service/orders", "zoobridge.io/curator-port=http")
        self.event("Published", "everything", times=2)
        self.scale(4)

    def stranger(self):
        """Somebody else takes a znode twice, while the Service stays as it is: that is one Event, counted."""
        path = "/services/clash/10.1.2.3:8080"
        self.kazoo.create(path, b"a stranger's", makepath=True)
        self.kubectl("apply", "-f", "-", stdin=CLASH)
        self.event("Conflict", path, about="clash")
        self.kazoo.delete(path)
        eventually("the stranger's znode is replaced", lambda: self.kazoo.exists(path))
        self.event("Published", "everything", about="clash")
        transaction = self.kazoo.transaction()
        transaction.delete(path)
        transaction.create(path, b"a stranger's")
        assert transaction.commit()[1] == path
        events = self.event("Conflict", path, times=2, about="clash")
        assert [event["series"]["count"] for event in events] == [2], events
        self.kubectl("delete", "service/clash", "endpointslice/clash")
        self.kazoo.delete(path)

    def event(self, reason, part, times=1, about="orders"):
        """Waits for so many Events of this kind; one may count several times."""

        def found():
            events = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
            events = [
                e for e in events
                if e["reason"] == reason and part in e["message"] and e["involvedObject"]["name"] == about
            ]
            return events if sum((e.get("series") or {"count": 1})["count"] for e in events) >= times else []

        events = eventually(f"an Event {reason} about {part} on {about}, {times} times", found)
        print(f"  Event {reason}: {events[0]['message'][:100]}", flush=True)
        return events

    def real_servers(self):
        """Servers under their pods' addresses; their probes ask for a file that the test removes."""
        (self.www / "ready").write_text("yes")
        self.kubectl("apply", "-f", "-", stdin=WEB.replace("WWW", str(self.www)))
        directories = (("/services/web", ""),)
        ready = self.settled("real servers", 2, "web", directories)
        for address in ready:
            body = urllib.request.urlopen(f"http://{address}/ready", timeout=5).read()
            assert body == b"yes", body
        (self.www / "ready").unlink()
        self.settled("real probes fail", 0, "web", directories)
        (self.www / "ready").write_text("yes")
        self.settled("real probes succeed again", 2, "web", directories)
        self.kubectl("delete", "deployment/web", "service/web")
        eventually("the directory of web is empty", lambda: not self.kazoo.get_children("/services/web"))
        print("  a deleted Service's directory is empty", flush=True)

    def verdict(self):
        failed = []
        for name in ("witness-curator", "witness-dubbo"):
            code = self.processes.end(name, signal.SIGTERM)
            print("  " + self.processes.log(name).strip().replace("\n", "\n  "), flush=True)
            if code != 0:
                failed.append(name)
        if self.arguments.expect_faults:
            assert failed, "the witness does not notice a build that deletes first"
            assert any("was ready and not there" in self.processes.log(name) for name in failed)
        else:
            assert not failed, f"a consumer missed a ready endpoint: {failed}"
        self.end_bridges()


CLASH = """
apiVersion: v1
kind: Service
metadata: {name: clash, annotations: {zoobridge.io/curator: clash}}
spec:
  ports: [{port: 8080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: clash, labels: {kubernetes.io/service-name: clash}}
addressType: IPv4
ports: [{name: "", port: 8080}]
endpoints: [{addresses: [10.1.2.3], conditions: {ready: true}}]
"""

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {controlplane.test/netns: "true"}
    spec:
      containers:
        - name: web
          image: registry.example/web:1
          command: ["python3", "-m", "http.server", "--directory", "WWW", "8000"]
          ports: [{containerPort: 8000}]
          readinessProbe: {httpGet: {path: /ready, port: 8000}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, annotations: {zoobridge.io/curator: web}}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8000}]
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zoobridge", required=True)
    parser.add_argument("--witness", required=True)
    parser.add_argument("--expect-faults", action="store_true")
    arguments = parser.parse_args()
    run(lambda directory: Scenario(arguments, directory))
    what = "the witness notices a build that deletes first" if arguments.expect_faults else "all well"
    print(f"forward: {what}")


if __name__ == "__main__":
    main()
