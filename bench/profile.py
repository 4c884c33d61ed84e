"""Instructions that the core takes for a request, by function: callgrind over bench/evaluate.rs, natively.

Neither host calls nor the crossing into Wasm are in it. Signatures are counted apart: nothing else would be seen beside them.
"""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "envoy")]
import chains  # noqa: E402
from tokens import Tokens  # noqa: E402

COUNT = 200
SHOWN = 25
CRYPTOGRAPHY = re.compile(r"cmov|crypto.bigint|ctutils|digest|rsa|sha2|subtle")
LINE = re.compile(r"\s*([\d,]+) \([ \d.]+%\)\s+(\S+?):(.+?)(?: \[.*)?")


def instructions(program: str, path: str, token: str) -> Counter:
    """Per request, by function. The counter keeps what cryptography takes under one name."""
    [chain] = chains.portcullis(Tokens(ROOT / ".cache/bench").jwks)
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder:
        configuration, out = Path(folder) / "configuration", Path(folder) / "out"
        configuration.write_text(chain["typed_config"]["config"]["configuration"]["value"])
        counted = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=evaluate::decide*"]
        subprocess.run([*counted, program, configuration, path, token, str(COUNT)], check=True, capture_output=True)
        annotated = subprocess.run(["callgrind_annotate", "--threshold=100", out], check=True, capture_output=True, text=True).stdout
    by_function = Counter()
    for line in filter(None, map(LINE.fullmatch, annotated.splitlines())):
        function = "(cryptography)" if CRYPTOGRAPHY.search(line[2] + line[3]) else line[3]
        by_function[function] += int(line[1].replace(",", "")) / COUNT
    return by_function


def main() -> None:
    [token] = Tokens(ROOT / ".cache/bench").take("RS256", 1)
    for what, path, sent in (("the same RS256 token", "/", token), ("no token, open path", chains.OPEN, "")):
        by_function = instructions(sys.argv[1], path, sent)
        apart = by_function.pop("(cryptography)", 0)
        print(f"{what}: {by_function.total():,.0f} instructions a request, and {apart:,.0f} of cryptography")
        for function, count in by_function.most_common(SHOWN):
            print(f"{count:10,.0f}  {function}")


main()
