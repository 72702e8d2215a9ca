"""A site at work: its SuperNode and its gate, kept running until it is told to stop.

HOME/run/      the secret that both share, the gate's settings, Flower's own home in home/, the lock
HOME/logs/     what each of them prints, and what it printed before
"""

import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from client import gate, supernode
from client.doctor.network import first_obstacle
from client.gate.settings import ApprovedSettings, GateSettings
from client.gate.wire import NodeConfig
from client.home import AUTHORITY, Home
from common.files import write_whole
from common.lock_file import held_alone
from common.processes.child import Child
from common.processes.party import Party

HOST = "127.0.0.1"
RUN, LOGS, LOCK, SECRET, SETTINGS = "run", "logs", "lock", "secret", "gate.json"
SUPERNODE, GATE = supernode.__name__, gate.__name__
SECRET_BYTES = 32
WATCH_SECONDS = 0.5
AGAIN_SECONDS = 15.0
"""After a SuperNode ended. The hub refuses one that was killed until its heartbeat lapses, up to 60 s."""
SILENCE_SECONDS = 20.0
LET_IN = "SuperNode ID: "
"""What Flower's SuperNode prints once the hub has let it in."""
LONGEST_SHOWN = 500
"""Characters of a line that a child prints; its log has them all."""
_AGAIN = f"it is started again in {AGAIN_SECONDS:.0f} s"
_REFUSAL = re.compile(r"^\[code: [0-9]+\] (.+)$", re.MULTILINE)
"""What the hub told a SuperNode that it does not let in."""


@dataclass(frozen=True)
class SiteWork:
    """What a site starts with, checked."""

    home: Home
    node: NodeConfig
    memory_gib: int | None
    threads: int
    require_landlock: bool = False

    def keep_running(self, say: Callable[[str], None]) -> None:
        """Run until interrupted; `say` is called with each line that a person should see.

        Raises:
            ConfigurationError: another process already runs this home, or it has joined no consortium, or a
                key cannot be read.
            IntegrityError: kit, keys and authority are not of one another.
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
        hub = self.home.fit_kit().hub
        write_whole(self._run_folder / SECRET, secrets.token_bytes(SECRET_BYTES), mode=0o600)
        write_whole(self._run_folder / SETTINGS, self._gate_settings(port).encode(), mode=0o600)
        site = Party(
            self.home.name,
            folder=self._run_folder,
            logs=self.home.folder / LOGS,
            threads=self.threads,
            rotated_logs=True,
        )
        try:
            gate_child = site.spawn_module(GATE, [str(self._run_folder / SETTINGS)])
            say(f"{self.home.name} starts; the hub is {hub}; logs in {self.home.folder / LOGS}")
            link = self._connect(site, hub, port)
            while True:
                for line in (*_shown(gate_child), *link.news()):
                    say(line)
                gate_child.require_running()
                if not link.supernode.running:
                    say(f"the SuperNode ended: {link.why()}; {_AGAIN}")
                    site.end(link.supernode)
                    time.sleep(AGAIN_SECONDS)
                    link = self._connect(site, hub, port)
                time.sleep(WATCH_SECONDS)
        finally:
            site.stop()

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
            require_landlock=self.require_landlock,
        ).model_dump_json(indent=2)

    def _connect(self, site: Party, hub: str, port: int) -> "_Link":
        authority = self.home.folder / AUTHORITY
        child = site.spawn_module(
            SUPERNODE,
            [
                *("--superlink", hub, "--root-certificates", str(authority)),
                *("--auth-supernode-private-key", str(self.home.node_key)),
                *("--host", HOST, "--port", str(port)),
                *("--isolation", "process", "--superexec-auth-secret-file", str(self._run_folder / SECRET)),
            ],
            outwards=True,
        )
        return _Link(child, hub, authority)


def _shown(child: Child) -> Iterator[str]:
    """The lines that a child printed since the last call, with nothing in them that a terminal would obey."""
    for line in child.news():
        yield "".join(letter if letter.isprintable() else "?" for letter in line[:LONGEST_SHOWN])


class _Link:
    """Whether the hub has let a SuperNode in, told once each way."""

    def __init__(self, supernode: Child, hub: str, authority: Path) -> None:
        self.supernode = supernode
        self._hub, self._authority = hub, authority
        self._since, self._told = time.monotonic(), False

    def news(self) -> Iterator[str]:
        if any(LET_IN in line for line in _shown(self.supernode)):
            self._told = True
            yield f"connected to the hub at {self._hub}"
        elif not self._told and time.monotonic() - self._since > SILENCE_SECONDS:
            self._told = True
            yield f"no answer from the hub at {self._hub} yet: {self.why()}"

    def why(self) -> str:
        """What is in the way, as far as one can see from here."""
        if (obstacle := first_obstacle(self._hub, self._authority, environment=os.environ)) is not None:
            return f"{obstacle.found}; {obstacle.fix}"
        if (refusal := _REFUSAL.search(self.supernode.output())) is not None:
            return (
                f"the hub does not let this site in ({refusal[1]}); ask the operator whether it is a member"
            )
        said = self.supernode.last_words() or "it said nothing"
        return f"{said}; `fedvlp-site doctor` says more"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
