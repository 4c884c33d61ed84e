"""The module itself: its size, how long it takes to take a configuration, and its memory in Envoy."""

import re
import statistics
from datetime import datetime
from pathlib import Path

import chains
import load
from harness import Envoy, Failed
from tokens import Tokens

CACHED = 10_000
LOADED = 10_000
STARTS = 5
# V8 reserves so much address space for the memory of a module: 4 GiB that it may have, 4 GiB that no 32-bit offset gets beyond.
RESERVED = 1 << 33


def size() -> int:
    return (chains.ROOT / "dist/portcullis.wasm").stat().st_size


def start(tokens: Tokens) -> dict[str, float]:
    """Milliseconds from `on_configure` until it has returned: nothing is left to do then. The slowest of the VMs, the
    median of several starts."""
    asked = {"10 rules": chains.ten_rules(tokens.jwks), policies(): chains.portcullis(tokens.jwks, LOADED)}
    return {name: statistics.median(configured(filters) for _ in range(STARTS)) for name, filters in asked.items()}


def policies() -> str:
    return f"{LOADED:,} policies"


def configured(filters: list[dict]) -> float:
    with load.envoy_with({"portcullis": filters}, wasm_log="trace") as envoy:
        log = envoy.log()
    times = {"[host->vm] proxy_on_configure(": [], "[host<-vm] proxy_on_configure return: 1": []}
    for line in log.splitlines():
        for what, found in times.items():
            if what in line:
                found.append(datetime.strptime(re.match(r"\[([^]]+)\]", line)[1], "%Y-%m-%d %H:%M:%S.%f"))
    starts, ends = times.values()
    if not starts or len(starts) != len(ends):
        raise Failed(f"Envoy's log tells of {len(starts)} configurations and {len(ends)} that were taken")
    return max((end - start).total_seconds() * 1000 for start, end in zip(starts, ends))


def memory(tokens: Tokens) -> dict[str, float]:
    """MiB of linear memory of the largest VM."""
    sizes = {}
    with load.envoy_with({"portcullis": chains.ten_rules(tokens.jwks)}) as envoy:
        sizes["10 rules"] = linear_memory(envoy)
    with load.envoy_with({"portcullis": chains.portcullis(tokens.jwks)}) as envoy:
        shown = [("/", token) for token in tokens.take("RS256", CACHED)]
        # Twice, because a cache may not keep what it sees for the first time.
        load.send(envoy.ports["portcullis"], shown)
        load.send(envoy.ports["portcullis"], shown)
        sizes[f"{CACHED:,} tokens seen"] = linear_memory(envoy)
    return sizes


def linear_memory(envoy: Envoy) -> float:
    """What a module has of its memory can be written to, and is followed by the rest of what V8 reserved for it."""
    found, before = [], (0, 0, "")
    for line in Path(f"/proc/{envoy.pid}/maps").read_text().splitlines():
        addresses, rights = line.split()[:2]
        first, end = (int(address, 16) for address in addresses.split("-"))
        if rights == "---p" and before[1:] == (first, "rw-p") and end - before[0] == RESERVED:
            found.append(first - before[0])
        before = (first, end, rights)
    if not found:
        raise Failed("no memory of a Wasm VM is found in Envoy: V8 lays it out in another way")
    return max(found) / (1 << 20)
