"""Compares what operators read of Apache's server and of ours, behind the same requests.

operations.py CLIENT ADMIN (Apache's) CLIENT ADMIN METRICS (ours) CLIENT METRICS (of a second server of Apache's: with
its metrics for Prometheus, mntr and monitor have their names of these)
"""

import json
import re
import socket
import sys
import urllib.error
import urllib.request

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError, QuotaExceededError
from prometheus_client.parser import text_string_to_metric_families

# Of what goes on inside of Apache's server and has no counterpart here, or is not counted.
UNCOUNTED = {
    "ack_latency", "close_session_prep_time", "insecure_admin_count", "learner_handler_qp_size",
    "learner_handler_qp_time_ms", "outstanding_changes_queued", "outstanding_changes_removed",
    "prep_process_time", "prep_processor_queue_size", "prep_processor_queue_time_ms", "proposal_process_time",
    "read_final_proc_time_ms", "restore_time", "startup_txns_loaded", "socket_closing_time", "startup_snap_load_time", "startup_txns_load_time",
    "sync_processor_queue_and_flush_time_ms", "sync_processor_queue_flush_time_ms", "sync_processor_queue_size",
    "sync_processor_queue_time_ms", "tls_handshake_exceeded", "unsuccessful_handshake", "write_final_proc_time_ms",
    "jvm_pause_time_ms",
}  # fmt: skip
PER_NAMESPACE = {
    "read_per_namespace", "write_per_namespace", "quota_exceeded_error_per_namespace",
    "quota_bytes_limit_per_namespace", "quota_bytes_usage_per_namespace", "quota_count_limit_per_namespace",
    "quota_count_usage_per_namespace",
}  # fmt: skip
# What is the same number, whichever server counts.
SAME = PER_NAMESPACE | {
    "server_state", "znode_count", "watch_count", "ephemerals_count", "approximate_data_size", "global_sessions",
    "local_sessions", "num_alive_connections", "connection_request_count", "outstanding_requests",
    "connection_drop_probability", "node_created_watch_count", "digest_mismatches_count", "packets_received",
    "auth_failed_count", "last_client_response_size", "response_bytes",
}  # fmt: skip
failures = []


def check(what, theirs, ours):
    if theirs != ours:
        failures.append(f"{what}\n  Apache: {theirs!r}\n  ours:   {ours!r}")


def word(port, name, more=b""):
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(name.encode() + more)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer.decode()


def shape(text):
    """Numbers, dates, versions and paths of this run are only there; their form is kept."""
    text = re.sub(r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}", "DATE", text)
    text = re.sub(r"version: .*", "version: VERSION", text)
    text = re.sub(r"(?<==)/\S+", "PATH", text)
    text = re.sub(r"0x[0-9a-f]+", "HEX", text)
    text = re.sub(r"\d+\.\d+(?!\.)\b", "FRACTION", text)
    return re.sub(r"\d+", "N", text)


def kind(value):
    """The types in a JSON value; of a list, those of its first member."""
    if isinstance(value, dict):
        return {key: kind(one) for key, one in value.items()}
    if isinstance(value, list):
        return [kind(value[0])] if value else []
    return type(value).__name__


def get(port, path, headers={}, method="GET"):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read()


def work(port):
    """Leaves a session with ephemerals and watches of every kind, connected."""
    client = KazooClient(f"127.0.0.1:{port}", timeout=20)
    client.start(timeout=20)
    client.create("/ops", b"data")
    client.create("/ops/e", b"12345", ephemeral=True)
    client.create("/ops/s-", b"", sequence=True)
    client.get("/ops", watch=lambda event: None)
    client.get_children("/ops", watch=lambda event: None)
    client.exists("/ops/absent", watch=lambda event: None)
    client.exists("/ops/made", watch=lambda event: None)
    client.create("/ops/made", b"")
    client.set("/ops/made", b"2")
    client.delete("/ops/made")
    try:
        client.get("/ops/absent")
    except NoNodeError:
        pass
    for top, limits in (("soft", b"count=1,bytes=-1"), ("hard", b"count=-1,bytes=-1=;countHardLimit=1")):
        client.create(f"/{top}", b"12")
        client.create(f"/zookeeper/quota/{top}/zookeeper_limits", limits, makepath=True)
        client.create(f"/zookeeper/quota/{top}/zookeeper_stats", b"count=0,bytes=0")
        try:
            client.create(f"/{top}/one", b"3")
        except QuotaExceededError:
            check("who is refused", "hard", top)
    client.get("/soft/one")
    client.get_children("/hard")
    return client


def numbers(port):
    """The lines of mntr, without the prefix."""
    lines = word(port, "mntr").splitlines()
    check("mntr begins", True, all(re.fullmatch(r"zk_\S+\t.*", line) for line in lines))
    return dict(line.removeprefix("zk_").split("\t", 1) for line in lines)


def family(key):
    """The metric that a key of mntr belongs to."""
    key = re.sub(r"^(avg|min|max|cnt|sum|p50|p95|p99|p999)_(?!latency|client_response)", "", key)
    return re.sub(r"^\w+?_((read|write)_per_namespace|quota_\w+_per_namespace)$", r"\1", key)


def number_kind(text):
    return "fraction" if re.fullmatch(r"-?\d+\.\d+(E\d+)?", text) else "whole" if text.isdigit() else "text"


def compare_words(theirs, ours):
    for name in ("ruok", "isro", "wchs", "hash"):
        check(name, word(theirs, name), word(ours, name))
    for name in ("srvr", "conf", "dirs", "wchc", "wchp"):
        check(name, shape(word(theirs, name)), shape(word(ours, name)))
    # Connections come in no order.
    for name in ("stat", "cons"):
        check(name, *[sorted(shape(word(port, name)).split("\n")) for port in (theirs, ours)])
    # How many ticks and how many sets of them there are differs.
    lines = [{shape(line) for line in word(port, "dump").splitlines()} for port in (theirs, ours)]
    check("dump", *lines)
    keys = [[line.split("=")[0] for line in word(port, "envi").splitlines()] for port in (theirs, ours)]
    # Java has these only with a GUI or an agent.
    check("envi", *keys)
    for name, more in (("gtmk", b""), ("stmk", (7).to_bytes(8, "big")), ("gtmk", b"")):
        check(name, word(theirs, name, more), word(ours, name, more))

    apache, zoobridge = numbers(theirs), numbers(ours)
    check("mntr: keys only of Apache's", set(), {family(key) for key in apache if key not in zoobridge} - UNCOUNTED)
    check("mntr: keys only of ours", set(), {key for key in zoobridge if key not in apache})
    check("mntr: what is said to be uncounted", set(), UNCOUNTED & {family(key) for key in zoobridge})
    both = [key for key in apache if key in zoobridge and key != "version"]
    check("mntr: kinds", {k: number_kind(apache[k]) for k in both}, {k: number_kind(zoobridge[k]) for k in both})
    same = [key for key in both if family(key) in SAME]
    check("mntr: numbers", {key: apache[key] for key in same}, {key: zoobridge[key] for key in same})
    print(f"mntr: {len(both)} keys of Apache's {len(apache)}, {len(same)} of them with equal values")

    for name in ("crst", "srst", "srvr"):
        check(name, shape(word(theirs, name)), shape(word(ours, name)))


def compare_admin(theirs, ours):
    links = get(theirs, "/commands")[2].decode()
    check("the list of commands", links, get(ours, "/commands/")[2].decode())
    names = re.findall(r">(\w+)<", links)
    aliases = "conf config crst cons env envi gtmk icfg isro lsnp lead mntr orst obsr srvr stmk srst stat sysp wchs wchc wchp"
    for name in [*names, *aliases.split(), "stmk?traceMask=9", "stmk?traceMask=x", "nosuch", "snap", "snapshot"]:
        (code, headers, apache), (own_code, own_headers, zoobridge) = (
            get(port, f"/commands/{name}") for port in (theirs, ours)
        )
        check(f"{name}: status", code, own_code)
        check(f"{name}: type", headers["content-type"], own_headers["content-type"])
        apache, zoobridge = json.loads(apache), json.loads(zoobridge)
        if name in ("monitor", "mntr"):
            for answer in (apache, zoobridge):
                for key in [key for key in answer if family(key) in UNCOUNTED]:
                    del answer[key]
            check(f"{name}", kind(apache), kind(zoobridge))
            continue
        if name in ("system_properties", "sysp"):
            apache = {key: value for key, value in apache.items() if key.startswith(("zookeeper.", "error", "command"))}
            check(name, set(), set(kind(apache)) - set(kind(zoobridge)))
            continue
        # Members have Apache's order, too; but for how many ticks or paths there are.
        # The order of a bean's getters is the JVM's.
        is_bean = name in ("server_stats", "srvr", "stats", "stat")
        check(name, *[json.dumps(keyless(kind(one)), sort_keys=is_bean) for one in (apache, zoobridge)])
    for headers in ({}, {"Authorization": "digest"}, {"Authorization": "nosuch x"}, {"Authorization": "ip"}):
        answers = [get(port, "/commands/snapshot", headers) for port in (theirs, ours)]
        check(f"snapshot with {headers}", *[code for code, *_ in answers])
        if answers[0][0] == 200:
            check("snapshot: last_zxid", *[found["last_zxid"] for _, found, _ in answers])
            check("snapshot: size", *[int(found["snapshot_size"]) == len(body) for _, found, body in answers])
            check("snapshot: type", *[found["content-type"] for _, found, _ in answers])
            check("snapshot: begins", *[body[:8] for *_, body in answers])
    print(f"AdminServer: {len(names)} commands")


def keyless(kinds):
    """Members whose names are numbers or paths are one."""
    if not isinstance(kinds, dict):
        return [keyless(one) for one in kinds] if isinstance(kinds, list) else kinds
    named = {("*" if re.fullmatch(r"-?\d+|/.*", key) else key): keyless(one) for key, one in kinds.items()}
    return named


def compare_metrics(theirs, ours):
    def families(port):
        text = get(port, "/metrics")[2].decode()
        return {family.name: family for family in text_string_to_metric_families(text)}

    apache, zoobridge = families(theirs), families(ours)
    java = {name for name in apache if name.startswith("jvm_")}
    check("metrics only of Apache's", set(), set(apache) - set(zoobridge) - UNCOUNTED - java)
    known = {name for name in zoobridge if name.startswith("process_")}
    check("metrics only of ours", set(), set(zoobridge) - set(apache) - known)
    both = sorted(set(apache) & set(zoobridge))
    check("metrics: types", {n: apache[n].type for n in both}, {n: zoobridge[n].type for n in both})
    for name in ("znode_count", "watch_count", "ephemerals_count", "approximate_data_size", "global_sessions"):
        check(f"metrics: {name}", apache[name].samples[0].value, zoobridge[name].samples[0].value)
    for name in PER_NAMESPACE:
        # Ours have no median.
        samples = [[one for one in of[name].samples if "quantile" not in one.labels] for of in (apache, zoobridge)]
        check(f"metrics: {name}", *[{(one.name, one.labels["key"]): one.value for one in of} for of in samples])
    print(f"metrics: {len(both)} of Apache's {len(apache)} names")


def main():
    their_client, their_admin, our_client, our_admin, our_metrics, second_client, their_metrics = map(int, sys.argv[1:])
    clients = [work(port) for port in (their_client, our_client, second_client)]
    check("kazoo's server_version", clients[0].server_version(), clients[1].server_version())
    compare_words(their_client, our_client)
    compare_admin(their_admin, our_admin)
    compare_metrics(their_metrics, our_metrics)
    for client in clients:
        client.stop()
    if failures:
        sys.exit("operations: differences\n" + "\n".join(failures))


main()
