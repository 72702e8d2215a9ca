"""What the ServerApp of a run prints: heard in the background, kept in a file, handed over line by line.

The hub's executor throws the ServerApp's own output away; Flower carries it to the SuperLink, from where we
read it until the run has ended.
"""

import threading
from pathlib import Path
from queue import Empty, Queue

from common.errors import PeerError
from common.processes.child import plain
from server.control import Control

RECONNECT_SECONDS = 1.0
JOIN_SECONDS = 5.0


class Transcript:
    """The output of one run, complete once `ended`."""

    def __init__(self, control: Control, run: int, *, log: Path) -> None:
        """Begin to listen; every line is also appended to the file `log`."""
        self._control, self._run, self._log = control, run, log
        self._lines: Queue[str] = Queue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"transcript of run {run}", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come: the run has ended or the SuperLink is gone."""
        return not self._thread.is_alive() and self._lines.empty()

    def next_line(self, *, seconds: float) -> str | None:
        """The next line, without colours; None if there was none within `seconds`."""
        try:
            return self._lines.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """Stop listening; the run should have been stopped, which ends the SuperLink's answer."""
        self._closed.set()
        self._thread.join(JOIN_SECONDS)

    def _listen(self) -> None:
        """Follow the output to its end; a broken connection is taken up where it broke."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        unfinished, after = "", 0.0
        with self._log.open("a", encoding="utf-8", buffering=1) as file:
            while not self._closed.is_set():
                try:
                    for text, heard in self._control.output(self._run, after=after):
                        after = heard
                        *lines, unfinished = (unfinished + text).split("\n")
                        for line in map(plain, lines):
                            file.write(f"{line}\n")
                            self._lines.put(line)
                    return
                except PeerError:
                    self._closed.wait(RECONNECT_SECONDS)
