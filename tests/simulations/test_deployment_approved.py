"""A consortium as real processes: the hub's own certificate, the sites' own keys, and what they approved."""

from pathlib import Path

import pytest
from consortium_samples import Consortium, found
from tiny import SITES, tiny_spec

from client.audit import AUDIT, Audit
from common.bundle_folder import Bundle
from common.errors import PeerError
from common.project import create_project
from common.store import Store
from server.flower_app import app_folder, build_app
from server.members import Members
from server.report.records import read_rounds, read_run
from server.settings import RunSettings
from simulations.deployment import LoopbackDeployment
from simulations.federation import Federation, run_federation

pytestmark = pytest.mark.slow

ROUNDS = 2
PATIENCE_SECONDS = 600


@pytest.fixture
def chest(tmp_path: Path) -> Consortium:
    return found(tmp_path, hub="127.0.0.1:443")


@pytest.fixture
def bundle(chest: Consortium, tmp_path: Path, bank: Store) -> Bundle:
    """Two rounds, with the app as it is in this repository."""
    project = create_project(
        tmp_path / "unsigned", tiny_spec(federation__rounds=ROUNDS), sites=[*SITES], bank=bank
    )
    return chest.bundle(project, fab=build_app(app_folder(tmp_path / "app")).fab)


def statuses(out: Path) -> list[dict[str, str]]:
    return [{site.name: site.status for site in record.sites} for record in read_rounds(out)]


def test_hospitals_take_part_while_they_approve_and_no_longer(
    tmp_path: Path, chest: Consortium, bundle: Bundle, stores: dict[str, Store], bank: Store
) -> None:
    for site in SITES:
        chest.approvals(site).approve(bundle.project.folder, now=chest.founded)
    app = app_folder(tmp_path / "deployed")
    assert build_app(app).fab == (bundle.project.folder / "app.fab").read_bytes()
    nodes = {site: chest.node(site, stores, bank) for site in SITES}
    with LoopbackDeployment(
        tmp_path / "deployment", app=app, sites=nodes, consortium=chest.hub
    ) as deployment:

        def run(name: str) -> Path:
            settings = RunSettings(
                bundle.project.folder, tmp_path / name, {}, False, "deployment", hub=chest.hub.folder
            )
            deployment.run(settings.to_config(), timeout_seconds=PATIENCE_SECONDS)
            return settings.out

        whole = run("whole")
        assert statuses(whole) == [dict.fromkeys(SITES, "ok")] * ROUNDS
        assert chest.box.approvers(bundle.digest) == SITES  # heard from the sites themselves

        chest.approvals("west").revoke(now=chest.founded)
        revoked = run("revoked")
        assert statuses(revoked) == [
            {"east": "ok", "north": "ok", "west": "refused"},
            {"east": "ok", "north": "ok"},
        ]
        assert chest.box.approvers(bundle.digest) == ("east", "north")

        Members(chest.hub).remove("north", now=chest.founded)
        chest.approvals("west").approve(bundle.project.folder, now=chest.founded)
        assert statuses(run("removed")) == [{"east": "ok", "west": "ok"}] * ROUNDS

    federation = Federation(
        bundle.project.spec,
        {name: store.folder for name, store in stores.items()},
        bank.folder,
        tmp_path / "here",
    )
    run_federation(federation, engine="inprocess", workers=1)
    assert read_run(whole).weights_sha256 == read_run(tmp_path / "here").weights_sha256


def test_a_hub_that_ships_other_code_gets_nothing_from_anybody(
    tmp_path: Path, chest: Consortium, bundle: Bundle, stores: dict[str, Store], bank: Store
) -> None:
    """One comment more than was approved: every gate refuses, and nothing of it runs."""
    for site in SITES:
        chest.approvals(site).approve(bundle.project.folder, now=chest.founded)
    app = app_folder(tmp_path / "deployed")
    with (app / "client" / "app.py").open("a") as source:
        source.write("# harmless\n")
    nodes = {site: chest.node(site, stores, bank) for site in SITES}
    settings = RunSettings(
        bundle.project.folder, tmp_path / "other", {}, False, "deployment", hub=chest.hub.folder
    )
    with (
        LoopbackDeployment(tmp_path / "deployment", app=app, sites=nodes, consortium=chest.hub) as deployment,
        pytest.raises(PeerError, match=r"0 usable answers.*code not approved at this site"),
    ):
        deployment.run(settings.to_config(), timeout_seconds=PATIENCE_SECONDS)
    for site in SITES:
        events = {line.event for line in Audit(chest.homes[site].folder / AUDIT).read().lines}
        assert events == {"LEFT", "REFUSED"}  # who it is, and no more
