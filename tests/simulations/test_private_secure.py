"""Privacy and secure aggregation at once: what is executed is charged, and what is executed again is new.

A hospital's process or the hub may die anywhere in a round; the round is then played again on the same model.
"""

import hashlib
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message
from privacy_samples import LOCAL
from secure_samples import SITES, Place, secure_spec
from tiny import tiny_store

from client import app as client_app
from client.audit import Audit
from client.ledger import Account, Charge, Ledger
from client.secagg import SecureRounds
from common.errors import PeerError
from common.messages import CONSENT
from common.model.vlp import VLPModel
from common.privacy import training
from common.privacy.accounting import Steps, reported_epsilon
from common.privacy.step import Covered
from common.privacy.units import Population
from server.report.records import read_run
from simulations.federation import Federation, run_federation

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


# --- kill -9 ----------------------------------------------------------------------------------------------

ROUNDS, KILLS = 2, 4


class Witness:
    """A file beside the run: what was charged and what was executed, on the disc before anything goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def write(self, *words: object) -> None:
        with self.path.open("a") as file:
            file.write(" ".join(map(str, words)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def lines(self) -> list[list[str]]:
        """Whole lines alone."""
        return [line.split() for line in self.path.read_text().split("\n")[:-1]]


def run_watched(federation: Federation, witness: Witness) -> None:
    """In a process of its own: go on with the run to its end, and tell `witness`."""
    reserve, take = Ledger.reserve, training.take_private_step

    def reserved(ledger: Ledger, charge: Charge, *, known_head: str = "") -> tuple[int, str]:
        number, head = reserve(ledger, charge, known_head=known_head)
        witness.write("charged", ledger.folder.name, number)
        return number, head

    def taken(model: VLPModel, covered: Covered, optimizer: Any, population: Population, *rest: Any) -> None:
        site = population.batches.site
        witness.write("begins", site)
        take(model, covered, optimizer, population, *rest)
        weights = torch.cat([weight.detach().flatten() for weight in covered.parameters])
        witness.write("ends", site, hashlib.sha256(weights.numpy().tobytes()).hexdigest())

    Ledger.reserve = reserved  # type: ignore[method-assign]  # this process is the test's own
    training.take_private_step = taken
    run_federation(federation, workers=1, resume=True)


def kill_somewhere(process: Any, witness: Witness, chance: random.Random) -> bool:
    """SIGKILL after some more lines and a moment; whether the run was still going."""
    lines = len(witness.lines()) + chance.randint(1, 14)
    while process.is_alive() and len(witness.lines()) < lines:
        time.sleep(0.002)
    time.sleep(chance.random() * 0.1)
    process.kill()
    process.join()
    return process.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_a_run_killed_at_random_and_resumed_has_charged_every_step_once(place: Place, tmp_path: Path) -> None:
    """Hub and hospitals die together, by SIGKILL, at moments that nobody chose."""
    witness, seed = Witness(tmp_path / "witness"), int.from_bytes(os.urandom(4))
    chance, forked = random.Random(seed), multiprocessing.get_context("fork")
    killed = 0
    for _ in range(KILLS):
        process = forked.Process(target=run_watched, args=(place.federation, witness))
        process.start()
        killed += kill_somewhere(process, witness, chance)
    process = forked.Process(target=run_watched, args=(place.federation, witness))
    process.start()
    process.join()
    assert process.exitcode == 0, seed
    assert killed, seed

    run, told = read_run(place.federation.out), witness.lines()
    for site, totals in zip(SITES, run.sites, strict=True):
        own = [line for line in told if line[1] == site]
        lines = dict(zip(account(place, site).numbers, account(place, site).reserved, strict=True))
        charged = [int(line[2]) for line in own if line[0] == "charged"]
        assert len(set(charged)) == len(charged), seed
        assert {*charged} <= {*lines}, (seed, "what was charged is in the ledger")
        number, left = 0, 0
        for what, _, *word in own:
            if what == "charged":
                number, left = int(word[0]), lines[int(word[0])].steps
            elif what == "begins":
                left -= 1
                assert left >= 0, (seed, f"a step that reservation {number} does not hold")
        ends = [line[2] for line in own if line[0] == "ends"]
        assert len(set(ends)) == len(ends), (seed, "a step that was executed again drew the same")
        assert len(ends) >= STEPS * ROUNDS, seed
        steps = Steps(2**31, 1.0, sum(line.steps for line in lines.values()))
        assert totals.epsilon == pytest.approx(reported_epsilon([steps], 1e-2)), seed
