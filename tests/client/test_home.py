"""A site's identity, and the roster that its people approved."""

from pathlib import Path

import pytest
from roster_samples import EXPIRES, IN_TIME, KEYS, NAMES, roster

from client.home import IDENTITY, ROSTER, Home
from common.errors import ConfigurationError, IntegrityError, PolicyError


def test_an_identity_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(ConfigurationError, match="no identity"):
        home.identity()
    made = home.identity(create=True)
    assert home.identity(create=True).expose() == home.identity().expose() == made.expose()
    assert (home.folder / IDENTITY).stat().st_mode & 0o077 == 0


def home_of(tmp_path: Path, name: str) -> Home:
    home = Home(tmp_path / name)
    home.folder.mkdir()
    (home.folder / IDENTITY).write_bytes(KEYS[name].expose())
    return home


def test_a_site_is_a_member_of_the_roster_that_it_approved_and_of_no_other(tmp_path: Path) -> None:
    home = home_of(tmp_path, "north")
    with pytest.raises(PolicyError, match="not the one approved"):
        home.member("north", roster(), now=IN_TIME)
    home.approve(roster(), now=IN_TIME)
    assert home.member("north", roster(), now=IN_TIME).place == 1
    for other in (roster(version=2), roster(names=(*NAMES, "zoo"))):
        with pytest.raises(PolicyError, match="not the one approved"):
            home.member("north", other, now=IN_TIME)


def test_a_roster_without_all_signatures_is_not_approved(tmp_path: Path) -> None:
    home = home_of(tmp_path, "north")
    with pytest.raises(IntegrityError, match="lacks a valid signature"):
        home.approve(roster(signed=False), now=IN_TIME)
    assert not (home.folder / ROSTER).exists()


def test_a_successor_may_not_be_older_or_allow_smaller_cohorts(tmp_path: Path) -> None:
    home = home_of(tmp_path, "north")
    four = (*NAMES, "zoo")
    home.approve(roster(names=four, version=3, min_sites=4), now=IN_TIME)
    for worse in (roster(names=four, version=4, min_sites=3), roster(names=four, version=2, min_sites=4)):
        with pytest.raises(PolicyError):
            home.approve(worse, now=IN_TIME)
    assert home.member("north", roster(names=four, version=3, min_sites=4), now=IN_TIME).place == 1
    home.approve(roster(names=four, version=3, min_sites=4), now=IN_TIME)
    home.approve(roster(names=four, version=4, min_sites=4), now=IN_TIME)


def test_a_roster_that_has_run_out_is_not_approved_and_not_kept_to(tmp_path: Path) -> None:
    home = home_of(tmp_path, "north")
    with pytest.raises(PolicyError, match="ran out"):
        home.approve(roster(), now=EXPIRES)
    assert not (home.folder / ROSTER).exists()
    home.approve(roster(), now=IN_TIME)
    with pytest.raises(PolicyError, match="ran out"):
        home.member("north", roster(), now=EXPIRES)
