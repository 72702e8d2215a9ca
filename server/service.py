"""The hub as a service: its processes, kept in step with its home, until it is asked to end.

If a process of it dies, the service ends as a whole with an error, and whatever supervises it (systemd, a
container engine) starts it again; runs then go on from their checkpoints.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from common.errors import PeerError
from common.processes.party import Party
from server.admission import Admission
from server.control import Control
from server.home import HubHome
from server.hub_processes import HOST, spawn_hub
from server.interior import Interior, RunningHub
from server.unfinished import UnfinishedRuns

START_SECONDS = 180.0
WATCH_SECONDS = 0.5
TEND_SECONDS = 1.0


@dataclass
class Service:
    """A hub that runs."""

    processes: Party
    control: Control
    admission: Admission
    runs: UnfinishedRuns

    def serve(self, asked_to_end: threading.Event) -> None:
        """Admit, shut out and take up runs, until asked to end.

        Raises:
            PeerError: a process of the hub died.
        """
        while not asked_to_end.wait(TEND_SECONDS):
            self.processes.require_running()
            self.admission.refresh()
            self.runs.tend(self.control)


@contextmanager
def started(home: HubHome, *, port: int, asked_to_end: threading.Event) -> Iterator[Service]:
    """Start the hub's processes on 127.0.0.1:`port`; members are let in before the block begins.

    Raises:
        ConfigurationError: there is no consortium, or a hub runs on it already.
        PeerError: a process ended or did not come up in time; everything is stopped again.
    """
    home.consortium()
    interior = Interior(home)
    with interior.alone():
        certificate = interior.certificate()
        executor_secret, operator_secret = interior.new_secrets()
        processes = Party("the hub", folder=interior.folder, logs=interior.folder / "logs", threads=1)
        control = Control(
            f"{HOST}:{port}", authority=certificate.authority, secret=operator_secret.read_bytes()
        )
        try:
            spawn_hub(
                processes,
                port=port,
                certificate=certificate,
                executor_secret=executor_secret,
                operator_secret=operator_secret,
            )
            _wait_until_up(processes, control, asked_to_end)
            interior.announce(RunningHub(format=1, address=f"{HOST}:{port}", session=uuid4().hex))
            service = Service(processes, control, Admission(home, control), UnfinishedRuns(interior))
            if not asked_to_end.is_set():
                service.admission.refresh()
            yield service
        finally:
            interior.withdraw()
            control.close()
            processes.stop()


def _wait_until_up(processes: Party, control: Control, asked_to_end: threading.Event) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not control.answers():
        processes.require_running()
        if asked_to_end.wait(WATCH_SECONDS):
            return
        if time.monotonic() > deadline:
            raise PeerError(f"the hub was not up after {START_SECONDS:.0f} s; see its service/logs")
