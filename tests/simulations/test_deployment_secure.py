"""Five hospitals as real processes sum securely, while one of them is killed at each stage in turn."""

import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from secure_samples import STAGES, secure_spec
from tiny import tiny_store

from client.audit import AUDIT, LOCK, LOG, Audit
from client.audit_line import Line, whole_line
from common.messages import CONSENT, REVEAL
from server.flower_app import app_folder
from server.report.records import read_rounds, read_run
from simulations.deployment import LoopbackDeployment
from simulations.federation import Federation, run_federation
from simulations.grid import Faults

pytestmark = pytest.mark.slow

SITES = ("a", "b", "c", "d", "e")
ROUNDS = len(STAGES) + 1
"""In each but the last a site is killed at a stage; in the last, between two stages, and comes back."""
REPLY_SECONDS = 180.0
RUN_SECONDS = 1800.0
STEP_SECONDS = 300.0
"""How long a site may take to come to the stage at which it is killed."""


class Cruelty(threading.Thread):
    """Kills sites at the stages that their audit logs tell, and brings them back.

    A site is stopped by its own audit log: whoever holds the lock keeps it from writing down that it answers.
    """

    def __init__(self, deployment: LoopbackDeployment, homes: Mapping[str, Path]) -> None:
        super().__init__(daemon=True)
        self._deployment = deployment
        self._audits = {site: Audit(home / AUDIT) for site, home in homes.items()}
        self.killed_at: list[Line] = []
        self.failure: BaseException | None = None
        self.over = threading.Event()

    def run(self) -> None:
        try:
            for number, (site, stage) in enumerate(zip(SITES, STAGES, strict=True), start=1):
                self._kill_at(site, stage, number)
                self._deployment.start_site(site)
            self._restart_between("a", REVEAL, while_waiting_for="b")
        except BaseException as error:
            self.failure = error
        self.over.wait()  # processes end with the thread that started them

    def _kill_at(self, site: str, stage: str, number: int) -> None:
        """Once it was asked for `stage`, and before its answer is written down and leaves."""
        deadline = time.monotonic() + STEP_SECONDS
        while True:
            # To look and then to lock would be too late: some stages take a site a few milliseconds.
            with self._mute(site):
                last = self._last_line(site)
                if last is not None and (last.event, last.stage, last.round) == ("ASKED", stage, number):
                    self._deployment.kill_site(site)
                    self.killed_at.append(last)
                    return
            assert time.monotonic() < deadline, f"{site} was not caught at {stage} in round {number}"
            time.sleep(0.001)

    def _restart_between(self, site: str, stage: str, *, while_waiting_for: str) -> None:
        """Kill `site` when it has answered the stage before `stage`, which the hub awaits of another site."""
        before = STAGES[STAGES.index(stage) - 1]
        self._await(while_waiting_for, "ASKED", before, ROUNDS)
        with self._mute(while_waiting_for):
            self._await(site, "ANSWERED", before, ROUNDS)
            time.sleep(5)  # for the answer to leave
            self._deployment.kill_site(site)
            self._deployment.start_site(site)

    def _await(self, site: str, event: str, stage: str, number: int) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        audit = self._audits[site]
        while True:
            lines = audit.read().lines if audit.exists else ()
            if any((line.event, line.stage, line.round) == (event, stage, number) for line in lines):
                return
            assert time.monotonic() < deadline, f"{site} was never {event} {stage} in round {number}"
            time.sleep(0.01)

    def _last_line(self, site: str) -> Line | None:
        """Without the lock, which is ours."""
        log = self._audits[site].folder / LOG
        text = log.read_bytes() if log.exists() else b""
        return whole_line(text[text.rfind(b"\n", 0, -1) + 1 :]) if text else None

    @contextmanager
    def _mute(self, site: str) -> Iterator[None]:
        self._audits[site].folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._audits[site].folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def test_a_site_killed_at_any_stage_costs_its_update_at_most_and_the_next_round_works(
    tmp_path: Path,
) -> None:
    stores = {site: tiny_store(tmp_path / site, seed=place).folder for place, site in enumerate(SITES)}
    changes = {"federation__rounds": ROUNDS, "federation__reply_timeout_seconds": REPLY_SECONDS}
    federation = Federation(secure_spec(**changes), stores, None, tmp_path / "deployed")
    federation.prepare(resume=False)
    settings, nodes = federation.settings(engine="deployment", resume=False), federation.node_configs()
    with LoopbackDeployment(
        tmp_path / "deployment", app=app_folder(tmp_path / "app"), sites=nodes
    ) as deployment:
        cruelty = Cruelty(deployment, {site: Path(str(node["home"])) for site, node in nodes.items()})
        cruelty.start()
        try:
            deployment.run(settings.to_config(), timeout_seconds=RUN_SECONDS)
        finally:
            cruelty.over.set()
    assert cruelty.failure is None
    killed = [(line.event, line.stage, line.round) for line in cruelty.killed_at]
    assert killed == [("ASKED", stage, number) for number, stage in enumerate(STAGES, start=1)]

    summed = [
        {site.name for site in record.sites if site.status == "ok"} for record in read_rounds(settings.out)
    ]
    for site, stage, survivors in zip(SITES, STAGES, summed, strict=False):
        assert (site in survivors) == (stage in (CONSENT, REVEAL))
    assert {"a", "b"} <= summed[-1], "the one that was killed between two stages went on"
    assert min(map(len, summed)) >= 3

    faults = {(site, number): "dies" for number, names in enumerate(summed, 1) for site in {*SITES} - names}
    plain = Federation(secure_spec("off", **changes), stores, None, tmp_path / "plain")
    run_federation(plain, workers=1, faults=Faults(faults))  # type: ignore[arg-type]  # the text is a Fault
    assert read_run(settings.out).weights_sha256 == read_run(plain.out).weights_sha256
