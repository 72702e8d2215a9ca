"""What has expired stays expired, though the clock is set back; a person can say that it was wrong before."""

from datetime import timedelta
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from saying import Say
from site_time import set_clock

from client.clock import CLOCK, LATEST, SiteClock
from common.errors import ConfigurationError
from common.project import Project
from common.signed import CLOCK_TOLERANCE

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


@pytest.fixture
def chest(tmp_path: Path) -> Consortium:
    return found(tmp_path)


def test_a_time_that_was_seen_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SiteClock(tmp_path)
    set_clock(monkeypatch, DAY)
    seen = clock.noted()
    set_clock(monkeypatch, DAY - CLOCK_TOLERANCE + 2 * SECOND)  # clocks are put right by some minutes
    assert clock.now() < seen
    set_clock(monkeypatch, DAY - CLOCK_TOLERANCE - 2 * SECOND)
    for look in (clock.now, clock.noted):
        with pytest.raises(
            ConfigurationError, match=f"it said {seen:%Y-%m-%d %H:%M} before: set it; .*remove"
        ):
            look()
    (tmp_path / CLOCK / LATEST).unlink()
    assert clock.noted() < seen


def test_only_times_that_lie_apart_are_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, file = SiteClock(tmp_path), tmp_path / CLOCK / LATEST
    clock.now()
    assert not file.exists()
    clock.noted()
    first = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    set_clock(monkeypatch, 30 * SECOND)
    clock.noted()
    assert file.read_bytes() == first
    set_clock(monkeypatch, 62 * SECOND)
    clock.noted()
    assert file.read_bytes() > first


def test_a_folder_that_is_no_home_yet_is_not_made(tmp_path: Path) -> None:
    SiteClock(tmp_path / "none").noted()
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("content", [b"", b"yesterday", b"\xff", b"2026-13-01"])
def test_a_damaged_file_is_not_taken_for_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CLOCK).mkdir()
    (tmp_path / CLOCK / LATEST).write_bytes(content)
    with pytest.raises(ConfigurationError, match="nobody can tell whether the clock was set back"):
        SiteClock(tmp_path).noted()
    assert (tmp_path / CLOCK / LATEST).read_bytes() == content


def test_an_expired_bundle_cannot_be_approved_by_setting_the_clock_back(
    say: Say, chest: Consortium, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, home = chest.bundle(project, days=30), chest.homes["east"].folder
    words = ("project", "approve", bundle.project.folder, "--hash", bundle.digest, "--home", home)
    assert say("fedvlp-site", *words)[0] == 0
    set_clock(monkeypatch, 31 * DAY)
    assert say("fedvlp-site", "project", "revoke", "--home", home)[0] == 0
    code, said = say("fedvlp-site", *words)
    assert (code, "expired on" in said) == (4, True), said
    set_clock(monkeypatch, 0 * DAY)
    for again in (words, ("project", "status", "--home", home)):
        code, said = say("fedvlp-site", *again)
        assert (code, said.count("\n"), "remove" in said) == (2, 1, True), said
    assert "remove" in say("fedvlp-site", "doctor", "--home", home)[1]
    (home / CLOCK / LATEST).unlink()  # whoever may do this may also say what is approved here
    assert say("fedvlp-site", *words)[0] == 0


def test_an_expired_kit_cannot_be_taken_by_setting_the_clock_back(
    say: Say, chest: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = chest.homes["east"].folder
    words = ("join", home / "kit.json", "--home", home)
    set_clock(monkeypatch, 5000 * DAY)
    code, said = say("fedvlp-site", *words)
    assert (code, "held until" in said) == (4, True), said
    set_clock(monkeypatch, 0 * DAY)
    code, said = say("fedvlp-site", *words)
    assert (code, "remove" in said) == (2, True), said
