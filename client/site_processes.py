"""A site at work: its SuperNode and its gate, kept running until it is told to stop.

HOME/run/      the secret that both share, the gate's settings, Flower's own home, the lock
HOME/logs/     what each of them prints
"""

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from client import gate
from client.gate.settings import ApprovedSettings, GateSettings
from client.gate.wire import NodeConfig
from client.home import AUTHORITY, Home
from common.errors import ConfigurationError
from common.files import write_whole
from common.lock_file import held_alone
from common.processes.child import Child, plain, stop
from common.processes.party import environment

HOST = "127.0.0.1"
RUN, LOGS, LOCK, SECRET, SETTINGS = "run", "logs", "lock", "secret", "gate.json"
SUPERNODE, GATE = "flower-supernode", gate.__name__
SECRET_BYTES = 32
WATCH_SECONDS = 0.5
AGAIN_SECONDS = 15.0
"""After a SuperNode ended. The hub refuses one that was killed until its heartbeat lapses, up to 60 s."""
SILENCE_SECONDS = 20.0
LET_IN = "SuperNode ID: "
"""What Flower's SuperNode prints once the hub has let it in."""
_AGAIN = f"it is started again in {AGAIN_SECONDS:.0f} s"


@dataclass(frozen=True)
class SiteWork:
    """What a site starts with, checked."""

    home: Home
    node: NodeConfig
    memory_gib: int | None
    threads: int

    def keep_running(self, say: Callable[[str], None]) -> None:
        """Run until interrupted; `say` is called with each line that a person should see.

        Raises:
            ConfigurationError: another process already runs this home, or it has joined no consortium.
            PeerError: the gate ended.
        """
        refusal = (
            f"{self.home.folder} is in use by process {{holder}}; a home has one `fedvlp-site start` at "
            "a time, stop that one first"
        )
        with held_alone(self.home.folder / RUN / LOCK, refusal=refusal):
            self._run(say)

    def _run(self, say: Callable[[str], None]) -> None:
        port = _free_port()
        hub = self.home.kit().hub
        write_whole(self._run_folder / SECRET, secrets.token_bytes(SECRET_BYTES), mode=0o600)
        write_whole(self._run_folder / SETTINGS, self._gate_settings(port).encode(), mode=0o600)
        gate_child = self._start(GATE, [sys.executable, "-P", "-m", GATE, str(self._run_folder / SETTINGS)])
        supernode = self._start(SUPERNODE, self._supernode(hub, port))
        try:
            say(f"{self.home.name} starts; the hub is {hub}; logs in {self.home.folder / LOGS}")
            gate_lines, link = _Lines(gate_child), _Link(supernode, hub)
            while True:
                for line in (*gate_lines.fresh(), *link.news()):
                    say(line)
                gate_child.require_running()
                if not supernode.running:
                    say(f"the SuperNode ended ({supernode.last_words() or 'it said nothing'}); {_AGAIN}")
                    stop([supernode])
                    time.sleep(AGAIN_SECONDS)
                    supernode = self._start(SUPERNODE, self._supernode(hub, port))
                    link = _Link(supernode, hub)
                time.sleep(WATCH_SECONDS)
        finally:
            stop([gate_child, supernode])

    @property
    def _run_folder(self) -> Path:
        return self.home.folder / RUN

    def _gate_settings(self, port: int) -> str:
        return GateSettings(
            runtime=f"{HOST}:{port}",
            secret=self._run_folder / SECRET,
            rule=ApprovedSettings(kind="approved", home=self.home.folder),
            node=self.node,
            memory_gib=self.memory_gib,
        ).model_dump_json(indent=2)

    def _supernode(self, hub: str, port: int) -> list[str]:
        program = Path(sys.executable).parent / SUPERNODE
        if not program.is_file():
            raise ConfigurationError(f"{program} does not exist; install FedVLP with its dependencies again")
        return [
            str(program),
            *("--superlink", hub, "--root-certificates", str(self.home.folder / AUTHORITY)),
            *("--auth-supernode-private-key", str(self.home.node_key)),
            *("--host", HOST, "--port", str(port)),
            *("--isolation", "process", "--superexec-auth-secret-file", str(self._run_folder / SECRET)),
        ]

    def _start(self, program: str, command: list[str]) -> Child:
        return Child(
            f"{program} of {self.home.name}",
            command,
            environment=environment(os.environ, home=self._run_folder / "flower", threads=self.threads),
            log=self.home.folder / LOGS / f"{program}.log",
        )


class _Lines:
    """What a child prints, whole line by whole line."""

    def __init__(self, child: Child) -> None:
        self._file: BinaryIO = child.log.open("rb")
        self._file.seek(child.begin)
        self._rest = b""

    def fresh(self) -> Iterator[str]:
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return (plain(line.decode(errors="replace")) for line in lines)


class _Link:
    """Whether the hub has let a SuperNode in, told once each way."""

    def __init__(self, supernode: Child, hub: str) -> None:
        self._lines, self._hub = _Lines(supernode), hub
        self._since, self._told = time.monotonic(), False

    def news(self) -> Iterator[str]:
        if any(LET_IN in line for line in self._lines.fresh()):
            self._told = True
            yield f"connected to the hub at {self._hub}"
        elif not self._told and time.monotonic() - self._since > SILENCE_SECONDS:
            self._told = True
            yield f"no answer from the hub at {self._hub} yet; `fedvlp-site doctor` says why"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
