"""Puts load on an Envoy and tells what it cost: its worker on one core, the load on another."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from chains import ROOT, bootstrap
from harness import Envoy, Failed, running_envoy

CONNECTIONS = 16
Requests = list[tuple[str, str | None]]


def cores() -> tuple[int, int]:
    """The core for Envoy, and the one for who loads it."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


@contextlib.contextmanager
def envoy_with(chains: dict[str, list[dict]], **options):
    """An Envoy with one worker, a listener per chain, and its folder."""
    own, other = cores()
    if own == other:
        print("There is one core only: Envoy and its load share it.", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        with running_envoy(bootstrap(chains), Path(folder), before=["taskset", "-c", str(own)], **options) as envoy:
            yield envoy


def worker_seconds(envoy: Envoy) -> float:
    """What the kernel has counted for the worker's thread, in nanoseconds' precision."""
    for task in Path(f"/proc/{envoy.pid}/task").iterdir():
        if (task / "comm").read_text().startswith("wrk:worker"):
            return int((task / "schedstat").read_text().split()[0]) / 1e9
    raise Failed("Envoy has no thread that is called a worker")


def send(port: int, requests: Requests, seconds: int | None = None) -> int:
    """Keeps the connections busy with these requests, in turn for so many seconds, or each once. Says how many were
    answered with 200, which all must be."""
    with tempfile.NamedTemporaryFile("w", prefix="portcullis-") as file:
        file.writelines(f"{path} {token or ''}".rstrip() + "\n" for path, token in requests)
        file.flush()
        turns = ["once"] if seconds is None else []
        command = [
            "taskset", "-c", str(cores()[1]), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds or 60}s", "-s", ROOT / "bench/requests.lua",
            f"http://127.0.0.1:{port}", "--", file.name, *turns,
        ]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    done = re.search(r"(\d+) requests in", out)
    if not done or int(done[1]) == 0 or "Non-2xx" in out or "Socket errors" in out:
        raise Failed(f"wrk had other answers than 200:\n{out}")
    return int(done[1])


def microseconds(envoy: Envoy, name: str, requests: Requests, seconds: int | None = None) -> float:
    """The worker's CPU per request."""
    before = worker_seconds(envoy)
    count = send(envoy.ports[name], requests, seconds)
    return (worker_seconds(envoy) - before) / count * 1e6
