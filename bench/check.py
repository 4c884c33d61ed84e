"""How long `portcullis check` takes for n policies, and for twice as many: what grows with the square of n shows as four times."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

COUNT = 10_000
ROUNDS = 5
RULE = """  - from: [{{ source: {{ requestPrincipals: ["https://idp.example.com/{name}"] }} }}]
    to: [{{ operation: {{ methods: [GET, POST], paths: ["/{name}/*"] }} }}]
    when: [{{ key: "request.auth.claims[groups]", values: ["{name}", staff] }}]
"""
HEAD = """---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{ name: p{number}, namespace: shop }}
spec:
  action: {action}
  rules:
"""


def distinct(count: int) -> str:
    """Policies of which each says something else."""
    return "".join(HEAD.format(number=each, action=("ALLOW", "DENY")[each % 2]) + RULE.format(name=f"app{each}") for each in range(count))


def equal(count: int) -> str:
    """Policies of which all but the first are one too many."""
    return "".join(HEAD.format(number=each, action="ALLOW") + RULE.format(name="app") for each in range(count))


def inline(count: int) -> str:
    """The same policies, in the plugin's own configuration."""
    policies = (f"- name: p{each}\n  rules:\n" + RULE.format(name=f"app{each}") for each in range(count))
    return "authorizationPolicies:\n" + "".join(policies)


def seconds(program: Path, text: str, arguments: list[str]) -> float:
    """The least that it took: others use the machine, too."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policies.yaml"
        file.write_text(text)
        taken = []
        for _ in range(ROUNDS):
            start = time.monotonic()
            run = subprocess.run([program, "check", *arguments, file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
            taken.append(time.monotonic() - start)
            if run.returncode:
                raise SystemExit(run.stderr)
        return min(taken)


def main(program: Path) -> None:
    print(f"| policies | {COUNT:,} | {2 * COUNT:,} | times |")
    print("|---|--:|--:|--:|")
    for name, make, arguments in [
        ("distinct", distinct, []),
        ("equal", equal, []),
        ("equal, as SARIF", equal, ["--format", "sarif"]),
        ("in a configuration", inline, []),
    ]:
        one, two = (seconds(program, make(count), arguments) for count in (COUNT, 2 * COUNT))
        print(f"| {name} | {one:.2f} s | {two:.2f} s | {two / one:.1f} |", flush=True)


main(Path(sys.argv[1]))
