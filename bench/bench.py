"""What Portcullis costs beside Envoy's own jwt_authn + rbac as Istio sets them up, and whether it costs what it may.

One Envoy with a single worker on one core, one listener per chain of filters, wrk on another core, the chains in turn in
every round. CPU is what the kernel counted for the worker; ratios are of what a chain adds to an Envoy without filters.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "envoy")]
import cost  # noqa: E402
import latency  # noqa: E402
import module  # noqa: E402
import report  # noqa: E402
from harness import Failed, exit_on_signals  # noqa: E402
from tokens import Tokens  # noqa: E402

PARTS = ("tokens", "policies", "size", "start", "memory", "latency")
ROUNDS = 9


def measure(parts: list[str], tokens: Tokens, rounds: int, seconds: int) -> dict:
    results = {"conditions": report.conditions(rounds), "cost": []}
    for part in parts:
        print(f"Measuring {part} ...", file=sys.stderr, flush=True)
        if part == "tokens":
            results["cost"] += cost.measure(*cost.token_cases(tokens, rounds), tokens, rounds, seconds)
        elif part == "policies":
            results["cost"] += cost.measure(*cost.policy_cases(tokens), tokens, rounds, seconds)
        elif part == "size":
            results["size"] = module.size()
        elif part == "start":
            results["start"] = module.start(tokens)
        elif part == "memory":
            results["memory"] = module.memory(tokens)
        elif part == "latency":
            results["latency"] = latency.measure(tokens)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=int, default=2, help="how long a chain gets the same request in a round")
    parser.add_argument("--only", type=lambda text: text.split(","), default=PARTS, metavar="PART,...", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--readme", action="store_true", help="have README.md show this run, which must be a whole one")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    if arguments.readme and (set(arguments.only) != set(PARTS) or arguments.rounds < ROUNDS):
        parser.error(f"README.md shows whole runs only: every part, and at least {ROUNDS} rounds")
    exit_on_signals()

    results = measure(arguments.only, Tokens(ROOT / ".cache/bench"), arguments.rounds, arguments.seconds)
    results["targets"] = report.targets(results)
    print(report.table(results))

    folder = ROOT / "bench/results"
    folder.mkdir(exist_ok=True)
    name = "published" if arguments.readme else results["conditions"]["time"].replace(":", "")
    path = folder / f"{name}.json"
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\nEvery round: {path.relative_to(ROOT)}", file=sys.stderr)
    if arguments.readme:
        report.publish(results)
    return 0


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
except KeyboardInterrupt:
    print()
