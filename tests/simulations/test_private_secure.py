"""Privacy and secure aggregation at once: what is executed is charged, and what is executed again is new.

A hospital's process or the hub may die anywhere in a round; the round is then played again on the same model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message
from privacy_samples import LOCAL
from secure_samples import SITES, Place, secure_spec
from tiny import tiny_store

from client import app as client_app
from client.audit import Audit
from client.ledger import Account, Ledger
from client.secagg import SecureRounds
from common.errors import PeerError
from common.messages import CONSENT
from common.privacy import training

STEPS = 2
PRIVATE = LOCAL | {"patients": dict.fromkeys(SITES, 6)}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    stores = {site: tiny_store(tmp_path / site, seed=number).folder for number, site in enumerate(SITES)}
    spec = secure_spec(
        privacy=PRIVATE,
        train__local_steps=STEPS,
        train__vocabulary_rows="trained",
        secure_aggregation__rare_rows="noise",
    )
    made = Place(tmp_path / "run", stores, spec)
    made.federation.open_ledgers()
    return made


class KilledError(BaseException):
    """The site's process went away; nothing that follows reaches its disc."""


class Watch:
    """FedVLP's own app, watched: the private steps of every training, and the update that comes of it."""

    def __init__(self) -> None:
        self.site, self.dead = "", False
        self.steps: dict[str, list[int]] = {site: [] for site in SITES}
        """Site -> steps that each of its trainings executed."""
        self.updates: dict[str, list[np.ndarray]] = {site: [] for site in SITES}
        self.dies_at_step: dict[str, int] = {}
        self.fails: dict[str, str] = {}

    def __call__(self, message: Message, context: Context) -> Message:
        self.site = str(context.node_config["site"])
        if self.fails.get(self.site) == message.metadata.message_type:
            raise OSError("the machine went away")
        try:
            return client_app.app(message, context)
        except KilledError:  # started again, and asked again
            self.dead = False
            return client_app.app(message, context)

    def step(self) -> None:
        if self.dies_at_step.get(self.site) == self.steps[self.site][-1]:
            del self.dies_at_step[self.site]
            self.dead = True
        self.touch()
        self.steps[self.site][-1] += 1

    def touch(self) -> None:
        if self.dead:
            raise KilledError


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watching = Watch()

    def before(owner: Any, name: str, look: Callable[..., None]) -> None:
        original = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            look(*arguments)
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    before(training, "take_private_step", lambda *_: watching.step())
    before(Ledger, "reserve", lambda *_: watching.steps[watching.site].append(0))
    before(Ledger, "end", lambda *_: watching.touch())
    before(Audit, "append", lambda *_: watching.touch())
    before(
        SecureRounds,
        "open",
        lambda _, terms, answer: watching.updates[watching.site].append(answer.planes.low.copy()),
    )
    return watching


def account(place: Place, site: str) -> Account:
    return Ledger(place.federation.out / "ledgers" / site).read()


def test_every_step_that_is_executed_is_charged_once_and_drawn_anew(place: Place, watch: Watch) -> None:
    watch.dies_at_step = {"east": 1}  # the first of two steps is done, the second is not
    place.go_on(place.collect_from(watch))
    assert watch.steps["east"] == [1, STEPS]

    watch.fails = dict.fromkeys(("north", "west"), CONSENT)
    with pytest.raises(PeerError, match="--resume"):
        place.collect_from(watch)
    watch.fails = {}
    place.restart_hub()
    place.go_on(place.collect_from(watch))

    for site in SITES:
        lines = account(place, site).reserved
        expected = [1, 2, 2] if site != "east" else [1, 1, 2, 2]
        assert [line.round for line in lines] == expected
        assert len(watch.steps[site]) == len(lines)
        assert all(done <= line.steps for done, line in zip(watch.steps[site], lines, strict=True))
        first, second = watch.updates[site][-2:]
        assert (first != second).any(), "the same model, and other patients and other noise"
    unfinished = {*account(place, "east").numbers} - {*account(place, "east").ended}
    assert unfinished == {account(place, "east").numbers[0]}, "the one that was killed"
