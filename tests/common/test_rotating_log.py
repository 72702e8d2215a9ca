"""Logs of bounded size: nothing is lost between two files, and a process never waits for its log."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from common.processes.child import Child
from common.processes.rotating_log import LINES_REMEMBERED, OLDER_KEPT, RotatingLog

WAIT_SECONDS = 20.0


@pytest.fixture
def pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """The end that is read, which its reader closes, and the one that is written."""
    reading, writing = os.pipe()
    written = os.fdopen(writing, "wb", buffering=0)
    yield os.fdopen(reading, "rb"), written
    written.close()


def files(log: Path) -> list[bytes]:
    """From the oldest."""
    older = [log.with_name(f"{log.name}.{number}") for number in range(OLDER_KEPT, 0, -1)]
    return [path.read_bytes() for path in (*older, log) if path.exists()]


def test_a_full_file_makes_room_and_no_line_is_lost(tmp_path: Path, pipe: tuple[BinaryIO, BinaryIO]) -> None:
    log = RotatingLog(tmp_path / "it.log", pipe[0], largest_bytes=1000)
    lines = [b"line %03d \xff is no text\n" % number for number in range(150)]
    for line in lines:
        pipe[1].write(line)
    pipe[1].close()
    log.settle()
    kept = files(tmp_path / "it.log")
    assert b"".join(kept) == b"".join(lines)
    assert len(kept) == 4
    assert max(map(len, kept)) <= 1000


def test_the_oldest_files_go(tmp_path: Path, pipe: tuple[BinaryIO, BinaryIO]) -> None:
    (tmp_path / "it.log").write_bytes(b"from before\n" * 90)
    log = RotatingLog(tmp_path / "it.log", pipe[0], largest_bytes=1000)
    for number in range(2000):
        pipe[1].write(b"%09d\n" % number)
    pipe[1].close()
    log.settle()
    kept = files(tmp_path / "it.log")
    assert len(kept) == 1 + OLDER_KEPT
    assert b"".join(kept).endswith(b"000001999\n")
    assert len([*tmp_path.iterdir()]) == 1 + OLDER_KEPT
    assert log.output().count("\n") == len(log.fresh()) == LINES_REMEMBERED
    assert log.fresh() == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_full_disk_costs_lines_and_is_told_once(
    pipe: tuple[BinaryIO, BinaryIO], capsys: pytest.CaptureFixture[str]
) -> None:
    log = RotatingLog(Path("/dev/full"), pipe[0])
    for _ in range(50):
        pipe[1].write(b"x" * 10000 + b"\n")  # more than a pipe holds: who writes would wait
    pipe[1].close()
    log.settle()
    assert log.output() == ("x" * 10000 + "\n") * 50
    assert capsys.readouterr().err.count("No space left") == 1


def test_what_a_child_printed_is_there_once_it_has_ended(tmp_path: Path) -> None:
    said = "print('\\x1b[31mfirst\\x1b[0m', flush=True); print('second'); raise SystemExit(3)"
    child = Child(
        "it", [sys.executable, "-c", said], environment=os.environ, log=tmp_path / "it.log", rotated=True
    )
    deadline = time.monotonic() + WAIT_SECONDS
    while child.running and time.monotonic() < deadline:
        time.sleep(0.01)
    assert child.last_words() == "second"
    assert child.reap() == 3
    assert child.output() == "first\nsecond\n"
    assert child.news() == ["first", "second"]
    assert (tmp_path / "it.log").read_bytes() == b"\x1b[31mfirst\x1b[0m\nsecond\n"
