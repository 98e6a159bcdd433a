"""Real consumers of every format resolve what the bridge writes, and call through it.

One Service, published in all formats. Its endpoints are addresses of this machine, where providers of Dubbo and servers
of HTTP listen all the time, so that no call may fail and none may go elsewhere. The slices change step by step; behind
each step every consumer must come to know exactly the endpoints that are ready.
"""

import argparse
import http.server
import json
import os
import pathlib
import re
import signal
import socket
import tempfile
import threading
import time
import urllib.request

from cluster import Processes, eventually, java
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError

HERE = pathlib.Path(__file__).resolve().parents[1]
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
PODS = [f"10.244.0.{last}" for last in range(1, 7)]
# It is the second pod; tests/interop/formats says so to whoever resolves it.
EXTERNAL_NAME = "orders.zoobridge.example"
ANNOTATIONS = {
    "curator": "orders-curator",
    "curator-port": "http",
    "spring": "orders-spring",
    "spring-port": "http",
    "serverset": "orders",
    "serverset-port": "http",
    "nerve": "orders",
    "nerve-port": "http",
    "hostport": "orders",
    "hostport-port": "http",
    "dubbo": "com.acme.OrderService:1.0.0",
    "dubbo-port": "dubbo",
    "dubbo-parameters": "methods=create,get",
    "dubbo3": "com.acme.OrderService:1.0.0",
    "dubbo3-port": "dubbo",
    "dubbo3-parameters": "methods=create,get",
}
CONFIGURATION = """
zookeeper: {{connect: "127.0.0.1:{port}"}}
leaderElection: {{enabled: false}}
http: {{address: "127.0.0.1:0"}}
rules:
  - {{formats: [curator, spring, serverset, nerve, hostport, dubbo, dubbo3], names: ['*'], parameters: ['*'],
      addresses: [pod, external-name]}}
"""
# Dubbo 3 waits 5 s between two notifications, Finagle 10 s before an address goes.
CONVERGE_SECONDS = 60
# A member that goes between Finagle's list and its read leaves all as it was, until Finagle reads again 20 to 140 s
# later (`ServiceDiscoverer.retryJitter`).
FINAGLE_SECONDS = CONVERGE_SECONDS + 140


def dubbo(module, step):
    """A Dubbo consumer that finds its providers in one way only."""
    option = f"-Ddubbo.application.service-discovery.migration={step}"
    return lambda server, home: java(module, "Consumer", "20", server, home=home, options=[option])


def consumer(module, *words):
    return lambda server, home: java(module, "Consumer", server, *words, home=home)


CURATOR = ("/services", "orders-curator")
SERVERSET = "/twitter/service/orders"
# What builds it, its command, and how lines begin that say which addresses it knows, or got answers from.
CONSUMERS = {
    "dubbo27": ("java/run dubbo2", dubbo("dubbo2", "none"), ["calls"]),
    "dubbo32-interface": ("java/run dubbo32", dubbo("dubbo32", "FORCE_INTERFACE"), ["calls"]),
    "dubbo32-application": ("java/run dubbo32", dubbo("dubbo32", "FORCE_APPLICATION"), ["calls"]),
    "dubbo33-interface": ("java/run dubbo3", dubbo("dubbo3", "FORCE_INTERFACE"), ["calls"]),
    "dubbo33-application": ("java/run dubbo3", dubbo("dubbo3", "FORCE_APPLICATION"), ["calls"]),
    "dubbo2js": ("node/run", lambda server, _: ["node", HERE / "node/consumer.js", "20", server], ["calls"]),
    "curator5": ("java/run curator5", consumer("curator5", *CURATOR), ["cache", "query"]),
    "curator2": ("java/run curator2", consumer("curator2", *CURATOR), ["cache", "query"]),
    "spring": ("java/run spring", consumer("spring", "orders-spring"), ["spring answered"]),
    "armeria": (
        "java/run armeria",
        consumer("armeria", SERVERSET, *CURATOR, "/hosts/orders"),
        ["serverset answered", "curator answered", "legacy answered"],
    ),
    "finagle": ("java/run finagle", consumer("finagle", SERVERSET), ["serverset answered"]),
    "kazoo": (None, None, ["hostport", "nerve"]),
}


class Plane:
    """The API, where one Service has one slice that we write."""

    def __init__(self, directory, processes):
        processes.start("plane", os.environ["PLANE"], directory)
        self.url = eventually("kube-dev listens", lambda: processes.log("plane").strip())
        self.kubeconfig = directory / "kubeconfig"

    def service(self, annotations, **more):
        metadata = {"name": "orders", "annotations": {f"zoobridge.io/{name}": value for name, value in annotations.items()}}
        ports = [{"name": "http", "port": 8080}, {"name": "dubbo", "port": 20880}]
        spec = {"selector": {"app": "orders"}, "ports": ports, **more}
        self.apply("api/v1/namespaces/default/services/orders", "v1", "Service", metadata, spec=spec)

    def ready(self, pods):
        # As Kubernetes' own controller would: others need a grant of their own.
        controller = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
        metadata = {"name": "orders-1", "labels": {"kubernetes.io/service-name": "orders", **controller}}
        endpoints = [{"addresses": [pod], "conditions": {"ready": True}} for pod in pods]
        ports = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dubbo", "port": 20880, "protocol": "TCP"}]
        path = "apis/discovery.k8s.io/v1/namespaces/default/endpointslices/orders-1"
        more = {"addressType": "IPv4", "endpoints": endpoints, "ports": ports}
        self.apply(path, "discovery.k8s.io/v1", "EndpointSlice", metadata, **more)

    def apply(self, path, version, kind, metadata, **body):
        body = {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
        request = urllib.request.Request(
            f"{self.url}/{path}?fieldManager=formats&force=true",
            json.dumps(body).encode(),
            {"Content-Type": "application/apply-patch+yaml"},
            method="PATCH",
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status in (200, 201), answer.status


class Pods(http.server.ThreadingHTTPServer):
    def handle_error(self, request, address):
        """Who calls may hang up."""


class Pod(http.server.BaseHTTPRequestHandler):
    """Says which address was called."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.connection.getsockname()[0].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


class Consumer:
    """A program, and what it said last."""

    settled = 0

    def __init__(self, name, port, processes):
        self.name, self.processes = name, processes
        _, command, self.prefixes = CONSUMERS[name]
        self.patience = FINAGLE_SECONDS if name == "finagle" else CONVERGE_SECONDS
        self.calls = any(prefix == "calls" or prefix.endswith(" answered") for prefix in self.prefixes)
        self.start(command, f"127.0.0.1:{port}")

    def start(self, command, server):
        self.processes.start(self.name, *command(server, self.processes.directory / f"home-{self.name}"))

    def lines(self):
        return self.processes.log(self.name).splitlines()

    def knows(self, pods):
        """Did each of its sources say exactly these last?"""
        lines = self.lines()
        for prefix in self.prefixes:
            said = [line for line in lines if line.startswith(prefix + " ")]
            # Some tell a name as they read it, others who answered there.
            if not said or set(ADDRESS.findall(said[-1].replace(EXTERNAL_NAME, PODS[1]))) != set(pods):
                return False
        return True

    def failures(self):
        """Those since it knew its first endpoints."""
        return [line for line in self.lines() if re.match(r"failure |\w+ failed |miss ", line)][self.settled :]

    def last(self):
        return [[line for line in self.lines() if line.startswith(prefix)][-1:] for prefix in self.prefixes]


class Kazoo(Consumer):
    """Watches children with kazoo, and reads what nerve's and plain leaves say."""

    def start(self, _, server):
        self.said, self.client = [], KazooClient(server)
        self.client.start()
        self.client.ChildrenWatch("/hosts/orders", lambda names: self.say("hostport", names))
        self.client.ChildrenWatch("/nerve/services/orders", self.read)

    def read(self, names):
        hosts = []
        for name in names:
            try:
                hosts.append(json.loads(self.client.get(f"/nerve/services/orders/{name}")[0])["host"])
            except NoNodeError:
                pass  # What is gone since it was listed is gone; the next list says so.
        self.say("nerve", hosts)

    def say(self, prefix, words):
        self.said.append(f"{prefix} {' '.join(words)}")

    def lines(self):
        return list(self.said)


def run(server, names, directory):
    processes = Processes(directory)
    try:
        port = 2181
        start = {
            "ours": [os.environ["ZOOBRIDGE"], "server", "--set", f"dataDir={directory}/data", "--set", f"clientPort={port}"],
            "apache": ["bash", "-c", f"'{HERE}/apache/run' start '{directory}/apache' {port} && sleep infinity"],
        }[server]
        processes.start("zookeeper", *start)
        plane = Plane(directory, processes)
        for pod in PODS:
            threading.Thread(target=Pods((pod, 8080), Pod).serve_forever, daemon=True).start()
        providers = PODS if any(name.startswith("dubbo") for name in names) else []
        for pod in providers:
            processes.start(f"provider-{pod}", *java("dubbo3", "Provider", "20880", "20881", pod, home=directory / pod))
        for pod in providers:
            eventually(f"a provider answers at {pod}", lambda: listens(pod, 20881), 120)
        configuration = directory / "zoobridge.yaml"
        configuration.write_text(CONFIGURATION.format(port=port))
        environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
        plane.service(ANNOTATIONS)
        plane.ready(PODS[:2])
        eventually("ZooKeeper listens", lambda: listens("127.0.0.1", port), 60)
        processes.start("bridge", os.environ["ZOOBRIDGE"], "run", "--config", configuration, env=environment)
        zookeeper = KazooClient(f"127.0.0.1:{port}")
        zookeeper.start()
        eventually("the bridge publishes", lambda: zookeeper.exists("/services/orders/10.244.0.1:20880"))
        # A stranger provides the interface as well, and stays in the list.
        mapping = "/dubbo/mapping/com.acme.OrderService"
        zookeeper.set(mapping, b"stranger")
        eventually("the bridge is in the list again", lambda: zookeeper.get(mapping)[0] == b"stranger,orders")
        zookeeper.set(mapping, b"orders")
        consumers = [(Kazoo if name == "kazoo" else Consumer)(name, port, processes) for name in names]
        steps(plane, processes.running["bridge"], consumers)
        assert processes.running["bridge"].poll() is None, "the bridge has ended"
        zookeeper.stop()
    except BaseException:
        for name in processes.running:
            print(f"--- {name}", processes.log(name)[-3000:], sep="\n")
        raise
    finally:
        if (pid := directory / "apache/pid").exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)
        processes.end_all()


def steps(plane, bridge, consumers):
    def come_to_know(what, pods):
        started, waiting = time.monotonic(), list(consumers)
        while waiting:
            last, waiting = waiting[-1].name, [consumer for consumer in waiting if not consumer.knows(pods)]
            waited = time.monotonic() - started
            late = {consumer.name: consumer.last() for consumer in waiting if waited > consumer.patience}
            assert not late, f"{what}: not {pods} after {waited:.0f} s: {late}"
            time.sleep(0.1)
        print(f"{what}: all know {', '.join(pods) or 'none'} after {time.monotonic() - started:.1f} s, {last} last", flush=True)

    come_to_know("at first", PODS[:2])
    for consumer in consumers:
        consumer.settled = len(consumer.failures())
    # They know it from the bridge alone: while that is halted, from nobody.
    bridge.send_signal(signal.SIGSTOP)
    plane.ready(PODS[:3])
    time.sleep(3)
    early = [consumer.name for consumer in consumers if not consumer.knows(PODS[:2])]
    bridge.send_signal(signal.SIGCONT)
    assert not early, f"while the bridge was halted these knew something else: {early}"
    come_to_know("a pod became ready", PODS[:3])
    plane.ready([PODS[0], PODS[2]])
    come_to_know("a pod is not ready any more", [PODS[0], PODS[2]])
    # Every provider of Dubbo gets another name, and the application another revision.
    slower = {name: "methods=create,get&timeout=3000" for name in ("dubbo-parameters", "dubbo3-parameters")}
    plane.service({**ANNOTATIONS, **slower})
    time.sleep(8)
    come_to_know("parameters changed", [PODS[0], PODS[2]])
    plane.ready([PODS[3]])
    come_to_know("all were replaced", [PODS[3]])
    no_call_failed(consumers)
    plane.service({**ANNOTATIONS, **slower}, type="ExternalName", externalName=EXTERNAL_NAME)
    come_to_know("it became an alias", [PODS[1]])
    plane.ready([PODS[4]])
    plane.service({**ANNOTATIONS, **slower}, type="ClusterIP")
    come_to_know("it is an alias no more", [PODS[4]])
    # dubbo2.js reads a change 2 s late, so it never sees both, and lets go of the one before it has connected to the other.
    no_call_failed([consumer for consumer in consumers if consumer.name != "dubbo2js"])
    for consumer in consumers:
        consumer.settled += len(consumer.failures())
    plane.ready([])
    come_to_know("none is ready", [])
    for consumer in consumers:
        # Those that call notice calls that fail.
        assert consumer.failures() or not consumer.calls, f"{consumer.name} called nobody, and no call failed"
    # One is new: dubbo2.js, once it knew none, calls again only when it has connected to another.
    plane.ready([PODS[0], PODS[5]])
    come_to_know("there was none for a while", [PODS[0], PODS[5]])


def no_call_failed(consumers):
    for consumer in consumers:
        failures = consumer.failures()
        assert not failures, f"{consumer.name}: {failures[:3]}"


def listens(address, port):
    with socket.socket() as attempt:
        attempt.settimeout(1)
        return attempt.connect_ex((address, port)) == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", choices=["ours", "apache"], default="ours")
    parser.add_argument("--libraries", action="store_true", help="only print what builds them")
    parser.add_argument("consumers", nargs="+", choices=[*CONSUMERS, "all"])
    arguments = parser.parse_args()
    names = list(CONSUMERS) if "all" in arguments.consumers else arguments.consumers
    if arguments.libraries:
        libraries = {CONSUMERS[name][0] for name in names} - {None}
        # They call providers of this release.
        libraries |= {"java/run dubbo3"} if any(name.startswith("dubbo") for name in names) else set()
        modules = sorted(library.removeprefix("java/run ") for library in libraries if library.startswith("java/run "))
        print("\n".join([f"java/run {' '.join(modules)}"] * bool(modules) + sorted(libraries - {f"java/run {m}" for m in modules})))
        return
    with tempfile.TemporaryDirectory() as directory:
        started = time.monotonic()
        run(arguments.server, names, pathlib.Path(directory))
        print(f"formats: {len(names)} consumers passed against {arguments.server} in {time.monotonic() - started:.0f} s: {' '.join(names)}")


if __name__ == "__main__":
    main()
