import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import ConfigurationError
from common.files import sha256_of, whole_file, write_whole


def test_a_written_file_has_the_content_and_the_mode(tmp_path: Path) -> None:
    write_whole(tmp_path / "new" / "a", b"content", mode=0o600)
    assert (tmp_path / "new" / "a").read_bytes() == b"content"
    assert (tmp_path / "new" / "a").stat().st_mode & 0o777 == 0o600


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"old")
    with whole_file(tmp_path / "a") as file:
        file.write(b"new, half")
        file.flush()
        assert (tmp_path / "a").read_bytes() == b"old"
    assert (tmp_path / "a").read_bytes() == b"new, half"


def interrupted_write(path: Path, error: type[BaseException]) -> None:
    with whole_file(path) as file:
        file.write(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_beside(
    tmp_path: Path, error: type[BaseException]
) -> None:
    write_whole(tmp_path / "a", b"old")
    with pytest.raises(error):
        interrupted_write(tmp_path / "a", error)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"old")
    script = (
        "import os, sys; from pathlib import Path; from common.files import whole_file\n"
        "with whole_file(Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os._exit(9)"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(tmp_path / "a")], check=False)
    assert ended.returncode == 9
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(_: int) -> None:
        raise OSError(number, "no space left")

    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigurationError, match="disk is full: a was not written"):
        write_whole(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_digest_is_that_of_the_standard(tmp_path: Path) -> None:
    write_whole(tmp_path / "abc", b"abc")
    # Source: FIPS 180-4, example "abc".
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_digest_sees_every_chunk(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", b"\0" * (1 << 20) + b"1")
    write_whole(tmp_path / "b", b"\0" * (1 << 20) + b"2")
    assert sha256_of(tmp_path / "a") != sha256_of(tmp_path / "b")
