"""How the core's work grows with a hostile request: instructions for a size and for its double, counted natively.

Twice as much may cost twice as much, and a little more where something is sorted. Exits with 1 where it is much more.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

SIZE = 1000
MOST = 2.5
COLLECTED = re.compile(r"Collected\s*:\s*(\d+)")


def instructions(program: str, attack: str, size: int) -> int:
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        counted = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={Path(folder) / 'out'}", "--toggle-collect=growth::decide*"]
        run = subprocess.run([*counted, program, attack, str(size)], check=True, capture_output=True, text=True)
    return int(COLLECTED.search(run.stderr)[1])


def main() -> None:
    [program] = sys.argv[1:]
    attacks = subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines()
    steep = []
    print(f"{'instructions':>12}  {'of twice':>12}  ratio")
    for attack in attacks:
        one, two = (instructions(program, attack, size) for size in (SIZE, 2 * SIZE))
        print(f"{one:12,}  {two:12,}  {two / one:5.2f}  {attack}", flush=True)
        if two > MOST * one:
            steep.append(attack)
    if steep:
        sys.exit(f"steeper than {MOST}: {', '.join(steep)}")


main()
