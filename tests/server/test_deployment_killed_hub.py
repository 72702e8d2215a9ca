"""A hub killed in the midst of a round, and hospitals that reach it only through a proxy with a password.

The hub's name has no address anywhere: who reaches it did so through the proxy.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import connect_proxy
import psutil
import pytest
from hub_door import PATIENCE_SECONDS, Door, needs_nginx, opened, until
from tiny import tiny_spec

from common.processes.child import Child, stop
from common.project import create_project
from common.store import Store
from server.flower_app import app_folder, build_app
from server.report.records import read_rounds, read_run
from simulations.deployment.loopback import free_port
from simulations.federation import Federation, run_federation

pytestmark = [pytest.mark.slow, needs_nginx]

HUB, ACCOUNT = "hub.invalid", "north:p@ss"
SITES, ROUNDS = ("east", "north"), 3
COMMAND = (sys.executable, "-P", "-m", "client")


@contextmanager
def running(children: dict[str, Child]) -> Iterator[dict[str, Child]]:
    try:
        yield children
    finally:
        stop([*children.values()])


def proxy_process(folder: Path, port: int) -> Child:
    command = [sys.executable, connect_proxy.__file__, str(port), ACCOUNT]
    return Child("proxy", command, environment=os.environ, log=folder / "connect.log")


def kill_hub(door: Door) -> None:
    """As a power cut would: the service, and every process that it started."""
    hub = psutil.Process(door.hub.pid)
    for process in (hub, *hub.children(recursive=True)):
        os.kill(process.pid, signal.SIGKILL)
    door.hub.reap()


def test_a_run_outlives_its_hub_and_ends_in_the_very_weights(
    tmp_path: Path, stores: dict[str, Store], bank: Store
) -> None:
    spec = tiny_spec(federation__rounds=ROUNDS)
    project = create_project(tmp_path / "unsigned", spec, sites=[*SITES], bank=bank)
    fab = build_app(app_folder(tmp_path / "app")).fab
    port, out = free_port(), tmp_path / "run"
    way = os.environ | {"HTTPS_PROXY": f"http://north:p%40ss@127.0.0.1:{port}", "NO_PROXY": ""}
    with opened(tmp_path / "chest", host=HUB) as door, running({}) as children:
        proxy = children["proxy"] = proxy_process(tmp_path, port)
        bundle = door.chest.bundle(project, fab=fab).project.folder
        for site in SITES:
            home = door.chest.homes[site].folder
            door.chest.approvals(site).approve(bundle, now=door.chest.founded)
            words = ("--home", str(home), "--store", str(stores[site].folder))
            command = [*COMMAND, "start", *words, "--bank", str(bank.folder)]
            children[site] = Child(site, command, environment=way, log=tmp_path / f"{site}.log")
        said = {site: children[site] for site in SITES}
        assert until(lambda: door.online() == {*SITES}), said["east"].output() + proxy.output()

        examined = subprocess.run(
            [*COMMAND, "doctor", "--json", *words], env=way, capture_output=True, text=True, check=False
        )
        findings = {one["check"]: one for one in json.loads(examined.stdout)["findings"]}
        assert findings["proxy"]["found"] == f"127.0.0.1:{port}, with a password"
        assert {findings[check]["status"] for check in ("port", "TLS", "round trip")} == {"pass"}

        assert door.run("run", bundle, "--out", out, "--detach").returncode == 0
        assert until(lambda: (out / "rounds.jsonl").exists() and len(read_rounds(out)) >= 1)
        kill_hub(door)
        finished = len(read_rounds(out))
        assert finished < ROUNDS
        door.start_hub()
        door.require_up()
        assert until(lambda: (out / "run.json").exists(), seconds=2 * PATIENCE_SECONDS), door.hub.output()
        assert "goes on after its last finished round" in door.hub.output()
        statuses = [{site.name: site.status for site in record.sites} for record in read_rounds(out)]
        assert statuses == [dict.fromkeys(SITES, "ok")] * ROUNDS
        assert set(proxy.output().splitlines()) == {f"CONNECT {HUB}:{door.port} passes"}

    here = Federation(spec, {site: stores[site].folder for site in SITES}, bank.folder, tmp_path / "here")
    run_federation(here, engine="inprocess", workers=1)
    assert read_run(out).weights_sha256 == read_run(tmp_path / "here").weights_sha256
