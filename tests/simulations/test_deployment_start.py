"""`fedvlp-site start` as a hospital types it, against a real hub."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from consortium_samples import found
from privacy_samples import private_spec
from tiny import SITES

from client.audit import AUDIT, Audit
from client.home import LEDGER
from client.ledger import Ledger
from common.processes.child import Child, stop
from common.project import create_project
from common.store import Store
from server.flower_app import app_folder, build_app
from server.members import Members
from server.report.records import read_rounds
from server.settings import RunSettings
from simulations.deployment import LoopbackDeployment, loopback

pytestmark = pytest.mark.slow

STARTED = "east"
PATIENCE_SECONDS = 300


def wait_for(happened: Callable[[], bool], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not happened() and time.monotonic() < deadline:
        time.sleep(0.2)
    return happened()


def site_command(log: Path, *words: str | Path) -> Child:
    command = [sys.executable, "-P", "-m", "client", *map(str, words)]
    return Child("fedvlp-site", command, environment=os.environ, log=log)


def test_a_site_started_by_one_command_takes_part_and_ends_when_told(
    tmp_path: Path, stores: dict[str, Store], bank: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [loopback.free_port()]
    another = loopback.free_port
    monkeypatch.setattr(loopback, "free_port", lambda: ports.pop() if ports else another())
    chest = found(tmp_path, hub=f"127.0.0.1:{ports[0]}")
    app = app_folder(tmp_path / "app")
    project = create_project(
        tmp_path / "unsigned", private_spec(federation__rounds=2), sites=[*SITES], bank=bank
    )
    bundle = chest.bundle(project, fab=build_app(app).fab)
    for site in SITES:
        chest.approvals(site).approve(bundle.project.folder, now=chest.founded)
        Ledger.open_new(chest.homes[site].folder / LEDGER, population=site, epsilon=60, delta=1e-2)
    home, log = chest.homes[STARTED].folder, tmp_path / "start.log"
    words = ("start", "--home", home, "--store", stores[STARTED].folder, "--bank", bank.folder)
    others = {
        site: chest.node(site, stores, bank) | {"ledger": str(chest.homes[site].folder / LEDGER)}
        for site in SITES
        if site != STARTED
    }
    with (
        LoopbackDeployment(tmp_path / "hub-side", app=app, sites=others, consortium=chest.hub) as deployment,
        deployment.control() as control,
    ):
        control.register(STARTED, Members(chest.hub).current(STARTED).request.node_key.encode())
        east = site_command(log, *words)
        try:
            assert wait_for(lambda: STARTED in control.online_since(), seconds=PATIENCE_SECONDS), (
                east.output()
            )

            second = site_command(tmp_path / "second.log", *words)
            assert wait_for(lambda: not second.running, seconds=60)
            assert f"in use by process {east.pid}" in second.output()
            assert second.reap() == 2

            settings = RunSettings(
                bundle.project.folder, tmp_path / "run", {}, False, "deployment", hub=chest.hub.folder
            )
            deployment.run(settings.to_config(), timeout_seconds=PATIENCE_SECONDS)
            statuses = [
                {site.name: site.status for site in record.sites} for record in read_rounds(settings.out)
            ]
            assert statuses == [dict.fromkeys(SITES, "ok")] * 2
            assert [line.event for line in Audit(home / AUDIT).read().lines].count("LEFT") >= 2

            assert len(Ledger(home / LEDGER).read().reserved) == 2  # nobody named it

            said = east.output()
            assert f"connected to the hub at {deployment.address}" in said
            assert "no-network on" in said
            assert "memory at most" in said

            started = psutil.Process(east.pid).children(recursive=True)
            os.kill(east.pid, signal.SIGTERM)
            assert wait_for(lambda: not east.running, seconds=30)
            assert east.reap() == 0
            assert east.output().strip().endswith(f"{STARTED} stopped")
            assert not [
                process for process in started if process.is_running() and process.status() != "zombie"
            ]
        finally:
            stop([east])
