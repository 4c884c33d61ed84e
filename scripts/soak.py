"""A real Envoy with two workers under load, while its identity provider rotates, fails, lies and falls silent.

Every response is checked against what must come. Prints what was asked and answered, and fails on one wrong answer, on
a request that isn't answered, and on more fetches than the configuration allows. All times follow from the length of
the outage: old keys are refreshed twenty times within it.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness import ROOT, Failed, exit_on_signals, request, running_envoy

sys.path.insert(0, str(ROOT / "envoy"))
from idp import Keys  # noqa: E402

ISSUER = "issuer-soak"
CLIENTS = 6
WORKERS = 2
# How long a client thinks between two requests, in seconds: the load is modest, and so is the machine.
THINKING = 0.03
# A request that takes as long hangs.
HANGS = 15.0
# What lies between a fetch and the last worker's knowing of it, in seconds: a tick, and a busy machine.
SLACK = 2.0
# The plugin's longest pause after failures.
LONGEST_PAUSE = 60.0
NEVER = float("inf")

PASSED = (200, "upstream")
BAD_SIGNATURE = (401, "Jwt verification fails")
EXPIRED = (401, "Jwt is expired")
NO_KEY = (401, "Jwks doesn't have key to match kid or alg from Jwt")
NO_TOKEN = (403, "RBAC: access denied")


class Server(ThreadingHTTPServer):
    def handle_error(self, *client):
        # Envoy closes connections whose answers come too late.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(*client)


class Provider:
    """Serves the published keys, or does whatever `deed` does instead."""

    def __init__(self):
        self.published: dict[str, list] = {}
        self.deed = self.answer
        self.fetches = 0
        # The answers with the keys as they are published now.
        self.current = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer.fetches += 1
                outer.deed(self)

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def key_set(self) -> bytes:
        return json.dumps({"keys": [key for keys in self.published.values() for key in keys]}).encode()

    def answer(self, handler) -> None:
        before = self.published
        send(handler, self.key_set())
        self.current += before is self.published

    def publish(self, published: dict[str, list]) -> None:
        self.published, self.current = published, 0


def send(handler, body: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def close(handler) -> None:
    handler.close_connection = True


def garbage(key_set: bytes) -> list:
    """What comes out of providers in place of a key set."""
    many = json.dumps({"keys": [{"kty": "RSA", "kid": str(index)} for index in range(1000)]}).encode()
    return [
        lambda handler: send(handler, b"<!doctype html><title>Sign in</title>", content_type="text/html"),
        lambda handler: send(handler, key_set[: len(key_set) // 2]),
        lambda handler: send(handler, key_set, status=500),
        lambda handler: send(handler, b"", status=302, location="http://soak.test/"),
        lambda handler: send(handler, b"\x1f\x8b\x08" + key_set, content_encoding="gzip"),
        lambda handler: send(handler, b" " * 300_000),
        lambda handler: send(handler, many),
        lambda handler: send(handler, b"\xef\xbb\xbf" + key_set),
        lambda handler: send(handler, b'{"error":"try again later"}'),
        lambda handler: send(handler, b""),
    ]


class Signer:
    """A generation of keys, one of each algorithm, with a token of each, and when those tokens must pass or not."""

    def __init__(self, name: str, keys: Keys):
        self.name = name
        self.public = keys.public(name)["keys"]
        self.tokens = [keys.mint(ISSUER, signer=name, alg=alg, expire=7200) for alg in ("RS256", "ES256", "EdDSA")]
        self.must_pass_from = self.may_pass_from = NEVER
        self.must_pass_until = self.may_pass_until = NEVER

    def allowed(self, start: float, end: float) -> set:
        allowed = set()
        if end >= self.may_pass_from and start < self.may_pass_until:
            allowed.add(PASSED)
        if start < self.must_pass_from or end >= self.must_pass_until:
            allowed.add(NO_KEY)
        return allowed


class Load:
    """Clients that ask and check. What they found is counted by the phase in which they asked."""

    def __init__(self, port: int, signers: list[Signer], keys: Keys):
        self.port = port
        self.signers = signers
        self.phase = ""
        self.over = False
        self.lock = threading.Lock()
        self.answers: Counter = Counter()
        self.by_phase: Counter = Counter()
        self.slowest: dict[str, float] = {}
        self.wrong: list[str] = []
        good = signers[0].tokens[0]
        head, payload, signature = good.split(".")
        flipped = "A" if signature[20] != "A" else "B"
        forged = f"{head}.{payload}.{signature[:20]}{flipped}{signature[21:]}"
        self.always = [
            ("bad signature", forged, BAD_SIGNATURE),
            ("expired", keys.mint(ISSUER, signer=signers[0].name, expire=-600), EXPIRED),
            ("unknown key", keys.mint(ISSUER, signer="nobody"), NO_KEY),
            ("no token", None, NO_TOKEN),
        ]

    def clients(self) -> list[threading.Thread]:
        return [threading.Thread(target=self.client, args=(index,), daemon=True) for index in range(CLIENTS)]

    def client(self, seed: int) -> None:
        choice = random.Random(seed)
        connection = None
        while not self.over:
            # A new connection now and then, which Envoy gives to either worker.
            if connection is None or choice.random() < 0.02:
                if connection:
                    connection.close()
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HANGS)
            phase = self.phase
            signer = choice.choice([self.signers[0], *self.signers])
            if signer.may_pass_from < NEVER and choice.random() < 0.75:
                kind, token, must = f"good: {signer.name}", choice.choice(signer.tokens), None
            else:
                kind, token, must = choice.choice(self.always)
            start = time.monotonic()
            try:
                connection.request("GET", "/", headers={"authorization": f"Bearer {token}"} if token else {})
                response = connection.getresponse()
                got = (response.status, response.read().decode())
            except (OSError, http.client.HTTPException) as error:
                got, connection = (0, f"no answer: {error!r}"), None
            end = time.monotonic()
            allowed = {must} if must else signer.allowed(start, end)
            self.count(phase, kind, got, allowed, end - start)
            time.sleep(THINKING * choice.random() * 2)

    def count(self, phase: str, kind: str, got: tuple, allowed: set, seconds: float) -> None:
        with self.lock:
            self.answers[kind, got[0]] += 1
            self.by_phase[phase, got[0]] += 1
            self.slowest[phase] = max(self.slowest.get(phase, 0), seconds)
            if got not in allowed:
                self.by_phase[phase, "wrong"] += 1
                self.wrong.append(f"{phase}: {kind}: got {got} after {seconds:.2f} s; expected {sorted(allowed)}")


class Soak:
    """The story, and the table that is printed along with it."""

    def __init__(self, outage: float, provider: Provider, signers: list[Signer], load: Load | None = None):
        self.outage = outage
        self.cache = max(1, min(30, int(outage / 20)))
        self.refetch = max(1, self.cache // 3)
        self.timeout = 1
        self.provider = provider
        self.signers = signers
        self.load = load
        self.started = 0.0

    def grace(self) -> float:
        """How long a change may take to be everywhere, while the provider is well."""
        return max(self.refetch * 1.1, self.cache) + self.timeout + SLACK

    def publish(self, names: list[str], grace: float) -> None:
        now = time.monotonic()
        before = self.provider.published
        self.provider.publish({each.name: each.public for each in self.signers if each.name in names})
        for signer in self.signers:
            if signer.name in names and signer.name not in before:
                signer.may_pass_from, signer.must_pass_from = now, now + grace
            elif signer.name not in names and signer.name in before:
                signer.must_pass_until, signer.may_pass_until = now, now + grace

    def wait(self, what: str, seconds: float, condition) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Failed(f"{self.load.phase}: not within {seconds:.0f} seconds: {what}")
            time.sleep(0.05)

    def wait_until_current(self, seconds: float) -> None:
        """Waits until the plugin has fetched what is published, from which on it isn't the provider that takes time."""
        self.wait("a fetch of the keys", seconds, lambda: self.provider.current > 0)
        now = time.monotonic()
        for signer in self.signers:
            if signer.may_pass_from < NEVER:
                signer.must_pass_from = min(signer.must_pass_from, now + SLACK)
            if signer.must_pass_until < NEVER:
                signer.may_pass_until = min(signer.may_pass_until, now + self.grace())

    @contextlib.contextmanager
    def phase(self, name: str):
        load, fetches, start = self.load, self.provider.fetches, time.monotonic()
        load.phase = name
        yield
        seconds, fetches = time.monotonic() - start, self.provider.fetches - fetches
        with load.lock:
            counts = [load.by_phase[name, status] for status in (200, 401, 403, "wrong")]
            slowest = load.slowest.get(name, 0)
        row(name, f"{seconds:.0f} s", *counts, fetches, f"{slowest * 1000:.0f} ms")
        # Regular ones in the last quarter of a lifetime, but at whole seconds; early ones for unknown keys.
        bound = seconds / max(1, 0.75 * self.cache) + seconds / self.refetch + 3
        if fetches > bound:
            raise Failed(f"{name}: {fetches} fetches in {seconds:.0f} seconds are more than {bound:.0f}")

    def recover(self, failed_for: float) -> None:
        """Lets the provider be well again, and waits until the plugin has seen that."""
        self.provider.deed = self.provider.answer
        self.provider.current = 0
        # The pause doubles, so it is no longer than what failed before it, twice.
        pause = min(LONGEST_PAUSE, 2 * (failed_for + self.timeout + 1))
        self.wait_until_current(max(pause, self.cache) + self.timeout + SLACK)

    def run(self) -> None:
        row("phase", "lasted", 200, 401, 403, "wrong", "fetches", "slowest")
        with self.phase("steady"):
            time.sleep(self.cache)
        names = [signer.name for signer in self.signers[1:]]
        for current, name in itertools.pairwise(names[:-1]):
            with self.phase(f"rotation: {current} to {name}"):
                self.publish(["always", name], self.grace())
                self.wait_until_current(self.grace())
                self.see()
        self.slow(2 * self.cache)
        self.lies(2 * self.cache)
        self.slip()
        self.long_outage(names[-1])
        with self.phase("withdrawal of a key"):
            self.publish(["always"], self.grace())
            self.wait_until_current(self.grace())
        with self.phase("all is settled"):
            ends = [end for each in self.signers for end in (each.must_pass_from, each.may_pass_until) if end < NEVER]
            time.sleep(max(ends) - time.monotonic() + 1)

    def see(self) -> None:
        """Lets pass the time after which a new key must be known, and a while more."""
        time.sleep(SLACK + self.cache)

    def slow(self, seconds: float) -> None:
        provider = self.provider

        def late(handler):
            # In time and too late by turns.
            time.sleep(self.timeout * (0.5 if provider.fetches % 2 else 1.5))
            provider.answer(handler)

        with self.phase("slow answers"):
            provider.deed = late
            time.sleep(seconds)
            self.recover(seconds)

    def lies(self, seconds: float) -> None:
        answers = garbage(self.provider.key_set())
        with self.phase("garbage"):
            self.provider.deed = lambda handler: answers[self.provider.fetches % len(answers)](handler)
            time.sleep(seconds)
            self.recover(seconds)

    def slip(self) -> None:
        provider = self.provider

        def once(handler):
            provider.deed = provider.answer
            send(handler, b'{"keys":[]}')

        with self.phase("an empty set, by a slip"):
            provider.publish(provider.published)
            provider.deed = once
            self.wait_until_current(self.grace())

    def long_outage(self, name: str) -> None:
        provider = self.provider
        with self.phase(f"outage of {self.outage:.0f} s"):
            provider.deed = close
            time.sleep(self.outage)
        with self.phase("recovery, with another key"):
            bound = min(LONGEST_PAUSE, 2 * (self.outage + 2)) + self.grace()
            self.publish(["always", name], bound)
            self.recover(self.outage)
            self.see()


def row(name: str, *cells) -> None:
    print(f"{name:<30}" + "".join(f"{cell:>10}" for cell in cells), flush=True)


def bootstrap(soak: Soak) -> dict:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": soak.provider.port}}}
    plugin = {
        "jwtRules": [{"issuer": ISSUER, "jwksUri": "http://soak.test/jwks.json", "timeout": f"{soak.timeout}s"}],
        "jwks": {"cluster": "idp", "cacheDuration": f"{soak.cache}s", "refetchInterval": f"{soak.refetch}s"},
        "authorizationPolicies": [{"name": "token", "rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]}],
    }
    wasm = {
        "name": "soak", "failure_policy": "FAIL_RELOAD",
        "vm_config": {"vm_id": "soak", "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": "dist/portcullis.wasm"}}},
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(plugin)},
    }
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "soak",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": PASSED[1]}}},
        ]}]},
        "http_filters": [
            {"name": "portcullis", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", "config": wasm}},
            {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}},
        ],
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [{
                "name": "soak",
                "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "connection_balance_config": {"exact_balance": {}},
                "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
            }],
            "clusters": [{
                "name": "idp", "type": "STATIC", "connect_timeout": "1s",
                "load_assignment": {"cluster_name": "idp", "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}]},
            }],
        },
    }


def report(load: Load) -> None:
    statuses = sorted({status for _, status in load.answers})
    print()
    row("answers by kind", *statuses)
    for kind in sorted({kind for kind, _ in load.answers}):
        row(kind, *(load.answers[kind, status] for status in statuses))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--outage", type=float, default=600, metavar="SECONDS", help="how long the provider is away (default: %(default)s)")
    parser.add_argument("--rotations", type=int, default=3, metavar="NUMBER", help="how often it changes its keys before that (default: %(default)s)")
    arguments = parser.parse_args()
    exit_on_signals()

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-")))
        keys = Keys(folder / "keys.json")
        names = [f"key {number}" for number in range(1, arguments.rotations + 3)]
        signers = [Signer(name, keys) for name in ["always", *names]]
        soak = Soak(arguments.outage, Provider(), signers)
        soak.publish(["always", names[0]], 0)
        envoy = stack.enter_context(running_envoy(bootstrap(soak), folder, concurrency=WORKERS))
        soak.wait_until_current(10)
        load = soak.load = Load(envoy.ports["soak"], signers, keys)
        clients = load.clients()
        for client in clients:
            client.start()
        try:
            soak.run()
        finally:
            load.over = True
            for client in clients:
                client.join(HANGS * 2)
            report(load)
        check(load, clients, envoy)
        print(f"\n{sum(load.answers.values())} requests, {soak.provider.fetches} fetches, no wrong answer.")
    return 0


def check(load: Load, clients: list, envoy) -> None:
    if load.wrong:
        raise Failed("\n".join(["", f"{len(load.wrong)} wrong answers, among them:", *load.wrong[:20]]))
    if any(client.is_alive() for client in clients):
        raise Failed("a client still waits for its answer")
    stats = request(envoy.admin_port, "/stats?filter=worker_.*downstream_cx_total").body
    served = [int(line.rsplit(" ", 1)[1]) for line in stats.splitlines()]
    if len(served) != WORKERS or not all(served):
        raise Failed(f"not all workers had connections:\n{stats}")
    for sign in ("panic", "wasm_fail", "Uncaught"):
        if sign in envoy.log():
            raise Failed(f"{sign} in Envoy's log:\n{envoy.log()[-4000:]}")


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    print()
