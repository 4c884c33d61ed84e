"""CPU per request of Envoy with nothing, with its own jwt_authn + rbac as Istio sets them up, and with Portcullis; and
what many policies cost either.

One Envoy with a single worker on one core, one listener per variant, wrk on another core, the variants in turn in every
round. CPU is what the kernel counted for Envoy's process; the numbers are of this machine, their ratios are what lasts.
"""

import argparse
import contextlib
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "envoy")]
from harness import Envoy, Failed, exit_on_signals, request, running_envoy  # noqa: E402
from idp import Keys  # noqa: E402

ISSUER, SUBJECT = "https://idp.example.com", "alice"
# How many policies, each with a path of its own, are compared with one; and how many are loaded.
MANY = 5000
LOADED = 10_000
# Of a plugin with one worker: Envoy configures it on its main thread and on that one, and once to try it.
CONFIGURED, KEPT = 3, 2
TYPES = "type.googleapis.com/envoy.extensions.filters"


def native(jwks: str) -> list[dict]:
    """The filters that Istio makes of what `portcullis` says."""
    def equals(claim: str, value: str) -> dict:
        path = [{"key": "payload"}, {"key": claim}]
        matcher = {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": {"string_match": {"exact": value}}}
        return {"sourced_metadata": {"metadata_matcher": matcher}}

    principal = {"and_ids": {"ids": [equals("iss", ISSUER), equals("sub", SUBJECT)]}}
    healthz = {"url_path": {"path": {"exact": "/healthz"}}}
    policies = {
        "ns[foo]-policy[bench]-rule[0]": {"permissions": [{"any": True}], "principals": [principal]},
        "ns[foo]-policy[bench]-rule[1]": {"permissions": [healthz], "principals": [{"any": True}]},
    }
    provider = {
        "issuer": ISSUER,
        "local_jwks": {"inline_string": jwks},
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": {"space_delimited_claims": ["permission", "scope"]},
    }
    requires = {"requires_any": {"requirements": [{"provider_name": "origins-0"}, {"allow_missing": {}}]}}
    return [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{TYPES}.http.jwt_authn.v3.JwtAuthentication",
                "providers": {"origins-0": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": requires}],
                "bypass_cors_preflight": True,
            },
        },
        rbac(policies),
    ]


def rbac(policies: dict) -> dict:
    return {
        "name": "envoy.filters.http.rbac",
        "typed_config": {"@type": f"{TYPES}.http.rbac.v3.RBAC", "rules": {"action": "ALLOW", "policies": policies}},
    }


def native_policies(count: int) -> list[dict]:
    """The filter that Istio makes of what `portcullis_policies` says."""
    def policy(number: int) -> dict:
        return {"permissions": [{"url_path": {"path": {"exact": f"/p/{number}"}}}], "principals": [{"any": True}]}

    return [rbac({f"ns[foo]-policy[p{number}]-rule[0]": policy(number) for number in range(count)})]


def portcullis(jwks: str) -> list[dict]:
    rules = [{"from": [{"source": {"requestPrincipals": [f"{ISSUER}/{SUBJECT}"]}}]}, {"to": [{"operation": {"paths": ["/healthz"]}}]}]
    return plugin({
        "jwtRules": [{"issuer": ISSUER, "jwks": jwks}],
        "authorizationPolicies": [{"name": "bench", "action": "ALLOW", "rules": rules}],
    })


def portcullis_policies(count: int) -> list[dict]:
    def policy(number: int) -> dict:
        return {"name": f"p{number}", "rules": [{"to": [{"operation": {"paths": [f"/p/{number}"]}}]}]}

    return plugin({"authorizationPolicies": [policy(number) for number in range(count)]})


def plugin(configuration: dict) -> list[dict]:
    policy = {**configuration, "workload": {"name": "bench", "namespace": "foo", "labels": {}}}
    config = {
        "name": "portcullis",
        "vm_config": {
            "vm_id": "portcullis",
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(ROOT / "dist/portcullis.wasm")}},
        },
        "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(policy)},
    }
    return [{"name": "portcullis", "typed_config": {"@type": f"{TYPES}.http.wasm.v3.Wasm", "config": config}}]


def listener(name: str, filters: list[dict]) -> dict:
    router = {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{TYPES}.http.router.v3.Router"}}
    route = {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}
    manager = {
        "@type": f"{TYPES}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [*filters, router],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }


def cpu_seconds(pid: int) -> float:
    """What the kernel has counted for all threads of a process, in nanoseconds' precision."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def load(core: int, port: int, path: str, token: str | None, seconds: float) -> int:
    """Keeps 16 connections busy, and says how many requests were answered with 200."""
    headers = ["-H", f"authorization: Bearer {token}"] if token else []
    command = ["taskset", "-c", str(core), "wrk", "-t1", "-c16", f"-d{seconds}s", *headers, f"http://127.0.0.1:{port}{path}"]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    done = re.search(r"(\d+) requests in", out)
    if not done or "Non-2xx" in out or "Socket errors" in out:
        raise Failed(f"wrk had other answers than 200:\n{out}")
    return int(done[1])


def check(envoy: Envoy, filters: list[str], token: str) -> None:
    """What is measured must guard: the same answers from both chains."""
    forged = token[:-20] + ("A" if token[-20] != "A" else "B") + token[-19:]
    for name in filters:
        answers = [
            request(envoy.ports[name], path, headers={"authorization": f"Bearer {sent}"} if sent else {}).status
            for path, sent in (("/", token), ("/", forged), ("/", None), ("/healthz", None))
        ]
        if answers != [200, 401, 403, 200]:
            raise Failed(f"{name} answered {answers} to a good token, a forged one, none, and none on /healthz")


def measure(rounds: int, seconds: float) -> list[dict]:
    cores = sorted(os.sched_getaffinity(0))
    envoy_core, load_core = cores[0], cores[-1]
    if envoy_core == load_core:
        print("There is one core only: Envoy and wrk share it.", file=sys.stderr)

    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-")))
        keys = Keys(folder / "keys.json")
        jwks = json.dumps(keys.public(ISSUER))
        tokens = {alg: keys.mint(ISSUER, subject=SUBJECT, alg=alg) for alg in ("RS256", "ES256", "EdDSA")}
        filters = {
            "none": [],
            "native": native(jwks),
            "portcullis": portcullis(jwks),
            "native, one policy": native_policies(1),
            "portcullis, one policy": portcullis_policies(1),
            "native, many policies": native_policies(MANY),
            "portcullis, many policies": portcullis_policies(MANY),
        }
        bootstrap = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": [listener(name, chain) for name, chain in filters.items()]},
        }
        envoy = stack.enter_context(running_envoy(bootstrap, folder, before=["taskset", "-c", str(envoy_core)]))
        for token in tokens.values():
            check(envoy, ["native", "portcullis"], token)

        tiers = ("none", "native", "portcullis")
        requests = {alg: ("/", token, tiers) for alg, token in tokens.items()}
        requests["no token, open path"] = ("/healthz", None, tiers)
        for what, path in (("one policy", "/p/0"), ("many policies", f"/p/{MANY - 1}")):
            requests[what] = (path, None, ("none", f"native, {what}", f"portcullis, {what}"))
        results = {(what, name): [] for what, (_, _, names) in requests.items() for name in names}
        for number in range(rounds):
            for what, (path, token, names) in requests.items():
                for name in names:
                    if number == 0:
                        load(load_core, envoy.ports[name], path, token, 1)  # compiled and cached before it counts
                    before = cpu_seconds(envoy.pid)
                    count = load(load_core, envoy.ports[name], path, token, seconds)
                    results[what, name].append((cpu_seconds(envoy.pid) - before) / count * 1e6)
    return [{"request": what, "filters": name, "microseconds": values} for (what, name), values in results.items()]


def measure_load(filters: dict[str, list[dict]]) -> dict[str, tuple[float, float]]:
    """By name: seconds until Envoy is ready, and its memory in MiB."""
    costs = {}
    for name, chain in filters.items():
        bootstrap = {
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
            "static_resources": {"listeners": [listener(name, chain)]},
        }
        with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
            start = time.monotonic()
            with running_envoy(bootstrap, Path(folder)) as envoy:
                seconds = time.monotonic() - start
                status = Path(f"/proc/{envoy.pid}/status").read_text()
                costs[name] = (seconds, int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024)
    return costs


def show_load(costs: dict[str, tuple[float, float]]) -> None:
    for name in ("native", "portcullis"):
        (few_seconds, few), (seconds, mebibytes) = costs[f"{name}, one"], costs[f"{name}, all"]
        took, more = seconds - few_seconds, mebibytes - few
        each = f" ({took / CONFIGURED:.2f} s and {more / KEPT:.0f} MiB for each of its VMs)" if name == "portcullis" else ""
        print(f"{LOADED} policies instead of one, {name}: ready {took:.2f} s later, with {more:.0f} MiB more{each}")


def show(results: list[dict]) -> None:
    print(f"{'request':<22}{'no filter':>10}{'native':>10}{'portcullis':>12}   added, portcullis : native")
    added = {}
    for what in dict.fromkeys(each["request"] for each in results):
        none, native, ours = (statistics.median(each["microseconds"]) for each in results if each["request"] == what)
        added[what] = (ours - none, native - none)
        ratio = (ours - none) / (native - none)
        print(f"{what:<22}{none:>7.1f} us{native:>7.1f} us{ours:>9.1f} us   {ours - none:+.1f} : {native - none:+.1f} us = {ratio:.2f}")
    (ours, native), (ours_many, native_many) = added["one policy"], added["many policies"]
    print(f"\n{MANY} policies : one policy, added: portcullis {ours_many / ours:.2f}, native {native_many / native:.1f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="how long each variant is loaded in a round")
    arguments = parser.parse_args()
    exit_on_signals()

    results = measure(arguments.rounds, arguments.seconds)
    print(f"CPU per request, the median of {arguments.rounds} rounds of {arguments.seconds} s:\n")
    show(results)
    show_load(measure_load({
        "native, one": native_policies(1),
        "native, all": native_policies(LOADED),
        "portcullis, one": portcullis_policies(1),
        "portcullis, all": portcullis_policies(LOADED),
    }))

    now = datetime.datetime.now()
    path = ROOT / "bench/results" / f"{now:%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"time": now.isoformat(timespec="seconds"), "rounds": arguments.rounds, "results": results}, indent=1))
    print(f"\nEvery round: {path.relative_to(ROOT)}")
    return 0


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    print()
