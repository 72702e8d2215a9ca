"""A whole federation under privacy, in-process: epsilon by site, every round charged, ledgers guarded."""

import json
import shutil
from pathlib import Path

import pytest
import tomli_w
from privacy_samples import private_spec
from tiny import SITES

from client.ledger import Ledger
from common.errors import ConfigurationError, PeerError
from common.privacy.accounting import Steps, reported_epsilon
from common.project import create_project
from common.spec.privacy import LocalPrivacySpec
from common.store import Store
from server.report.page import write_report
from server.report.records import read_run
from simulations.cli import main
from simulations.federation import Federation, run_federation
from simulations.grid import Faults

pytestmark = pytest.mark.slow


@pytest.fixture
def federation(stores: dict[str, Store], bank: Store, tmp_path: Path) -> Federation:
    return Federation(
        private_spec(), {site: store.folder for site, store in stores.items()}, bank.folder, tmp_path / "run"
    )


def ledger_of(federation: Federation, site: str) -> Ledger:
    return Ledger(federation.out / "ledgers" / site)


def test_a_private_run_states_what_each_site_spent_and_what_that_means(federation: Federation) -> None:
    run_federation(federation, workers=1)
    run = read_run(federation.out)
    privacy = federation.spec.privacy
    assert isinstance(privacy, LocalPrivacySpec)
    expected = reported_epsilon([Steps(privacy.rate_numerator, privacy.noise_multiplier, 6)], privacy.delta)
    assert [site.epsilon for site in run.sites] == [pytest.approx(expected)] * 3
    assert run.privacy is not None
    assert (run.privacy.mechanism, run.privacy.delta) == ("G", privacy.delta)
    for site in SITES:
        account = ledger_of(federation, site).read()
        assert [line.round for line in account.reserved] == [1, 2, 3]
        assert set(account.ended.values()) == {"DONE"}
    rounds = [json.loads(line) for line in (federation.out / "rounds.jsonl").read_text().splitlines()]
    assert all(not turn["losses"] and not turn["examples"] for line in rounds for turn in line["sites"])
    write_report(federation.out)
    page = (federation.out / "report.html").read_text()
    assert "add or remove one patient" in page


def test_a_run_says_which_hospital_refused_to_take_part(
    federation: Federation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """East has six patients, and the operator wrote seven: nothing is spent, and the others train."""
    tables = federation.spec.model_dump(mode="json", exclude_none=True)
    tables["privacy"]["patients"]["east"] = 7
    spec = federation.out.parent / "spec.toml"
    spec.write_text(tomli_w.dumps(tables))
    sites = [word for name, store in federation.sites.items() for word in ("--site", f"{name}={store}")]
    command = ["run", str(spec), *sites, "--bank", str(federation.bank), "--out", str(federation.out)]
    monkeypatch.setattr("sys.argv", ["fedvlp-sim", *command, "--workers", "1"])
    with pytest.raises(SystemExit, match="0"):
        main()
    said = capsys.readouterr().out
    assert "east took part in 0 of 3 rounds" in said
    assert "west took part" not in said
    assert ledger_of(federation, "east").read().spent() == []


def test_a_round_that_is_repeated_after_a_stop_is_charged_again(federation: Federation) -> None:
    faults = Faults({("west", 2): "dies", ("north", 2): "dies"})
    with pytest.raises(PeerError):
        run_federation(federation, workers=1, faults=faults)
    assert [line.round for line in ledger_of(federation, "east").read().reserved] == [1, 2]
    run_federation(federation, workers=1, resume=True)
    assert [line.round for line in ledger_of(federation, "east").read().reserved] == [1, 2, 2, 3]
    assert [line.round for line in ledger_of(federation, "west").read().reserved] == [1, 2, 3]
    epsilon = {site.name: site.epsilon for site in read_run(federation.out).sites}
    assert epsilon["east"] is not None
    assert epsilon["west"] is not None
    assert epsilon["east"] > epsilon["west"]


def test_the_hub_remembers_the_heads_of_the_ledgers(federation: Federation, tmp_path: Path) -> None:
    faults = Faults({("west", 3): "dies", ("north", 3): "dies"})
    with pytest.raises(PeerError):
        run_federation(federation, workers=1, faults=faults)
    heads = json.loads((federation.out / "ledgers.json").read_text())
    assert heads["west"]["head"] in ledger_of(federation, "west").read().digests
    for site in ("west", "north"):  # as if last month's backup had been put back
        shutil.rmtree(federation.out / "ledgers" / site)
        ledger = Ledger.open_new(federation.out / "ledgers" / site, population=site, epsilon=30.0, delta=1e-2)
        assert ledger.read().spent() == []
    with pytest.raises(PeerError, match="ledger older than the hub remembers"):
        run_federation(federation, workers=1, resume=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epsilon": 0.5}, "steps at these settings cost"),
        ({"patients": {"east": 6, "north": 6}}, "does not name site west"),
        ({"mechanism": "R", "group_size": 1, "data__anchor_pairs": 0}, "objectives.global_contrastive"),
    ],
)
def test_a_project_that_cannot_keep_its_promise_is_never_made(
    tmp_path: Path, bank: Store, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        create_project(tmp_path / "project", private_spec(**changes), sites=[*SITES], bank=bank)
    assert not (tmp_path / "project").exists()
