"""kazoo with TLS and with SASL DIGEST-MD5: secure.py HOST:PLAIN HOST:SECURE DIR."""

import sys

from kazoo.client import KazooClient
from kazoo.exceptions import AuthFailedError, ConnectionClosedError, NoAuthError, SessionExpiredError
from kazoo.security import Permissions, make_acl

plain, secure, keys = sys.argv[1:4]


def connected(**options):
    client = KazooClient(timeout=10, **options)
    client.start(timeout=15)
    return client


tls = connected(
    hosts=secure,
    use_ssl=True,
    verify_certs=True,
    ca=f"{keys}/ca.pem",
    certfile=f"{keys}/bob.pem",
    keyfile=f"{keys}/bob.key",
)
acl = [make_acl("auth", "me", all=True)]
tls.create("/kazoo-tls", b"", acl)
print("tls", sorted((a.id.scheme, a.id.id) for a in tls.get_acls("/kazoo-tls")[0]))
tls.create("/kazoo-large", b"x" * 900_000)
assert tls.get("/kazoo-large")[0] == b"x" * 900_000

sasl = connected(
    hosts=plain, sasl_options={"mechanism": "DIGEST-MD5", "username": "bob", "password": "bobsecret"}
)
sasl.create("/kazoo-sasl", b"", acl)
print("sasl", [(a.id.scheme, a.id.id) for a in sasl.get_acls("/kazoo-sasl")[0]])

anonymous = connected(hosts=plain)
for path in ("/kazoo-tls", "/kazoo-sasl"):
    try:
        anonymous.get(path)
        print(path, "readable")
    except NoAuthError:
        print(path, "hidden")

wrong = KazooClient(
    hosts=plain,
    timeout=10,
    sasl_options={"mechanism": "DIGEST-MD5", "username": "bob", "password": "wrong"},
    connection_retry={"max_tries": 1},
)
try:
    # It believes to be connected before it has said who it is.
    wrong.start(timeout=5)
    wrong.get("/")
    print("wrong password: served")
except (AuthFailedError, ConnectionClosedError, SessionExpiredError, wrong.handler.timeout_exception):
    print("wrong password: refused")
finally:
    wrong.stop()

for client in (tls, sasl, anonymous):
    client.stop()
    client.close()
