"""A real Prometheus scrapes a real Envoy that decides about requests of every kind.

Every query of envoy/observability's dashboard must then return series, and so must every selector of its alerts; every metric in
them must have counted something; promtool must like the files, and the alerts must do what tests/rules.yaml says. Envoy has the labels of stats-tags.yaml.
"""

import contextlib
import copy
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import yaml

from harness import ROOT, Failed, exit_on_signals, process, request, running_envoy, server

sys.path.insert(0, str(ROOT / "envoy"))
from idp import Keys  # noqa: E402

FILES = ROOT / "envoy/observability"
# How long it may take until every query has series, in seconds.
PATIENCE = 40
# What stands in Grafana's queries instead of values, and values for it.
GRAFANA = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}
METRIC = re.compile(r"portcullis_\w+")
SELECTOR = re.compile(METRIC.pattern + r"(?:\{[^}]*\})?")


def configuration() -> dict:
    """Something of everything that is measured."""

    def policy(name: str, action: str, path: str, **members) -> dict:
        return {"name": name, "action": action, "rules": [{"to": [{"operation": {"paths": [path]}}]}], **members}

    def provider(name: str, cluster: str, **members) -> dict:
        return {"name": name, "envoyExtAuthzHttp": {"service": "upstream", "port": 80, "cluster": cluster, **members}}

    return {
        "jwks": {"cluster": "idp"},
        "jwtRules": [
            {"issuer": "issuer-foo", "jwksUri": "http://idp/issuer-foo/jwks.json"},
            {"issuer": "https://nobody.test", "jwksUri": "http://idp/nowhere"},
            # Of one issuer at two places one is told apart from the other.
            {"issuer": "issuer-foo", "jwksUri": "http://idp/nowhere/else"},
            {"issuer": "https://tried.test", "jwksUri": "http://idp/tried", "reportOnly": True},
        ],
        "extensionProviders": [provider("there", "upstream"), provider("gone", "closed", failOpen=True), provider("silent", "silent")],
        "authorizationPolicies": [
            policy("asked", "CUSTOM", "/asked", provider={"name": "there"}),
            policy("lax", "CUSTOM", "/lax", provider={"name": "gone"}),
            policy("held", "CUSTOM", "/held", provider={"name": "silent"}),
            policy("audited", "AUDIT", "/audited"),
            policy("tried", "DENY", "/tried", dryRun=True),
            policy("denied", "DENY", "/denied"),
            policy("open", "ALLOW", "/*"),
        ],
    }


def bootstrap(idp: int, upstream: int, silent: int) -> dict:
    def at(port: int) -> dict:
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def cluster(name: str, port: int) -> dict:
        endpoint = {"lb_endpoints": [{"endpoint": {"address": at(port)}}]}
        return {"name": name, "connect_timeout": "1s", "load_assignment": {"cluster_name": name, "endpoints": [endpoint]}}

    plugin = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": "portcullis",
            "failure_policy": "FAIL_RELOAD",
            "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(configuration())},
            "vm_config": {
                "vm_id": "portcullis",
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": "dist/portcullis.wasm"}},
            },
        },
    }
    router = {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}

    def listener(name: str, plugin: dict) -> dict:
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "portcullis", "typed_config": plugin}, {"name": "router", "typed_config": router}],
        }
        return {"name": name, "address": at(0), "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}]}

    # What docs/operations.md lists is enough. Without what the plugin needs most, it is asked about nothing.
    listed = re.findall(r"^    (\w+): \{\}$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)
    listeners = []
    for name, capabilities in (("guarded", listed), ("blind", set(listed) - {"proxy_on_request_headers"})):
        own = copy.deepcopy(plugin)
        own["config"]["capability_restriction_config"] = {"allowed_capabilities": dict.fromkeys(capabilities, {})}
        listeners.append(listener(name, own))
    # Nobody listens on port 1.
    clusters = [cluster("idp", idp), cluster("upstream", upstream), cluster("closed", 1), cluster("silent", silent)]
    return {
        "admin": {"address": at(0)},
        **yaml.safe_load((FILES / "stats-tags.yaml").read_text()),
        # Histograms show what was recorded before the last flush.
        "stats_flush_interval": "1s",
        "static_resources": {"listeners": listeners, "clusters": clusters},
    }


def traffic(ports: dict[str, int], keys: Keys) -> None:
    port = ports["guarded"]
    threading.Thread(target=request, args=(port, "/held"), daemon=True).start()
    if (answer := request(ports["blind"], "/")).status != 503:
        raise Failed(f"A plugin that Envoy doesn't ask hands on {answer.status}.")
    good = keys.mint("issuer-foo")
    tokens = [good, good, good[:-4] + "AAAA", keys.mint("issuer-foo", expire=-600), keys.mint("https://nobody.test")]
    tokens.append(keys.mint("https://tried.test", expire=-600))
    for token in tokens:
        request(port, "/", headers={"authorization": f"Bearer {token}"})
    for path in ("/", "/asked", "/lax", "/audited", "/tried", "/denied"):
        request(port, path)


def dashboard_queries() -> dict[str, str]:
    """By title of the panel, and letter."""
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    return {f"{panel['title']} ({each['refId']})": each["expr"] for panel in panels for each in panel.get("targets", ())}


def alert_selectors() -> dict[str, str]:
    groups = yaml.safe_load((FILES / "rules.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {f"{rule['alert']}: {selector}": selector for rule in rules for selector in SELECTOR.findall(rule["expr"])}


class Prometheus:
    def __init__(self, log: Path):
        self.log = log
        self.port = self.listens()

    def listens(self) -> int:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := re.search(r'msg="Listening on" address=\S+:(\d+)', self.log.read_text()):
                return int(found[1])
            time.sleep(0.1)
        raise Failed(f"Prometheus did not start:\n{self.log.read_text()[-2000:]}")

    def series(self, query: str) -> list:
        for word, value in GRAFANA.items():
            query = query.replace(word, value)
        answer = request(self.port, f"/api/v1/query?{urllib.parse.urlencode({'query': query})}")
        if answer.status == 503 or answer.status == 0:
            return []  # not ready yet
        found = json.loads(answer.body)
        if found["status"] != "success":
            raise Failed(f"{query}\n{found['error']}")
        # Quantiles of nothing and parts of nothing are series, too.
        return [each for each in found["data"]["result"] if each["value"][1] != "NaN"]


@contextlib.contextmanager
def prometheus(target: int, folder: Path):
    """The shipped configuration, but for the target and the pace."""
    config = yaml.safe_load((FILES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FILES / name) for name in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{target}"]}]
    file = folder / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    command = ["prometheus", f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", "--web.listen-address=127.0.0.1:0"]
    log = folder / "prometheus.log"
    with log.open("w") as output, process(command, stdout=output, stderr=output):
        yield Prometheus(log)


def promtool() -> None:
    for words in (
        ["check", "config", FILES / "prometheus.yml"],
        ["check", "rules", FILES / "rules.yaml"],
        ["test", "rules", ROOT / "tests/rules.yaml"],
    ):
        done = subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"promtool {words[0]} {words[1]}:\n{done.stdout}{done.stderr}")


def same_labels() -> None:
    shipped, example = (yaml.safe_load(path.read_text())["stats_config"] for path in (FILES / "stats-tags.yaml", ROOT / "envoy/envoy.yaml"))
    if shipped != example:
        raise Failed("The `stats_config` of envoy/envoy.yaml isn't that of envoy/observability/stats-tags.yaml.")


def main() -> int:
    exit_on_signals()
    same_labels()
    promtool()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="portcullis-")))
        keys = Keys(folder / "keys.json")
        idp = stack.enter_context(server([ROOT / "envoy/idp.py", "--keys", keys.path, "serve", "--listen", "127.0.0.1:0"]))
        upstream = stack.enter_context(server([ROOT / "envoy/upstream.py", "127.0.0.1:0"]))
        keys.of("issuer-foo")
        # It is connected to, and never answers.
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        running = stack.enter_context(running_envoy(bootstrap(idp, upstream, silent), folder, concurrency=2))
        watching = stack.enter_context(prometheus(running.admin_port, folder))

        wanted = dashboard_queries() | alert_selectors()
        metrics = {name for query in wanted.values() for name in METRIC.findall(query)}
        wanted |= {f"{metric} has counted": f"sum({metric}) > 0" for metric in sorted(metrics)}
        good, bad = ('{issuer="issuer-foo", address="http://idp/%s", jwks_cluster="idp"}' % path for path in ("issuer-foo/jwks.json", "nowhere/else"))
        fetched = "portcullis_key_set_fetched_timestamp_seconds"
        wanted["key sets of one issuer"] = f"{fetched}{good} > 0 and ignoring(address) {fetched}{bad} == 0"
        missing = dict(wanted)
        end = time.monotonic() + PATIENCE
        while missing and time.monotonic() < end:
            traffic(running.ports, keys)
            time.sleep(1)
            missing = {name: query for name, query in missing.items() if not watching.series(query)}
        if missing:
            raise Failed("No series for\n" + "\n".join(f"{name}: {query}" for name, query in missing.items()))
        unlabelled = watching.series('{__name__=~".*portcullis_.*", __name__!~"portcullis_.*|envoy_.*"}')
        if unlabelled:
            raise Failed(f"Labels that stats-tags.yaml doesn't know: {unlabelled[0]['metric']['__name__']}")
        print(f"All {len(wanted)} queries have series.")
    return 0


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
