"""A run as the operator watches it: what its ServerApp says until it has ended, and why it failed."""

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from common import errors
from common.errors import FederationError, PeerError
from server.control import Control, RunStatus
from server.transcript import Transcript

SERVERAPP = "flwr-serverapp"
WATCH_SECONDS = 0.2
LINES_KEPT = 200
"""Enough of the ServerApp's last output to find what it raised."""

_RAISED = re.compile(r"common\.errors\.(\w+): (.+)")
_FLOWER_PREFIX = "ServerApp failed with exception: "


def watch_run(
    control: Control,
    run: int,
    *,
    log: Path,
    hear: Callable[[str], None],
    timeout_seconds: float,
    alive: Callable[[], None],
) -> None:
    """Wait for the end of `run`; when the watching ends before, the run goes on.

    Args:
        control: where the run is.
        run: its number.
        log: file that every line of the ServerApp is appended to.
        hear: called with every line, as it comes.
        timeout_seconds: the longest wait.
        alive: called now and then; raises once the hub is gone.

    Raises:
        PeerError: the run failed, took too long, or `alive` says so.
        FederationError: what the ServerApp itself raised, if it raised one of ours.
    """
    last_lines: deque[str] = deque(maxlen=LINES_KEPT)
    transcript = Transcript(control, run, log=log)
    deadline = time.monotonic() + timeout_seconds
    try:
        while not transcript.ended:
            if (line := transcript.next_line(seconds=WATCH_SECONDS)) is not None:
                last_lines.append(line)
                hear(line)
            alive()
            if time.monotonic() > deadline:
                raise PeerError(f"the run took longer than {timeout_seconds:.0f} s; see {log}")
        status = control.status(run)
    finally:
        transcript.close()
    if not status.completed:
        raise _failure(status, last_lines, log)


def _failure(status: RunStatus, lines: Sequence[str], log: Path) -> FederationError:
    """The error that the ServerApp raised, when it is one of ours, else a PeerError with its reason."""
    for line in reversed(lines):
        found = _RAISED.fullmatch(line.strip())
        kind = getattr(errors, found[1], None) if found else None
        if found and isinstance(kind, type) and issubclass(kind, FederationError):
            return kind(found[2])
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    reason = " ".join(status.details.removeprefix(_FLOWER_PREFIX).split()) or f"it last said: {said}"
    return PeerError(f"the run failed: {reason}; see {log}")
