"""A run of a consortium, in one process: hospitals take part while they approve, and no longer."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from privacy_samples import joint_spec, private_spec
from saying import Say
from tiny import SITES, tiny_spec

from client.app import app
from client.explanation import explain
from client.ledger import Ledger
from common.errors import IntegrityError, PeerError, PolicyError
from common.privacy.accounting import Steps, epsilon_of
from common.project import Project, create_project
from common.roster import Member, Roster, make_roster
from common.secagg.keys import identity_of
from common.store import Store
from server import cohort
from server.app import app as server_app
from server.members import Members
from server.settings import RunSettings
from simulations.grid import InProcessGrid
from simulations.local_grid import hub_context


def run(grid: InProcessGrid, settings: RunSettings) -> None:
    server_app(grid, hub_context(settings.to_config()))


@pytest.fixture
def hurried(tmp_path: Path, bank: Store) -> Project:
    spec = tiny_spec(federation__reply_timeout_seconds=0.5)
    return create_project(tmp_path / "unsigned", spec, sites=[*SITES], bank=bank)


def statuses(out: Path) -> list[dict[str, str]]:
    lines = (out / "rounds.jsonl").read_text().splitlines()
    return [{site["name"]: site["status"] for site in json.loads(line)["sites"]} for line in lines]


def approve_everywhere(chest: Consortium, folder: Path) -> None:
    """All sites approve the project in `folder`, and the hub knows."""
    for site in SITES:
        chest.box.receive(chest.approvals(site).approve(folder, now=chest.founded)[1], now=chest.founded)


def test_a_round_asks_those_who_approve_and_waits_for_a_quorum_of_them(
    tmp_path: Path, hurried: Project, stores: dict[str, Store], bank: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort, "ASK_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr("server.app.LATECOMER_SECONDS", 0.0)
    chest = found(tmp_path)
    bundle = chest.bundle(hurried)
    folder = bundle.project.folder
    settings = RunSettings(folder, tmp_path / "out", {}, False, "inprocess", hub=chest.hub.folder)
    grid = InProcessGrid({site: chest.node(site, stores, bank) for site in SITES}, client_app=app)

    chest.approvals("east").approve(folder, now=chest.founded)
    with pytest.raises(PeerError, match="have north, west approve the project"):
        run(grid, settings)
    chest.approvals("north").approve(folder, now=chest.founded)
    run(grid, settings)
    assert statuses(settings.out) == [{"east": "ok", "north": "ok"}] * 3
    assert chest.box.approvers(bundle.digest) == ("east", "north")


def test_a_site_that_revoked_is_refused_once_and_then_no_longer_asked(
    tmp_path: Path, hurried: Project, stores: dict[str, Store], bank: Store
) -> None:
    chest = found(tmp_path)
    bundle = chest.bundle(hurried)
    folder = bundle.project.folder
    approve_everywhere(chest, folder)
    chest.approvals("west").revoke(now=chest.founded)  # the hub does not know
    settings = RunSettings(folder, tmp_path / "out", {}, False, "inprocess", hub=chest.hub.folder)
    grid = InProcessGrid({site: chest.node(site, stores, bank) for site in SITES}, client_app=app)
    run(grid, settings)
    first, *others = statuses(settings.out)
    assert first == {"east": "ok", "north": "ok", "west": "refused"}
    assert others == [{"east": "ok", "north": "ok"}] * 2
    assert chest.box.approvers(bundle.digest) == ("east", "north")


def test_a_removed_site_is_no_longer_asked_and_a_changed_bundle_does_not_run(
    tmp_path: Path, hurried: Project, stores: dict[str, Store], bank: Store
) -> None:
    chest = found(tmp_path)
    folder = chest.bundle(hurried).project.folder
    approve_everywhere(chest, folder)
    Members(chest.hub).remove("west", now=chest.founded)
    settings = RunSettings(folder, tmp_path / "out", {}, False, "inprocess", hub=chest.hub.folder)
    grid = InProcessGrid({site: chest.node(site, stores, bank) for site in SITES}, client_app=app)
    run(grid, settings)
    assert statuses(settings.out) == [{"east": "ok", "north": "ok"}] * 3

    (folder / "app.fab").write_bytes(b"other")
    again = RunSettings(folder, tmp_path / "again", {}, False, "inprocess", hub=chest.hub.folder)
    with pytest.raises(IntegrityError, match=r"app\.fab differs"):
        run(grid, again)


def test_a_run_is_exported_from_its_own_folder_when_its_bundle_is_gone(
    tmp_path: Path, hurried: Project, stores: dict[str, Store], bank: Store, say: Say
) -> None:
    chest = found(tmp_path)
    folder = chest.bundle(hurried).project.folder
    approve_everywhere(chest, folder)
    settings = RunSettings(folder, tmp_path / "out", {}, False, "inprocess", hub=chest.hub.folder)
    assert say("fedvlp-server", "export", "out", "model") == (
        3,
        "fedvlp-server: out holds no run; name the --out folder of one that has begun\n",
    )
    run(InProcessGrid({site: chest.node(site, stores, bank) for site in SITES}, client_app=app), settings)
    shutil.rmtree(folder)
    assert say("fedvlp-server", "export", "out", "model") == (0, "model after round 3 in model\n")
    written = [tmp_path / where / "model.safetensors" for where in ("model", "out/model")]
    assert written[0].read_bytes() == written[1].read_bytes()


def signed_roster(chest: Consortium, *, without: str = "") -> Roster:
    """All members of the consortium; `without` one signature."""
    keys = {name: home.identity() for name, home in chest.homes.items()}
    members = tuple(Member(name=name, identity=identity_of(key).hex()) for name, key in sorted(keys.items()))
    roster = make_roster(
        version=1,
        expires=chest.founded + timedelta(days=30),
        members=members,
        min_sites=3,
        weight_cap=1024,
        profiles=("wide",),
    )
    for name, key in keys.items():
        roster = roster if name == without else roster.signed_by(name, key)
    return roster


@pytest.fixture
def secure(tmp_path: Path) -> tuple[Consortium, Project]:
    """A consortium whose project sums securely and trains privately."""
    chest = found(tmp_path)
    spec = private_spec(
        federation__rounds=1,
        federation__min_sites=3,
        data__anchor_pairs=0,
        secure_aggregation__mode="sa1",
        secure_aggregation__min_sites=3,
        secure_aggregation__rare_rows="noise",
    )
    roster = signed_roster(chest)
    return chest, create_project(tmp_path / "unsigned", spec, sites=[*SITES], bank=None, roster=roster)


def test_approving_a_bundle_approves_its_roster_and_the_budget_that_it_names(
    tmp_path: Path, secure: tuple[Consortium, Project], stores: dict[str, Store], bank: Store
) -> None:
    chest, project = secure
    bundle = chest.bundle(project)
    nodes = {}
    for site in SITES:
        explained = explain(bundle, site=site, before=None)
        assert (explained.epsilon, explained.delta) == (30.0, 1e-2)
        assert "in which every patient takes part with a chance of 0.5, until" in explained.duration
        assert "rows" not in explained.duration
        said = " ".join([*explained.leaves, *explained.protection, *explained.warnings])
        assert "sums over at least 3 hospitals" in said
        assert "epsilon 30 at delta 0.01" in said
        assert "without" not in said
        chest.approvals(site).approve(bundle.project.folder, now=chest.founded)
        ledger = tmp_path / f"ledger-{site}"
        Ledger.open_new(ledger, population=site, epsilon=60, delta=1e-2)
        nodes[site] = chest.node(site, stores, bank) | {"ledger": str(ledger)}
    settings = RunSettings(
        bundle.project.folder, tmp_path / "out", {}, False, "inprocess", hub=chest.hub.folder
    )
    run(InProcessGrid(nodes, client_app=app), settings)
    assert statuses(settings.out) == [dict.fromkeys(SITES, "ok")]
    assert {len(Ledger(tmp_path / f"ledger-{site}").read().reserved) for site in SITES} == {1}


def test_a_bundle_with_joint_noise_says_what_it_rests_on_and_what_holds_without(tmp_path: Path) -> None:
    chest = found(tmp_path)
    spec = joint_spec(
        privacy__patients=dict.fromkeys(SITES, 6),
        federation__min_sites=3,
        secure_aggregation__min_sites=3,
    )
    roster = signed_roster(chest)
    bundle = chest.bundle(
        create_project(tmp_path / "unsigned", spec, sites=[*SITES], bank=None, roster=roster)
    )
    explained = explain(bundle, site="east", before=None)
    alone = epsilon_of([Steps(2**31, 2**-0.5, 2)], 1e-2)
    assert (explained.epsilon, explained.epsilon_alone) == (30.0, pytest.approx(alone))
    said = " ".join([*explained.protection, *explained.warnings])
    assert "2 hospitals make it together, and this one signs for no sum over fewer than 3" in said
    assert f"all other hospitals work together, epsilon of each patient here is {alone:.2f}" in said


def test_a_bundle_whose_roster_lacks_a_signature_is_not_approved(
    secure: tuple[Consortium, Project],
) -> None:
    chest, project = secure
    signed_roster(chest, without="west").save(project.folder / "roster.json")
    bundle = chest.bundle(project)
    with pytest.raises(IntegrityError, match="lacks a valid signature of west"):
        chest.approvals("east").approve(bundle.project.folder, now=chest.founded)
    with pytest.raises(PolicyError, match="none ever was"):
        chest.approvals("east").in_force(now=chest.founded)
