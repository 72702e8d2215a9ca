from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from roster_samples import EXPIRES, KEYS, NAMES, roster
from tiny import tiny_spec

from common.errors import ConfigurationError, IntegrityError, PolicyError
from common.project import ROSTER as PROJECT_ROSTER
from common.project import create_project, open_project
from common.roster import Roster, read_roster
from common.secagg.keys import identity_of
from common.spec.run import Spec


def test_a_roster_survives_its_file_and_knows_places(tmp_path: Path) -> None:
    made = roster()
    made.save(tmp_path / "roster.json")
    read = read_roster(tmp_path / "roster.json")
    assert read == made
    read.require_all_signatures()
    assert [read.place_of(name) for name in NAMES] == [0, 1, 2]
    assert read.identities[1] == identity_of(KEYS["north"])
    with pytest.raises(ConfigurationError, match="does not name site zoo"):
        read.place_of("zoo")


def test_signatures_do_not_change_what_is_signed_and_anything_else_does() -> None:
    assert roster(signed=False).digest() == roster().digest()
    others = [
        roster(version=2),
        roster(expires=EXPIRES + timedelta(days=1)),
        roster(weight_cap=1),
        roster(profiles=("wide", "thin")),
        roster(names=(*NAMES, "zoo")),
        roster(names=(*NAMES, "zoo"), min_sites=4),
    ]
    assert len({other.digest() for other in (*others, roster())}) == 7


@pytest.mark.parametrize("name", NAMES)
def test_every_member_must_have_signed_this_very_roster(name: str) -> None:
    made = roster()
    for signatures in (
        {other: text for other, text in made.signatures.items() if other != name},
        made.signatures | {name: made.signatures["west" if name != "west" else "east"]},
        made.signatures | {name: roster(version=2).signatures[name]},
    ):
        with pytest.raises(IntegrityError, match=f"lacks a valid signature of {name}"):
            made.model_copy(update={"signatures": signatures}).require_all_signatures()


def test_only_the_holder_of_the_identity_signs() -> None:
    with pytest.raises(IntegrityError, match="another identity for east"):
        roster().signed_by("east", KEYS["west"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": ("east", "west")}, "at least 3"),
        ({"names": ("east", "west", "north")}, "in order"),
        ({"names": ("east", "east", "north")}, "once each"),
        ({"min_sites": 2}, "greater than or equal to 3"),
        ({"min_sites": 4}, "but there are 3 members"),
        ({"profiles": ()}, "at least 1"),
    ],
)
def test_a_roster_that_protects_nobody_cannot_be_made(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        roster(signed=False, **changes)


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b'{"format": 3}'])
def test_what_is_no_roster_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "roster.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no roster") as caught:
        read_roster(tmp_path / "roster.json")
    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in caught.value.outward


def test_a_roster_holds_until_the_moment_that_it_names() -> None:
    roster().require_in_time(EXPIRES - timedelta(seconds=1))
    with pytest.raises(PolicyError, match="ran out on 2030-01-01") as caught:
        roster().require_in_time(EXPIRES)
    assert caught.value.outward == "roster has run out"


def test_a_roster_that_never_ran_out_has_to_be_made_anew(tmp_path: Path) -> None:
    (tmp_path / "roster.json").write_text('{\n  "format": 1,\n  "version": 1\n}')
    with pytest.raises(ConfigurationError, match="of format 1, which never ran out"):
        read_roster(tmp_path / "roster.json")


# --- in a project -------------------------------------------------------------------------------------------


def secure(**changes: Any) -> Spec:
    settings: dict[str, Any] = {
        "data__anchor_pairs": 0,
        "federation__min_sites": 3,
        "train__vocabulary_rows": "frozen",
        "secure_aggregation": {"mode": "sa1", "min_sites": 3, "rare_rows": "frozen"},
    }
    return tiny_spec(**settings | changes)


def test_a_project_holds_its_roster_to_the_digest(tmp_path: Path) -> None:
    project = create_project(tmp_path / "p", secure(), sites=[*NAMES], bank=None, roster=roster())
    assert project.roster == roster()
    roster(version=2).save(tmp_path / "p" / PROJECT_ROSTER)
    with pytest.raises(IntegrityError, match=r"differs from project\.json"):
        _ = open_project(tmp_path / "p").roster


@pytest.mark.parametrize(
    ("spec", "made", "words"),
    [
        (secure(), None, "needs a roster"),
        (secure(), roster(names=(*NAMES, "zoo")), "not those of the roster"),
        (secure(federation__weight_cap=2048), roster(), "the roster allows 1024"),
        (secure(federation__profile="thin"), roster(), "the roster allows wide"),
        (secure(secure_aggregation__min_sites=3), roster(names=(*NAMES, "zoo"), min_sites=4), "not those of"),
        (secure(secure_aggregation={"mode": "off"}), roster(), "no use for a roster"),
    ],
)
def test_spec_and_roster_must_agree(tmp_path: Path, spec: Spec, made: Roster | None, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        create_project(tmp_path / "p", spec, sites=[*NAMES], bank=None, roster=made)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train__vocabulary_rows": "trained"}, "needs train.vocabulary_rows = 'frozen'"),
        ({"secure_aggregation__rare_rows": "noise"}, "needs a privacy.mode other than"),
        ({"secure_aggregation__min_sites": 2}, "greater than or equal to 3"),
        ({"federation__min_sites": 2}, "is below secure_aggregation.min_sites"),
        ({"secure_aggregation": {"mode": "sa1", "min_sites": 3}}, "secure_aggregation.rare_rows' is missing"),
        (
            {"secure_aggregation": {"mode": "sa1", "rare_rows": "frozen"}},
            "secure_aggregation.min_sites' is miss",
        ),
        ({"secure_aggregation": {"mode": "sa2"}}, "write one of off, sa1"),
        ({"secure_aggregation": {}}, "secure_aggregation.mode' is missing"),
    ],
)
def test_a_spec_says_in_full_how_sums_are_protected(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        secure(**changes)
