"""Runs envoy/envoy.yaml and the other examples beside it in real Envoys and asks what Istio's documentation asks of such
policies.

Prints a table of request, expected and got, and fails where they differ. With --keep, leaves it running until Ctrl-C.
"""

import argparse
import base64
import contextlib
import json
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path

import yaml

from harness import ROOT, Failed, exit_on_signals, request, running_envoy, server

sys.path.insert(0, str(ROOT / "envoy"))
import certs  # noqa: E402
from idp import Keys  # noqa: E402

FOO, BAR = "example.com", "another-host.com"
# {"groups": "beta"} as the plugin hands it over: a google.protobuf.Value in base64.
CLAIMS = base64.b64encode(b"\x2a\x12\x0a\x10\x0a\x06groups\x12\x06\x1a\x04beta").decode()


def bootstrap(stack: contextlib.ExitStack, name: str, addresses: dict[str, int], certificates: Path) -> dict:
    """A file of envoy/ with every listener on a free port of this machine, and each named host on the port given for it."""
    config = yaml.safe_load((ROOT / "envoy" / name).read_text())
    # The plugin's configuration names these ports, too.
    ports = {port: stack.enter_context(free_port()) for port in sorted(set(values(config, "targetPort")))}

    def place(node):
        if isinstance(node, list):
            return [place(each) for each in node]
        if not isinstance(node, dict):
            return node
        if address := node.get("socket_address"):
            port = addresses.get(address["address"], ports.get(address["port_value"], 0))
            return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        placed = {name: place(value) for name, value in node.items()}
        if "targetPort" in placed:
            placed["targetPort"] = ports[placed["targetPort"]]
        if str(placed.get("filename", "")).startswith("certs/"):
            placed["filename"] = str(certificates / Path(placed["filename"]).name)
        return placed

    return place(config)


def values(node, name: str):
    """What members of this name hold, however deep."""
    if isinstance(node, dict):
        for member, value in node.items():
            yield from [value] if member == name else values(value, name)
    elif isinstance(node, list):
        for each in node:
            yield from values(each, name)


@contextlib.contextmanager
def free_port():
    """A port of our own, which Envoy shares."""
    with socket.socket() as own:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(("127.0.0.1", 0))
        yield own.getsockname()[1]


def client(certificates: Path, name: str | None) -> ssl.SSLContext:
    """Who comes by TLS, with this certificate if with one."""
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}-key.pem")
    return context


class Table:
    """Prints rows as they happen, and knows whether all were as expected."""

    def __init__(self, listeners: dict[str, int]):
        self.listeners = listeners
        self.failures = 0
        self.rows = 0
        self.line("request", "expected", "got")

    def line(self, what: str, expected: str, got: str) -> None:
        print(f"{what:<58} {expected:<42} {got}", flush=True)

    def row(self, what: str, expected: str, got: str) -> None:
        self.rows += 1
        failed = got != expected
        self.failures += failed
        mark = f"{got}  <-- not as expected" if failed else got
        self.line(what, expected, paint(mark, "31" if failed else "32"))

    def ask(self, what: str, status: int, text: str = "", *, listener="guarded", host=FOO, path="/", token=None, headers=None, tls=None):
        """One request; `text` is the body of a refusal, the cluster that routes on claims chose, or what the upstream
        has to have seen."""
        headers = dict(headers or {})
        if token:
            headers["authorization"] = f"Bearer {token}"
        answer = request(self.listeners[listener], path, host=host, headers=headers, tls=tls)
        if answer.status != 200:
            got = answer.body
        else:
            got = answer.headers.get("x-cluster") or (seen(answer.body) if text else "")
        self.row(what, f"{status} {text}".strip(), f"{answer.status} {got}".strip())


def seen(body: str) -> str:
    """What the upstream saw of the headers that tokens come in and that claims leave in."""
    headers = json.loads(body)["headers"]
    ours = ("x-ext-authz-", "x-jwt-")
    shown = [f"{name}: {headers[name]}" for name in sorted(headers) if name.startswith(ours) and name != "x-jwt-payload"]
    if "authorization" in headers:
        shown.append("authorization: a token")
    return ", ".join(shown) or "none of these headers"


def paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() else text


def story(table: Table, keys: Keys, certificates: Path) -> None:
    good = keys.mint("issuer-foo", audience=["httpbin"])
    head, payload, signature = good.split(".")
    forged = f"{head}.{payload}.{signature[:20]}{'AB' if signature[20] != 'A' else 'BA'}{signature[22:]}"
    other = keys.mint("issuer-baz", audience=["httpbin"], signer="issuer-foo")
    bar = keys.mint("issuer-bar", subject="bob")

    ask = table.ask
    ask("open: no token", 200, listener="open")
    ask("open: good token", 200, listener="open", token=good)
    ask("open: bad signature", 401, "Jwt verification fails", listener="open", token=forged)
    ask("no token", 403, "RBAC: access denied")
    ask("good token", 200, token=good)
    ask("good token in ?access_token=", 200, path=f"/?access_token={good}")
    ask("wrong issuer", 401, "Jwt issuer is not configured", token=other)
    ask("bad signature", 401, "Jwt verification fails", token=forged)
    ask("expired", 401, "Jwt is expired", token=keys.mint("issuer-foo", audience=["httpbin"], expire=-5))
    ask("wrong audience", 403, "Audiences in Jwt are not allowed", token=keys.mint("issuer-foo", audience=["elsewhere"]))
    ask("/healthz, no token", 200, path="/healthz")
    ask("/healthz, bad signature", 401, "Jwt verification fails", path="/healthz", token=forged)
    ask(f"issuer-bar on {BAR}", 200, host=BAR, token=bar)
    ask(f"issuer-bar on {FOO}", 403, "RBAC: access denied", token=bar)
    ask(f"issuer-foo on {BAR}", 403, "RBAC: access denied", host=BAR, token=good)
    member = keys.mint("issuer-foo", audience=["httpbin"], claims={"org": {"team": "blue"}})
    ask("claims arrive as headers, the token doesn't", 200, "x-jwt-sub: alice, x-jwt-team: blue", token=member)
    ask("x-jwt-sub: root sent along with a token", 200, "x-jwt-sub: alice", token=good, headers={"x-jwt-sub": "root"})
    ask("x-jwt-sub: root sent without a token", 200, "none of these headers", listener="open", headers={"x-jwt-sub": "root"})
    ask("/admin, groups [dev]", 403, "RBAC: access denied", path="/admin", token=grouped(keys, "dev"))
    ask("/admin, no groups", 403, "RBAC: access denied", path="/admin", token=good)
    ask("/admin, groups [dev, admin]", 200, path="/admin", token=grouped(keys, "dev", "admin"))
    beta = grouped(keys, "dev", "beta")
    ask("route on @request.auth.claims.groups: no token", 200, "stable", listener="routed")
    ask("route on @request.auth.claims.groups: [dev]", 200, "stable", listener="routed", token=grouped(keys, "dev"))
    ask("route on @request.auth.claims.groups: [dev, beta]", 200, "beta", listener="routed", token=beta)
    ask("route on @request.auth.claims.groups: bad signature", 401, "Jwt verification fails", listener="routed", token=forged)
    ask("x-jwt-claims: {groups: beta} sent without a token", 200, "stable", listener="routed", headers={"x-jwt-claims": CLAIMS})
    older_policies(table, keys, certificates)
    short_lives(table, keys)


def older_policies(table: Table, keys: Keys, certificates: Path) -> None:
    """What Istio's task on authentication policies asks, as far as a filter sees it."""
    sleep, stranger, nobody = (client(certificates, name) for name in ("sleep", "stranger", None))
    good = keys.mint("issuer-foo")
    peer, origin = "Peer authentication failed.", "Origin authentication failed."

    ask = table.ask
    ask("MeshPolicy with mtls: plain text", 401, peer, listener="mesh")
    ask("MeshPolicy with mtls: TLS without a certificate", 401, peer, listener="mesh", tls=nobody)
    ask("MeshPolicy with mtls: a certificate", 200, listener="mesh", tls=sleep)
    ask("MeshPolicy with mtls: one of another trust domain", 401, peer, listener="mesh", tls=stranger)
    ask("Policy for port 1234 with mtls: plain text", 401, peer, listener="bar-1234")
    ask("Policy for port 1234 with mtls: a certificate", 200, listener="bar-1234", tls=sleep)
    ask("Policy for port 1234 with mtls: port 8000, plain text", 200, listener="bar")
    ask("Policy with a token, which replaces mtls: no token", 401, origin, listener="foo")
    ask("Policy with a token: good token, forwarded", 200, "authorization: a token", listener="foo", token=good)
    ask("Policy with a token: another issuer's", 401, origin, listener="foo", token=keys.mint("issuer-bar"))
    ask("Policy with a token: excluded /healthz, no token", 200, listener="foo", path="/healthz")
    ask("Policy with mtls and a token: both", 200, listener="vault", token=good, tls=sleep)
    ask("Policy with mtls and a token: plain text, good token", 401, peer, listener="vault", token=good)
    ask("Policy with mtls and a token: a certificate, no token", 401, origin, listener="vault", tls=sleep)


def external_check(table: Table, service) -> None:
    """What Istio's task on external authorization asks of HTTP, and what comes of a service that is gone."""
    denied = "no `x-ext-authz: allow` in the request"
    allowed = "x-ext-authz-check-result: allowed"
    spoof = {"x-ext-authz-check-result": "allowed"}

    def ask(what, status, text="", *, path="/headers", headers=None):
        table.ask(f"CUSTOM policy: {what}", status, text, listener="checked", path=path, headers=headers)

    ask("x-ext-authz: allow", 200, allowed, headers={"x-ext-authz": "allow"})
    ask("x-ext-authz: deny", 403, denied, headers={"x-ext-authz": "deny"})
    ask("the service's header, sent by a client", 403, denied, headers=spoof)
    ask("the same on /ip, which isn't asked about", 200, "none of these headers", path="/ip", headers=spoof)
    service.close()
    ask("the service is down", 403, headers={"x-ext-authz": "allow"})
    ask("the service is down, /ip", 200, path="/ip")


def grouped(keys: Keys, *groups: str) -> str:
    return keys.mint("issuer-foo", audience=["httpbin"], claims={"groups": list(groups)})


def short_lives(table: Table, keys: Keys) -> None:
    """Tokens of five seconds, asked for ten: good until the second that they name is over."""
    time.sleep(1.5 - time.time() % 1)  # in the middle of a second, so that both sides read the same clock
    token = keys.mint("issuer-foo", audience=["httpbin"], expire=5)
    start = time.time()
    end = int(start) + 5
    texts = {"guarded": "Jwt is expired", "foo": "Origin authentication failed."}
    expected, got = {name: [] for name in texts}, {name: [] for name in texts}
    for second in range(10):
        time.sleep(max(0, start + second - time.time()))
        for name, text in texts.items():
            before = int(time.time())
            answer = request(table.listeners[name], "/", host=FOO, headers={"authorization": f"Bearer {token}"})
            alive, over = before <= end, int(time.time()) > end
            good = answer.status == 200
            spent = answer.status == 401 and answer.body == text
            # On a machine so busy that the second ended meanwhile, either is right.
            got[name].append(str(answer.status) if good or spent else f"{answer.status} {answer.body}")
            expected[name].append(got[name][-1] if alive and over and (good or spent) else "200" if alive else "401")
    table.row("a token that lives 5 seconds, once a second", " ".join(expected["guarded"]), " ".join(got["guarded"]))
    table.row("the same where a Policy asks for it", " ".join(expected["foo"]), " ".join(got["foo"]))


def keep(table: Table, keys: Keys, certificates: Path, admin_port: int) -> None:
    mesh, guarded, opened = (table.listeners[name] for name in ("mesh", "guarded", "open"))
    tokens = {
        "FOO": keys.mint("issuer-foo", audience=["httpbin"]),
        "BAR": keys.mint("issuer-bar", subject="bob"),
        "ADMIN": grouped(keys, "admin"),
    }
    print("\nLeft running until Ctrl-C. To be pasted into another shell, in this folder:\n")
    for name, token in tokens.items():
        print(f"{name}={token}")
    print(
        f"""
curl -i localhost:{opened}/
curl -i localhost:{guarded}/ -H 'host: {FOO}'
curl -i localhost:{guarded}/ -H 'host: {FOO}' -H "authorization: Bearer $FOO"
curl -i localhost:{guarded}/ -H 'host: {BAR}' -H "authorization: Bearer $BAR"
curl -i localhost:{guarded}/admin -H 'host: {FOO}' -H "authorization: Bearer $ADMIN"
curl -i localhost:{guarded}/healthz
curl -i localhost:{mesh}/
(cd {certificates} && curl -i --cacert ca.pem --cert sleep.pem --key sleep-key.pem https://localhost:{mesh}/)
curl -s 'localhost:{admin_port}/stats/prometheus?filter=portcullis_requests_total&usedonly'

TOKEN=$({Path(sys.executable).relative_to(ROOT)} envoy/idp.py --keys {keys.path} token --audience httpbin --expire 5)""",
        flush=True,
    )
    while True:
        time.sleep(3600)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave it running, and print what to try")
    arguments = parser.parse_args()
    exit_on_signals()

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-")))
        keys = Keys(folder / "keys.json")
        idp = stack.enter_context(server([ROOT / "envoy/idp.py", "--keys", keys.path, "serve", "--listen", "127.0.0.1:0"]))
        upstream = stack.enter_context(server([ROOT / "envoy/upstream.py", "127.0.0.1:0"]))
        certificates = folder / "certs"
        certs.make(certificates)
        # It ends before the others.
        service = stack.enter_context(contextlib.ExitStack())
        check = service.enter_context(server([ROOT / "envoy/ext_authz.py", "127.0.0.1:0"]))
        addresses = {"idp": idp, "upstream": upstream, "ext-authz": check}
        ports = {}
        for name in ("policy-v1alpha1.yaml", "claim-routing.yaml", "ext-authz.yaml", "envoy.yaml"):
            own = folder / name
            own.mkdir()
            config = bootstrap(stack, name, addresses, certificates)
            envoy = stack.enter_context(running_envoy(config, own))
            ports |= envoy.ports

        table = Table(ports)
        story(table, keys, certificates)
        external_check(table, service)
        if table.failures:
            raise Failed(f"{table.failures} of {table.rows} were not as expected.")
        print(f"All {table.rows} as expected.")
        if arguments.keep:
            keep(table, keys, certificates, envoy.admin_port)
    return 0


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    print()
