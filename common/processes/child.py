"""Child processes with a log each, none of which outlives us."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from common.errors import PeerError
from common.processes import leash
from common.processes.rotating_log import RotatingLog

STOP_SECONDS = 6.0
"""How long a child may take to end by itself; Flower's own exit handlers need up to five."""

POLL_SECONDS = 0.05

_FAREWELL = re.compile(r"(\S+Z )?INFO\b|WARNING\s*:\s+EXPERIMENTAL|For more information")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Child:
    """One process, the leader of a group of its own, writing to one log file, or to files of bounded size.

    On Linux it is told to end when the thread that started it ends, however that happens; start it from a
    thread that lives as long as the child should.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        rotated: bool = False,
    ) -> None:
        """Start `command` (its first word an absolute path); what it prints is appended to `log`.

        With `rotated`, it is handed on by this process, which begins another file when one is full.
        """
        self.name, self.log = name, log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._begin = output.tell()  # where in the log this process begins
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if rotated else output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._rotating: RotatingLog | None = None
        if self._process.stdout is not None:
            self._rotating = RotatingLog(log, cast(BinaryIO, self._process.stdout))

    @property
    def running(self) -> bool:
        """Whether the process has not ended; one that has keeps its id until `reap`."""
        if self._process.returncode is not None:
            return False
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process and all it started; not once it is reaped, when its id may be another's."""
        if self._process.returncode is None:
            os.killpg(self.pid, number)

    def reap(self) -> int:
        """Wait for the end and return the exit code, negative for a signal."""
        code = self._process.wait()
        if self._rotating is not None:
            self._rotating.settle()
        return code

    def news(self) -> list[str]:
        """The whole lines that a process with a rotated log printed since the last call."""
        assert self._rotating is not None, "its log is one file, which is read as a whole"
        return [plain(line) for line in self._rotating.fresh()]

    def output(self) -> str:
        """What this process printed so far, without colours; of a rotated log the last lines."""
        if self._rotating is not None:
            if not self.running:
                self._rotating.settle()
            return plain(self._rotating.output())
        with self.log.open("rb") as file:
            file.seek(self._begin)
            return plain(file.read().decode(errors="replace"))

    def last_words(self) -> str:
        """The last line that says why, past the farewells of Flower and uvicorn; "" if it printed none."""
        lines = [line.strip() for line in self.output().splitlines()]
        return next((line for line in reversed(lines) if line and not _FAREWELL.match(line)), "")

    def require_running(self) -> None:
        """Check that the process lives.

        Raises:
            PeerError: it ended; the line names it, its exit code and the last thing it said.
        """
        if not self.running:
            said = self.last_words() or "nothing"
            raise PeerError(f"{self.name} ended with exit code {self.reap()}, saying: {said}; see {self.log}")


def stop(children: Sequence[Child], *, grace_seconds: float = STOP_SECONDS) -> None:
    """End `children` and everything they started: ask, wait at most `grace_seconds`, then insist."""
    try:
        for child in children:
            child.signal_group(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while any(child.running for child in children) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    finally:
        kill(children)


def kill(children: Sequence[Child]) -> None:
    """End `children` and everything they started at once, as a power cut would."""
    for child in children:
        child.signal_group(signal.SIGKILL)
    for child in children:
        child.reap()


def plain(output: str) -> str:
    """What a process printed, without terminal colours."""
    return _COLOUR.sub("", output)
