"""Runs that were started and have not ended: a hub that comes back takes them up from their last checkpoint.

A SuperLink that does not answer, or does not take a run up, ends none of them: it is asked again later.

HUB/service/runs/NAME.json   one run; NAME is a digest of its folder
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from common.bundle_folder import FAB, open_bundle
from common.errors import ConfigurationError, FederationError, PeerError, PolicyError
from common.files import write_whole
from common.regular_file import read_regular
from server.control import Control, RunStatus
from server.interior import Interior
from server.patience import Patience
from server.settings import RunSettings, refuse_another_run

log = logging.getLogger("fedvlp")

RUNS = "runs"
DIED = "No heartbeat"
"""What Flower says of a run whose ServerApp was killed; one that ended by itself says why."""


class Unfinished(BaseModel):
    """A run of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    bundle: Path
    out: Path
    session: str
    """Of the SuperLink that knows it; another one has never heard of it."""
    run: int


@dataclass(frozen=True)
class UnfinishedRuns:
    """Of one hub."""

    interior: Interior
    patience: Patience = field(default_factory=Patience)

    def start(self, bundle: Path, out: Path, *, resume: bool, control: Control) -> Unfinished:
        """Submit exactly the app of an approved bundle.

        Raises:
            ConfigurationError: `out` holds a run already and `resume` is not set.
            IntegrityError: the bundle was changed, or another operator signed it.
            PolicyError: it has expired, or the hub has a run already: a site works for one at a time.
        """
        for other in self.all():
            raise PolicyError(
                f"the run in {other.out} has not ended; wait for it, or end it with `fedvlp-server stop`"
            )
        home = self.interior.home
        settings = RunSettings(
            bundle.resolve(), out.resolve(), {}, resume, "deployment", hub=home.folder.resolve()
        )
        if not resume:
            refuse_another_run(settings)
        return self._submit(settings, control)

    def tend(self, control: Control) -> None:
        """Take up runs that a crash of hub or ServerApp cut short; forget those that have ended."""
        for one in list(self.all()):
            about = str(one.out)
            if not self.patience.may_try(about):
                continue
            try:
                self._tend(one, control)
            except PeerError as error:
                if self.patience.failed(about):
                    log.warning(
                        "the run in %s is kept and tried again until it goes on or `fedvlp-server stop` ends "
                        "it: %s",
                        one.out,
                        error,
                    )
            else:
                if self.patience.succeeded(about):
                    log.warning("the SuperLink answers again for the run in %s", one.out)

    def forget(self, one: Unfinished) -> None:
        """It goes on no more."""
        self._path(one.out).unlink(missing_ok=True)

    def all(self) -> Iterator[Unfinished]:
        """In any order.

        Raises:
            ConfigurationError: a file is damaged.
        """
        for path in sorted((self.interior.folder / RUNS).glob("*.json")):
            try:
                yield Unfinished.model_validate_json(read_regular(path))
            except FileNotFoundError:  # ended since
                continue
            except (OSError, ValidationError):
                raise ConfigurationError(
                    f"{path} is damaged; remove it, then `fedvlp-server run --resume`"
                ) from None

    def log_of(self, out: Path) -> Path:
        """What the run says, in every attempt."""
        return self.interior.folder / "logs" / f"run-{_name(out)}.log"

    def _tend(self, one: Unfinished, control: Control) -> None:
        status = control.find(one.run) if one.session == self.interior.running().session else None
        if status is not None and not status.finished:
            return
        if status is None or _died(status):
            self._take_up(one, control)
        else:
            self.forget(one)
            log.warning("the run in %s has %s", one.out, "ended" if status.completed else "failed")

    def _take_up(self, one: Unfinished, control: Control) -> None:
        settings = RunSettings(
            one.bundle, one.out, {}, True, "deployment", hub=self.interior.home.folder.resolve()
        )
        try:
            self._submit(settings, control)
        except PeerError:
            raise
        except FederationError as error:
            self.forget(one)
            log.warning("the run in %s cannot go on: %s", one.out, error)
        else:
            log.warning("the run in %s goes on after its last finished round", one.out)

    def _submit(self, settings: RunSettings, control: Control) -> Unfinished:
        operator = self.interior.home.consortium().operator
        opened = open_bundle(settings.project, operator=operator, now=datetime.now(UTC))
        config = settings.to_config()
        run = control.going_on(config)  # if a start was heard and its answer lost, two would write one folder
        if run is None:
            run = control.start((opened.project.folder / FAB).read_bytes(), config)
        one = Unfinished(
            format=1,
            bundle=settings.project,
            out=settings.out,
            session=self.interior.running().session,
            run=run,
        )
        write_whole(self._path(settings.out), one.model_dump_json(indent=2).encode() + b"\n")
        return one

    def _path(self, out: Path) -> Path:
        return self.interior.folder / RUNS / f"{_name(out)}.json"


def _name(out: Path) -> str:
    return hashlib.sha256(str(out).encode()).hexdigest()[:16]


def _died(status: RunStatus) -> bool:
    return not status.completed and DIED in status.details
