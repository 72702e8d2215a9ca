"""The hub as hospitals meet it: `fedvlp-server start` and a real nginx before it, for tests to knock at."""

import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from consortium_samples import Consortium, found

from client.home import Home
from common.processes.child import Child, stop
from common.processes.party import environment
from server.interior import Interior
from simulations.deployment.loopback import free_port

NGINX = shutil.which("nginx")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed; apt-get install nginx-light")

PATIENCE_SECONDS = 120.0
"""A process imports Flower in some seconds; on a busy machine in many."""


def until(true: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait until `true` says so; False if it never does."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


@dataclass
class Door:
    """A hub that runs, seen from outside."""

    chest: Consortium
    folder: Path
    port: int
    hub: Child
    proxy: Child
    inner: int

    def command(self, *words: object) -> list[str]:
        """Of the operator."""
        program = Path(sys.executable).parent / "fedvlp-server"
        return [str(program), *map(str, words), "--home", str(self.chest.hub.folder)]

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """What the operator's command says."""
        return subprocess.run(self.command(*words), capture_output=True, text=True, timeout=PATIENCE_SECONDS)

    def start_hub(self) -> None:
        """Start what serves this home; see `require_up`."""
        quiet = environment(os.environ, home=self.folder / "flower", threads=1)
        command = self.command("start", "--port", self.inner)
        self.hub = Child("hub", command, environment=quiet, log=self.folder / "hub.log")

    def require_up(self) -> None:
        """Wait until the hub serves."""
        assert until(lambda: "runs on" in self.hub.output() or not self.hub.running)
        self.hub.require_running()

    def online(self) -> set[str]:
        """Hospitals that are connected."""
        with Interior(self.chest.hub).control() as control:
            return set(control.online_since())

    def node(self, home: Home, name: str) -> Child:
        """Flower's own node of a hospital, with that home's key."""
        return Child(
            name,
            [
                str(Path(sys.executable).parent / "flower-supernode"),
                *("--superlink", f"127.0.0.1:{self.port}"),
                *("--root-certificates", str(self.chest.hub.folder / "authority.pem")),
                *("--auth-supernode-private-key", str(home.node_key)),
                *("--port", str(free_port()), "--isolation", "process"),
            ],
            environment=environment(os.environ, home=self.folder / f"flower-{name}", threads=1),
            log=self.folder / f"{name}.log",
        )

    def client(self, context: ssl.SSLContext | None = None) -> httpx.Client:
        """A hospital that speaks HTTP by hand."""
        trusted = context or ssl.create_default_context(cafile=str(self.chest.hub.folder / "authority.pem"))
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=trusted, trust_env=False)


@contextmanager
def opened(folder: Path, *, host: str = "127.0.0.1") -> Iterator[Door]:
    """A hub of a new consortium, whose homes are in `folder`, until the block ends.

    Kits name it as `host`; nginx listens on the loopback whatever that is.
    """
    port, inner = free_port(), free_port()
    chest = found(folder, hub=f"{host}:{port}")
    out = folder / "door"
    made = Door(chest, folder, port, None, None, inner)  # type: ignore[arg-type]
    wrote = made.run(
        "proxy", "--out", out, "--listen", f"127.0.0.1:{port}", "--port", inner, "--scratch", folder
    )
    assert wrote.returncode == 0, wrote.stderr
    made.start_hub()
    made.proxy = Child(
        "nginx",
        [str(NGINX), "-c", str(out / "nginx.conf"), "-g", "daemon off;"],
        environment=environment(os.environ, home=folder / "flower", threads=1),
        log=folder / "nginx.log",
    )
    try:
        made.require_up()
        made.proxy.require_running()
        yield made
    finally:
        stop([made.hub, made.proxy], grace_seconds=15)
