"""What the scenarios share: a real control plane (KUBECONFIG), our server, and replicas of the bridge."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[3]
KUBECTL = [ROOT / "tests/controlplane/run", "kubectl"]
SETTLE_SECONDS = 30


def kubectl(*arguments, namespace, stdin=None):
    command = [*KUBECTL, "-n", namespace, *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def ready_set(namespace, service, port):
    """The union of all slices, as Kubernetes documents it."""
    label = f"kubernetes.io/service-name={service}"
    slices = json.loads(kubectl("get", "endpointslices", "-l", label, "-o", "json", namespace=namespace))
    ready = set()
    for item in slices["items"]:
        numbers = [p["port"] for p in item.get("ports") or [] if (p.get("name") or "") == port]
        for endpoint in item.get("endpoints") or []:
            if numbers and endpoint["conditions"].get("ready", True):
                ready.add(f"{endpoint['addresses'][0]}:{numbers[0]}")
    return ready


def eventually(what, condition, seconds=SETTLE_SECONDS):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return result


def java(module, *words, home, memory="128m", level="warn", options=()):
    """The command of a program of ../java. Dubbo keeps in its home what it knew."""
    return [
        *("java", f"-Xmx{memory}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        f"-Dorg.slf4j.simpleLogger.defaultLogLevel={level}",
        # Dubbo 2 is from before modules.
        *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("lang", "math")),
        *(f"-Duser.home={home}", *options),
        *("-cp", f"{ROOT}/tests/interop/java/.build/{module}/*", *words),
    ]


class Processes:
    """Programs, each with its log."""

    def __init__(self, directory):
        self.directory = directory
        self.running = {}

    def start(self, name, *command, env=None):
        log = open(self.directory / f"{name}.log", "a")
        self.running[name] = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, env=env)

    def end(self, name, how):
        process = self.running.pop(name)
        process.send_signal(how)
        return process.wait(timeout=30)

    def log(self, name):
        return (self.directory / f"{name}.log").read_text()

    def end_all(self):
        for process in self.running.values():
            process.kill()


class Cluster:
    """A namespace, and in it replicas of the bridge under the deployed account, before one server of ours."""

    # Beside the deployed bridge.
    components = ()
    # In front of the commands of server and bridge.
    priority = ()

    def __init__(self, zoobridge, name, directory):
        self.zoobridge = zoobridge
        self.directory = directory
        self.namespace = f"{name}-{uuid.uuid4().hex[:8]}"
        self.processes = Processes(directory)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.server = f"127.0.0.1:{free.getsockname()[1]}"
        self.config = directory / "zoobridge.yaml"
        self.config.write_text(
            f"cluster: {name}\n"
            f"zookeeper: {{connect: '{self.server}', sessionTimeout: 20s}}\n"
            f"sessions: {{namespace: {self.namespace}}}\n"
            f"leaderElection: {{namespace: {self.namespace}}}\n"
            f"http: {{address: '127.0.0.1:0'}}\n"
            f"rules:\n  - {{namespaces: ['{self.namespace}'], formats: [curator, dubbo], names: ['*'], parameters: ['*'], addresses: [pod, custom]}}\n"
        )
        self.kubeconfig = directory / "kubeconfig"
        self.overlay = directory / "overlay"
        self.overlay.mkdir()
        self.replicas = 0

    def kubectl(self, *arguments, stdin=None):
        return kubectl(*arguments, namespace=self.namespace, stdin=stdin)

    def start_server(self):
        host, port = self.server.split(":")
        data = self.directory / "data"
        settings = (f"dataDir={data}", f"clientPort={port}", f"clientPortAddress={host}", "tickTime=1000")
        self.processes.start("server", *self.priority, self.zoobridge, "server", *(w for s in settings for w in ("--set", s)))
        self.kubectl("create", "namespace", self.namespace)

    def grant(self):
        """Creates the account of the deployed bridge, and a kubeconfig with its token."""
        base = os.path.relpath(ROOT / "deploy/kustomize/bridge", self.overlay.resolve())
        # Under names of their own: those of a bridge that is installed in this cluster stay as they are.
        renamed = []
        for name in ("zoobridge", "zoobridge-operator"):
            to = [
                {"op": "replace", "path": path, "value": f"{name}-{self.namespace}"}
                for path in ("/metadata/name", "/roleRef/name")
            ]
            renamed += [("ClusterRole", name, to[:1]), ("ClusterRoleBinding", name, to)]
        kustomization = {
            "namespace": self.namespace,
            "resources": [base],
            "components": [os.path.relpath(ROOT / part, self.overlay.resolve()) for part in self.components],
            "replicas": [{"name": "zoobridge", "count": 0}],
            "patches": [
                {
                    "target": {"kind": kind, "name": name},
                    "patch": json.dumps(patch),
                    "options": {"allowNameChange": True},
                }
                for kind, name, patch in renamed
            ],
        }
        (self.overlay / "kustomization.yaml").write_text(json.dumps(kustomization))
        self.kubectl("apply", "-k", str(self.overlay))
        self.become("zoobridge", self.kubeconfig)

    def become(self, account, kubeconfig):
        """Writes a kubeconfig with the token of an account."""
        config = json.loads(self.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
        token = self.kubectl("create", "token", account).strip()
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        kubeconfig.write_text(json.dumps(config))

    def start_bridge(self):
        self.replicas += 1
        name = f"bridge-{self.replicas}"
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "POD_NAME": name}
        self.processes.start(name, *self.priority, self.zoobridge, "run", "--config", self.config, env=environment)
        return name

    def bridges(self):
        return [name for name in self.processes.running if name.startswith("bridge")]

    def leader(self):
        """The replica that leads: of those that run, the one that says so."""
        return next((name for name in self.bridges() if "sessions attached" in self.processes.log(name)), None)

    def end_leader(self, how):
        """Ends the leader; the other one resumes its sessions. Says who followed whom."""
        old = eventually("one leads", self.leader)
        assert self.processes.end(old, how) == (-how if how == signal.SIGKILL else 0), self.processes.log(old)
        new = eventually("another one leads", self.leader)
        assert "resumed=1" in self.processes.log(new), self.processes.log(new)
        return f"{new} follows {old}"

    def end_bridges(self):
        for name in self.bridges():
            assert self.processes.end(name, signal.SIGTERM) == 0, self.processes.log(name)

    def stop(self):
        self.processes.end_all()
        self.kubectl("delete", "-k", str(self.overlay), "--ignore-not-found", "--wait=false")
        kubectl("delete", "namespace", self.namespace, "--wait=false", "--ignore-not-found", namespace="default")


def run(scenario_in):
    """Runs the scenario that this makes of a directory; if it fails, prints the end of each log."""
    if "KUBECONFIG" not in os.environ:
        sys.exit("KUBECONFIG names no cluster; tests/controlplane/run up starts one")
    with tempfile.TemporaryDirectory() as directory:
        scenario = scenario_in(pathlib.Path(directory))
        try:
            scenario.start()
            scenario.steps()
            scenario.verdict()
        except BaseException:
            for log in sorted(pathlib.Path(directory).glob("*.log")):
                lines = [line[:400] for line in log.read_text().splitlines()[-40:]]
                print(f"--- the end of {log.name}\n" + "\n".join(lines))
            raise
        finally:
            scenario.stop()
