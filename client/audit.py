"""A hospital's audit log: what the hub asked, what left and what was refused, each line chained to the last.

HOME/audit/log.jsonl   one line an event, canonical JSON; only ever appended to
HOME/audit/head.json   number, digest and end of the last line, once more: a log that was cut short shows
HOME/audit/lock        held by the process that reads or appends; another one waits

A line is on the disc, and the head after it, before what it tells of leaves. A process that is killed while
it writes leaves half a line: that half stays, and the next line, RECOVERED, gives its length and digest.
Whoever may write to the folder can make up another log as a whole; heads that were noted elsewhere
(`fedvlp-site audit verify --head`) find that out.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client.audit_line import Event, Head, Line, line_after, whole_line
from common.errors import ConfigurationError, IntegrityError
from common.files import write_whole
from common.regular_file import open_regular, read_regular

AUDIT = "audit"
"""Folder of the log in a site's home."""
LOG, HEAD, LOCK = "log.jsonl", "head.json", "lock"
LONGEST_LINE = 1 << 16
"""Bytes; every part of a line has a bound, and all together stay far below."""
LINES_BEYOND_HEAD = 2
"""A process that is killed leaves at most so many that the head does not know: RECOVERED and its own."""
CUT = b"~\n"
"""Ends half a line, so that one which lacks only its end is not taken for a whole one."""


@dataclass(frozen=True)
class Record:
    """A log, or the part of it beyond its head, that was read and found whole."""

    lines: tuple[Line, ...]
    head: Head
    """Where the last whole line ends."""
    half: bytes
    """What a killed process left behind that; the next line will say so."""


@dataclass(frozen=True)
class Audit:
    """The log in one folder; every call opens, checks and closes it, so processes take turns."""

    folder: Path

    @property
    def exists(self) -> bool:
        """Whether anything was written down here, as far as one can see."""
        return (self.folder / LOG).exists() or (self.folder / HEAD).exists()

    def append(self, event: Event) -> None:
        """Write `event` down; it is on the disc when this returns.

        Raises:
            ConfigurationError: the disc is full or cannot be written; what `event` tells of must not happen.
            IntegrityError: the end of the log was altered, or is missing.
        """
        with self._telling_disc():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self._locked(os.O_RDWR | os.O_CREAT):
                found = self._beyond_head()
                if found.lines:  # so that there are never more of them
                    self._keep_head(found.head)
                self._write(found, event)

    def read(self) -> Record:
        """The whole log, checked from its first line to its head.

        Raises:
            ConfigurationError: there is none.
            IntegrityError: a line was altered, dropped, moved or cut off; the error names it.
        """
        if not self.exists:
            raise ConfigurationError(
                f"{self.folder} holds no audit log; it begins with the hub's first message, or was taken away"
            )
        path = self.folder / LOG
        with self._locked(os.O_RDONLY):
            known, content = self._head(), read_regular(path) if path.exists() else b""
        found = self._follow(Head(), content)
        if found.head.number < known.number:
            lines = content.count(b"\n")
            raise self._damaged(lines + 1, f"missing; the log once had {known.number} whole lines")
        if known.number and not _ends_at(known, content, found.lines[known.number - 1]):
            raise self._damaged(known.number, "another than the one that was written there")
        if found.head.number > known.number + LINES_BEYOND_HEAD:
            raise self._damaged(known.number + 1, "the log's head does not know it")
        return found

    def _beyond_head(self) -> Record:
        """What follows the head, once it is clear that the log reaches up to it."""
        known, path = self._head(), self.folder / LOG
        size = path.stat().st_size if path.exists() else 0
        if size < known.end:
            raise self._damaged(known.number, "missing or cut short")
        if not size:
            return Record((), known, b"")
        with open_regular(path) as file:
            file.seek(max(0, known.end - LONGEST_LINE))
            before = file.read(known.end - file.tell())
            content = file.read()
        if known.number:
            last = whole_line(before[before.rfind(b"\n", 0, -1) + 1 :])
            if last is None or last.digest != known.digest:
                raise self._damaged(known.number, "altered")
        found = self._follow(known, content)
        if len(found.lines) > LINES_BEYOND_HEAD:
            raise self._damaged(known.number + 1, "the log's head does not know it")
        return found

    def _follow(self, head: Head, content: bytes) -> Record:
        """Follow the chain through `content`, which begins where `head` ends."""
        lines: list[Line] = []
        half, half_at = b"", 0
        for place, text in enumerate(content.splitlines(keepends=True), start=head.number + 1):
            line = whole_line(text)
            if line is None:
                half, half_at = half + text, half_at or place
                continue
            if half and (line.event, line.sha256) != ("RECOVERED", hashlib.sha256(half).hexdigest()):
                raise self._damaged(half_at, "altered")
            if (line.number, line.previous) != (head.number + 1, head.digest):
                raise self._damaged(
                    place, f"does not follow the one before it, which is number {head.number}"
                )
            head = Head(number=line.number, digest=line.digest, end=head.end + len(half) + len(text))
            half, half_at = b"", 0
            lines.append(line)
        return Record(tuple(lines), head, half)

    def _write(self, found: Record, event: Event) -> None:
        """Append `event` to what was found, and before it what there is to say of half a line."""
        head, events, text = found.head, [event], b""
        if found.half:
            half = found.half + CUT
            digest = hashlib.sha256(half).hexdigest()
            events, text = [Event(event="RECOVERED", size=len(half), sha256=digest), event], CUT
        end = head.end + len(found.half)
        for one in events:
            line = line_after(head, one)
            assert len(line.to_bytes()) <= LONGEST_LINE  # a longer one could not be found again
            text += line.to_bytes()
            head = Head(number=line.number, digest=line.digest, end=end + len(text))
        _append(self.folder / LOG, text)
        self._keep_head(head)

    def _head(self) -> Head:
        path = self.folder / HEAD
        if not path.exists():
            return Head()
        content = read_regular(path)
        try:
            head = Head.model_validate_json(content)
            if head.to_bytes() != content:
                raise ValueError
            return head
        except ValueError:
            raise IntegrityError(
                f"{path} is damaged, so nobody can tell where the audit log ends; {_REMEDY}",
                outward="audit log damaged",
            ) from None

    def _keep_head(self, head: Head) -> None:
        write_whole(self.folder / HEAD, head.to_bytes(), mode=0o600)

    @contextmanager
    def _locked(self, flags: int) -> Iterator[None]:
        """One process at a time; the lock of a process that dies is free at once."""
        path = self.folder / LOCK
        if not flags & os.O_CREAT and not path.exists():  # a copy, which nobody appends to
            yield
            return
        descriptor = os.open(path, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if flags & os.O_CREAT else fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _telling_disc(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ConfigurationError) as error:
            why = error.strerror if isinstance(error, OSError) else "disk full"
            raise ConfigurationError(
                f"{self.folder}: the audit log cannot be written ({why}), so nothing is trained and nothing "
                "is answered; make room there, or give the folder back to the user who runs this site",
                outward="audit log cannot be written",
            ) from None

    def _damaged(self, line: int, how: str) -> IntegrityError:
        return IntegrityError(
            f"{self.folder / LOG}, line {line}: {how}; {_REMEDY}", outward="audit log damaged"
        )


_REMEDY = "nothing is answered until its newest copy is restored, or the folder is put aside and kept"


def _ends_at(head: Head, content: bytes, line: Line) -> bool:
    last = line.to_bytes()
    return line.digest == head.digest and content[head.end - len(last) : head.end] == last


def _append(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        while text:
            text = text[os.write(descriptor, text) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
