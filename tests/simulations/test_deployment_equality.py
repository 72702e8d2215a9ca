"""A run in one process and a run of a dozen real processes are the same run, to the last bit."""

from pathlib import Path

import pytest
from tiny import tiny_spec

from common.store import Store
from server.report.records import RunRecord, read_rounds, read_run
from simulations.federation import Engine, Federation, run_federation

pytestmark = pytest.mark.slow


def finished(out: Path, stores: dict[str, Store], bank: Store, engine: Engine) -> RunRecord:
    spec = tiny_spec(federation__rounds=2, federation__server_optimizer__kind="adam", train__precision="bf16")
    sites = {name: store.folder for name, store in stores.items()}
    run_federation(Federation(spec, sites, bank.folder, out), engine=engine, workers=1)
    return read_run(out)


def test_three_supernodes_end_in_the_bits_of_the_in_process_run(
    tmp_path: Path, stores: dict[str, Store], bank: Store
) -> None:
    here = finished(tmp_path / "here", stores, bank, "inprocess")
    deployed = finished(tmp_path / "deployed", stores, bank, "deployment")

    assert deployed.weights_sha256 == here.weights_sha256
    assert deployed.final == here.final
    assert deployed.engine == "deployment"
    for ours, theirs in zip(read_rounds(tmp_path / "here"), read_rounds(tmp_path / "deployed"), strict=True):
        assert [site.status for site in theirs.sites] == ["ok"] * 3
        assert [site.losses for site in theirs.sites] == [site.losses for site in ours.sites]


def test_three_supernodes_sum_securely_and_end_in_the_bits_of_the_plain_run(
    tmp_path: Path, stores: dict[str, Store]
) -> None:
    """Each of five steps is a message of its own, and the site finds the step before on its disc."""
    runs = {}
    cases: tuple[tuple[str, Engine, dict[str, object]], ...] = (
        ("plain", "inprocess", {"mode": "off"}),
        ("secure", "deployment", {"mode": "sa1", "min_sites": 3, "rare_rows": "frozen"}),
    )
    for name, engine, mode in cases:
        spec = tiny_spec(
            federation__rounds=1,
            federation__min_sites=3,
            data__anchor_pairs=0,
            train__vocabulary_rows="frozen",
            secure_aggregation=mode,
        )
        sites = {site: store.folder for site, store in stores.items()}
        run_federation(Federation(spec, sites, None, tmp_path / name), engine=engine, workers=1)
        runs[name] = read_run(tmp_path / name)
    assert runs["secure"].weights_sha256 == runs["plain"].weights_sha256
    assert [[site.status for site in record.sites] for record in read_rounds(tmp_path / "secure")] == [
        ["ok"] * 3
    ]
