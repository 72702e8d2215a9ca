"""Numbers of attempts rise, whatever happens to the clock or to the disc, while one of the two is right."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigurationError
from server.attempts import FILE, NANOSECONDS_PER_ATTEMPT, Attempts

NOW = 1_700_000_000_000


def at(folder: Path, millisecond: int) -> int:
    """The next number of a hub that was started at this moment."""
    return Attempts(folder, clock=lambda: millisecond * NANOSECONDS_PER_ATTEMPT).next("project")


@given(st.lists(st.integers(0, 2**40), min_size=2, max_size=6))
def test_a_clock_that_jumps_repeats_no_number(
    tmp_path_factory: pytest.TempPathFactory, clock: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("hub")
    numbers = [at(folder, moment) for moment in clock]
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 1


def test_a_hub_that_lost_its_disc_goes_on_by_the_clock(tmp_path: Path) -> None:
    """Beyond what sites took before there was a file, too."""
    before = at(tmp_path, NOW)
    (tmp_path / FILE).unlink()
    assert at(tmp_path, NOW + 1) > before


def test_a_number_is_on_the_disc_before_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise ConfigurationError("the disk is full")

    monkeypatch.setattr("server.attempts.write_whole", full)
    with pytest.raises(ConfigurationError, match="full"):
        at(tmp_path, NOW)


def test_projects_are_numbered_apart(tmp_path: Path) -> None:
    still = Attempts(tmp_path, clock=lambda: 0)
    assert [still.next(project) for project in ("a", "a", "b", "a")] == [1, 2, 1, 3]


@pytest.mark.parametrize("content", [b"", b"{", b'{"project": -1}', b"[]"])
def test_a_damaged_file_is_not_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match="restore it from your backup"):
        at(tmp_path, NOW)
    assert (tmp_path / FILE).read_bytes() == content
