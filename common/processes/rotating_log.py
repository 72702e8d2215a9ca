"""What a process prints, in files of bounded size: LOG, before it LOG.1, and so on to the oldest."""

import logging
import sys
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path
from threading import Lock, Thread
from typing import BinaryIO

LARGEST_BYTES, OLDER_KEPT = 10 << 20, 5
"""Of one file, and how many beside the one that is written: some weeks of a site at work."""
LINES_REMEMBERED = 1000
LONGEST_LINE = 1 << 16
"""Bytes; a longer one is kept as several."""
SETTLE_SECONDS = 2.0


class _Files(RotatingFileHandler):
    """The standard library's; a disk that is full is told once, and costs lines, never the process."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the library's name
        if not self._told:
            self._told = True
            print(f"{self.baseFilename} cannot be written: {sys.exception()}", file=sys.stderr)


class RotatingLog:
    """Reads a pipe to its end, in a thread of its own, whatever else this process does."""

    def __init__(self, path: Path, pipe: BinaryIO, *, largest_bytes: int = LARGEST_BYTES) -> None:
        """Append to `path` all that comes out of `pipe`."""
        self._file = _Files(
            path,
            maxBytes=largest_bytes,
            backupCount=OLDER_KEPT,
            encoding="utf-8",
            errors="surrogateescape",  # bytes that are no text are kept as they are
        )
        self._pipe, self._lock = pipe, Lock()
        self._lines: deque[str] = deque(maxlen=LINES_REMEMBERED)
        self._fresh: deque[str] = deque(maxlen=LINES_REMEMBERED)
        self._thread = Thread(target=self._keep, daemon=True)
        self._thread.start()

    def output(self) -> str:
        """The last lines."""
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines)

    def fresh(self) -> list[str]:
        """The lines since the last call, or the last of them."""
        with self._lock:
            lines = list(self._fresh)
            self._fresh.clear()
        return lines

    def settle(self) -> None:
        """Wait until all is read that an ended process printed; a moment, if others still hold the pipe."""
        self._thread.join(SETTLE_SECONDS)

    def _keep(self) -> None:
        with self._pipe:
            while piece := self._pipe.readline(LONGEST_LINE):
                piece = piece.removesuffix(b"\n")
                self._file.handle(logging.makeLogRecord({"msg": piece.decode("utf-8", "surrogateescape")}))
                line = piece.decode(errors="replace")
                with self._lock:
                    self._lines.append(line)
                    self._fresh.append(line)
        self._file.close()
