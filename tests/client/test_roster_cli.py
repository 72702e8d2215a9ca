"""Four hospitals form a consortium, each at its own terminal."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from saying import Say

from client.home import Home
from common.roster import read_roster

NAMES = ("east", "north", "west")


def test_hospitals_make_sign_and_approve_a_roster(say: Say, tmp_path: Path) -> None:
    keys = {}
    for name in NAMES:
        code, said = say("fedvlp-site", "identity", "--home", tmp_path / name)
        assert code == 0
        keys[name] = said.strip()
        assert re.fullmatch(r"[0-9a-f]{64}", keys[name])
        assert say("fedvlp-site", "identity", "--home", tmp_path / name)[1].strip() == keys[name]

    file = tmp_path / "roster.json"
    members = [f"--member={name}={keys[name]}" for name in NAMES]
    code, said = say("fedvlp-server", "roster", file, *members, "--min-sites", 3, "--weight-cap", 1024)
    assert code == 0
    assert "3 sites" in said

    code, said = say("fedvlp-site", "roster", "approve", file, "--home", tmp_path / "east")
    assert (code, said.count("\n")) == (6, 1)
    assert "lacks a valid signature of east" in said
    for name in NAMES:
        assert say("fedvlp-site", "roster", "sign", file, "--name", name, "--home", tmp_path / name)[0] == 0
    code, said = say("fedvlp-site", "roster", "show", file)
    assert code == 0
    assert said.splitlines()[-1] == "all signatures are valid"
    for name in NAMES:
        assert say("fedvlp-site", "roster", "approve", file, "--home", tmp_path / name)[0] == 0
        assert Home(tmp_path / name).member(
            name, read_roster(file), now=datetime.now(UTC)
        ).place == NAMES.index(name)


def test_a_site_signs_for_nobody_else(say: Say, tmp_path: Path) -> None:
    keys = {name: say("fedvlp-site", "identity", "--home", tmp_path / name)[1].strip() for name in NAMES}
    members = [f"--member={name}={keys[name]}" for name in NAMES]
    file = tmp_path / "roster.json"
    say("fedvlp-server", "roster", file, *members, "--min-sites", 3, "--weight-cap", 1024)
    before = file.read_bytes()
    code, said = say("fedvlp-site", "roster", "sign", file, "--name", "west", "--home", tmp_path / "east")
    assert code == 6
    assert "another identity for west" in said
    assert file.read_bytes() == before
    code, said = say("fedvlp-site", "roster", "sign", file, "--name", "east", "--home", tmp_path / "nowhere")
    assert code == 2
    assert "fedvlp-site identity" in said


@pytest.mark.parametrize(
    ("members", "sites", "words"),
    [
        (["a=1", "b=2", "c=3"], 3, "64 hex digits"),
        (["a=" + "1" * 64, "b=" + "2" * 64], 3, "at least 3"),
        (["a=" + "1" * 64, "b=" + "2" * 64, "c=" + "2" * 64], 3, "same identity"),
        (["a=" + "1" * 64, "b=" + "2" * 64, "c=" + "3" * 64], 2, "greater than or equal to 3"),
    ],
)
def test_a_roster_that_cannot_be_is_refused_in_one_line(
    say: Say, tmp_path: Path, members: list[str], sites: int, words: str
) -> None:
    options = [f"--member={text}" for text in members]
    code, said = say(
        "fedvlp-server", "roster", tmp_path / "r.json", *options, "--min-sites", sites, "--weight-cap", 1
    )
    assert (code, said.count("\n")) == (2, 1)
    assert words in said
    assert not (tmp_path / "r.json").exists()
