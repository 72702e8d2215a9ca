"""Pipes and devices in the place of files: refused in one line, and nobody waits for a writer."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from consortium_samples import Consortium, found
from saying import Say

from common.regular_file import open_regular, read_regular, read_regular_text, require_regular

LONGEST_SECONDS = 60.0


@pytest.fixture(autouse=True)
def nobody_waits() -> Iterator[None]:
    """A reader that waits for a pipe ends as a failure."""

    def fail(number: int, frame: FrameType | None) -> None:
        pytest.fail("it waited for somebody to write into the pipe")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_SECONDS)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path.name)


MAKE = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": a_socket,
    "link to a pipe": lambda path: (os.mkfifo(path.with_name("pipe")), path.symlink_to("pipe")),
}


@pytest.mark.parametrize("kind", MAKE)
def test_what_is_no_file_is_refused_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    MAKE[kind](tmp_path / "it")  # type: ignore[operator]  # what each returns is of no account
    for read in (require_regular, open_regular, read_regular, read_regular_text):
        with pytest.raises(OSError, match="Not a regular file"):
            read(tmp_path / "it")


def test_a_folder_or_nothing_is_refused_as_ever_and_a_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "it")
    (tmp_path / "it").write_bytes(b"a\r\nb")
    assert (read_regular(tmp_path / "it"), read_regular(tmp_path / "it", at_most=2)) == (b"a\r\nb", b"a\r")
    assert read_regular_text(tmp_path / "it") == "a\nb"


def test_a_pipe_that_takes_the_place_of_a_file_while_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "it")
    monkeypatch.setattr("common.regular_file.require_regular", lambda path: None)
    with pytest.raises(OSError, match="Not a regular file"):
        read_regular(tmp_path / "it")


@pytest.fixture
def chest(tmp_path: Path) -> Consortium:
    return found(tmp_path)


CREATE = ("fedvlp-server", "project", "create")
NAMED: dict[str, tuple[int, tuple[str, ...]]] = {
    "kit": (2, ("fedvlp-site", "join", "PIPE", "--home", "HOME")),
    "roster": (2, ("fedvlp-site", "roster", "sign", "PIPE", "--name", "east", "--home", "HOME")),
    "bundle.json": (2, ("fedvlp-site", "project", "show", "FOLDER", "--home", "HOME")),
    "bundle.json, by its hash": (
        2,
        ("fedvlp-site", "project", "approve", "FOLDER", "--hash", "0" * 12, "--home", "HOME"),
    ),
    "store.json": (3, ("fedvlp-site", "quality", "FOLDER")),
    "request": (2, ("fedvlp-server", "admit", "PIPE", "--home", "HUB")),
    "statement": (2, ("fedvlp-server", "project", "receive", "PIPE", "--home", "HUB")),
    "spec": (2, (*CREATE, "PIPE", "--site", "east", "--days", "1", "--out", "new", "--home", "HUB")),
    "run.json": (3, ("fedvlp-server", "report", "FOLDER")),
}


@pytest.mark.parametrize("what", NAMED)
def test_a_pipe_that_a_person_names_costs_one_line(
    say: Say, chest: Consortium, tmp_path: Path, what: str
) -> None:
    code, words = NAMED[what]
    folder = tmp_path / "folder"
    folder.mkdir()
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(folder / what.partition(",")[0])
    places = {
        "PIPE": tmp_path / "pipe",
        "FOLDER": folder,
        "HOME": chest.homes["east"].folder,
        "HUB": chest.hub.folder,
    }
    found_code, said = say(words[0], *(places.get(word, word) for word in words[1:]))
    assert (found_code, said.strip().count("\n")) == (code, 0), said
    assert str(places["PIPE"] if "PIPE" in words else folder) in said


@pytest.mark.parametrize("name", ["identity.key", "node.key", "kit.json", "authority.pem", "approvals.json"])
def test_a_pipe_in_the_place_of_a_sites_own_file_costs_one_line(
    say: Say, chest: Consortium, name: str
) -> None:
    home = chest.homes["east"].folder
    (home / name).unlink(missing_ok=True)
    os.mkfifo(home / name)
    for words in (("project", "status"), ("start", "--store", "nowhere")):
        code, said = say("fedvlp-site", *words, "--home", home)
        assert (code in (2, 4, 6), said.strip().count("\n")) == (True, 0), said
