"""Latency at half of what Envoy's own filters can do at most."""

import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import chains
import load
from harness import Envoy, Failed
from tokens import Tokens

RUNS = 5
SECONDS = 5
WARM_UP = 1


def measure(tokens: Tokens) -> dict:
    """The 99th percentile in milliseconds: of each, the median of several runs."""
    [token] = tokens.take("RS256", 1)
    filters = {"native": chains.native(tokens.jwks), "portcullis": chains.portcullis(tokens.jwks)}
    runs = {name: [] for name in filters}
    with load.envoy_with(filters) as envoy:
        h2load(envoy, "portcullis", token, None)
        fastest = len(h2load(envoy, "native", token, None)) / SECONDS
        for _ in range(RUNS):
            for name in filters:
                times = sorted(h2load(envoy, name, token, fastest / 2))
                runs[name].append(times[len(times) * 99 // 100] / 1000)
    return {"rate": fastest / 2, "p99": {name: statistics.median(values) for name, values in runs.items()}, "runs": runs}


def h2load(envoy: Envoy, name: str, token: str, rate: float | None) -> list[int]:
    """How many microseconds each request took, at so many a second or as many as can be."""
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        log = Path(folder) / "log"
        paced = [] if rate is None else [f"--rps={rate / load.CONNECTIONS:.0f}"]
        command = [
            "taskset", "-c", str(load.cores()[1]), "h2load", "--h1", f"-c{load.CONNECTIONS}", f"-D{SECONDS}", f"--warm-up-time={WARM_UP}", *paced,
            f"--log-file={log}", "-H", f"authorization: Bearer {token}", f"http://127.0.0.1:{envoy.ports[name]}/",
        ]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if not re.search(r"status codes: [1-9]\d* 2xx, 0 3xx, 0 4xx, 0 5xx", out):
            raise Failed(f"h2load had other answers than 200:\n{out}")
        # Start, status and duration of each; requests that were under way at the end have no status.
        lines = (line.split() for line in log.read_text().splitlines())
        return [int(duration) for _, status, duration in lines if status == "200"]
