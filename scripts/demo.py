"""Runs envoy/envoy.yaml and envoy/claim-routing.yaml in real Envoys and asks what Istio's documentation asks of such policies.

Prints a table of request, expected and got, and fails where they differ. With --keep, leaves it running until Ctrl-C.
"""

import argparse
import base64
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import yaml

from harness import ROOT, Failed, exit_on_signals, request, running_envoy, server

sys.path.insert(0, str(ROOT / "envoy"))
from idp import Keys  # noqa: E402

FOO, BAR = "example.com", "another-host.com"
# {"groups": "beta"} as the plugin hands it over: a google.protobuf.Value in base64.
CLAIMS = base64.b64encode(b"\x2a\x12\x0a\x10\x0a\x06groups\x12\x06\x1a\x04beta").decode()


def bootstrap(name: str, addresses: dict[str, int]) -> dict:
    """A file of envoy/ with every listener on a free port of this machine, and each named host on the port given for it."""
    config = yaml.safe_load((ROOT / "envoy" / name).read_text())

    def place(node):
        if isinstance(node, list):
            for each in node:
                place(each)
        elif isinstance(node, dict):
            if address := node.get("socket_address"):
                port = addresses.get(address["address"], 0)
                node["socket_address"] = {"address": "127.0.0.1", "port_value": port}
            for each in node.values():
                place(each)

    place(config)
    return config


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

    def ask(self, what: str, status: int, text: str = "", *, listener="guarded", host=FOO, path="/", token=None, headers=None):
        """One request; `text` is the body of a refusal, the cluster that routes on claims chose, or what the upstream
        has to have seen."""
        headers = dict(headers or {})
        if token:
            headers["authorization"] = f"Bearer {token}"
        answer = request(self.listeners[listener], path, host=host, headers=headers)
        if answer.status != 200:
            got = answer.body
        else:
            got = answer.headers.get("x-cluster") or (seen(answer.body) if text else "")
        self.row(what, f"{status} {text}".strip(), f"{answer.status} {got}".strip())


def seen(body: str) -> str:
    """What the upstream saw of the headers that tokens come in and that claims leave in."""
    headers = json.loads(body)["headers"]
    shown = [f"{name}: {headers[name]}" for name in sorted(headers) if name.startswith("x-jwt-") and name != "x-jwt-payload"]
    if "authorization" in headers:
        shown.append("authorization: a token")
    return ", ".join(shown) or "none of these headers"


def paint(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() else text


def story(table: Table, keys: Keys) -> None:
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
    short_life(table, keys)


def grouped(keys: Keys, *groups: str) -> str:
    return keys.mint("issuer-foo", audience=["httpbin"], claims={"groups": list(groups)})


def short_life(table: Table, keys: Keys) -> None:
    """A token of five seconds, asked for ten: good until the second that it names is over."""
    time.sleep(1.5 - time.time() % 1)  # in the middle of a second, so that both sides read the same clock
    token = keys.mint("issuer-foo", audience=["httpbin"], expire=5)
    start = time.time()
    end = int(start) + 5
    expected, got = [], []
    for second in range(10):
        time.sleep(max(0, start + second - time.time()))
        before = int(time.time())
        answer = request(table.listeners["guarded"], "/", host=FOO, headers={"authorization": f"Bearer {token}"})
        alive, over = before <= end, int(time.time()) > end
        good = answer.status == 200
        spent = answer.status == 401 and answer.body == "Jwt is expired"
        # On a machine so busy that the second ended meanwhile, either is right.
        got.append(str(answer.status) if good or spent else f"{answer.status} {answer.body}")
        expected.append(got[-1] if alive and over and (good or spent) else "200" if alive else "401")
    table.row("a token that lives 5 seconds, once a second", " ".join(expected), " ".join(got))


def keep(table: Table, keys: Keys, admin_port: int) -> None:
    guarded, opened = table.listeners["guarded"], table.listeners["open"]
    tokens = {
        "FOO": keys.mint("issuer-foo", audience=["httpbin"]),
        "BAR": keys.mint("issuer-bar", subject="bob"),
        "ADMIN": grouped(keys, "admin"),
    }
    print("\nLeft running until Ctrl-C. Things to try:\n")
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
curl localhost:{admin_port}/stats?filter=wasm

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
        ports = {}
        for name in ("claim-routing.yaml", "envoy.yaml"):
            own = folder / name
            own.mkdir()
            envoy = stack.enter_context(running_envoy(bootstrap(name, {"idp": idp, "upstream": upstream}), own))
            ports |= envoy.ports

        table = Table(ports)
        story(table, keys)
        if table.failures:
            raise Failed(f"{table.failures} of {table.rows} were not as expected.")
        print(f"All {table.rows} as expected.")
        if arguments.keep:
            keep(table, keys, envoy.admin_port)
    return 0


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    print()
