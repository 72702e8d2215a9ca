"""A hospital that is killed at any write to its disc, and started again, in the midst of a secure round.

It goes on or drops out; no step of a round is ever answered twice; the sum is that of whoever is in it.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Context, Message
from numpy.testing import assert_array_equal
from secure_samples import SITES, STAGES, Place, secure_spec
from tiny import tiny_store

from client import app as client_app
from client import audit, secagg
from client.secagg import SecureRounds
from common.messages import CONSENT, REVEAL
from common.update import Vector
from simulations.grid import handle

VICTIM = "south"
OTHERS = ("east", "north", "west")
MOST_WRITES = 20
"""More than any step has; a step that ends before its writes run out was not killed."""


class KilledError(BaseException):
    """The machine went away: nothing that follows reaches the disc."""


class Disc:
    """Lets so many writes through and then none, ever."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.dead = False

    def touch(self) -> None:
        self.dead = self.dead or self.left == 0
        if self.dead:
            raise KilledError
        self.left -= 1

    def before(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.touch()
            return write(*arguments, **options)

        return guarded

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Every way in which `client.secagg` and `client.audit` write."""
        with pytest.MonkeyPatch.context() as patch:
            for module, name in (
                (secagg, "write_whole"),
                (secagg, "whole_file"),
                (audit, "write_whole"),
                (audit, "_append"),
                (Path, "unlink"),
            ):
                patch.setattr(module, name, self.before(getattr(module, name)))
            opened, disc = SecureRounds._database, self

            @contextmanager
            def committing(rounds: SecureRounds) -> Iterator[sqlite3.Connection]:
                with opened(rounds) as database:
                    before = database.total_changes
                    yield database
                    if database.total_changes > before:
                        disc.touch()

            patch.setattr(SecureRounds, "_database", committing)
            yield


class Fragile:
    """FedVLP's own app; one site dies in one step, at a write or as its answer leaves, and is asked again."""

    def __init__(self, stage: str, writes: int) -> None:
        self.stage, self.disc = stage, Disc(writes)
        self.answered_again = False

    def __call__(self, message: Message, context: Context) -> Message:
        if (context.node_config["site"], message.metadata.message_type) != (VICTIM, self.stage):
            return client_app.app(message, context)
        with suppress(KilledError), self.disc.in_place():
            client_app.app(message, context)
        again = handle(None, message, context)
        self.answered_again = not again.has_error()
        return again


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("four")
    stores = {site: tiny_store(folder / site, seed=number).folder for number, site in enumerate(SITES)}
    return Place(folder / "secure", stores, secure_spec(federation__rounds=1))


@pytest.fixture(scope="module")
def plain_means(place: Place, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], Vector]:
    """Sites in the sum -> the mean by plain aggregation."""
    spec = secure_spec("off", federation__rounds=1)
    plain = Place(tmp_path_factory.mktemp("plain") / "out", place.federation.sites, spec)
    return {sites: plain.collect(only=sites)[0].sum.mean for sites in (SITES, OTHERS)}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_site_killed_at_any_write_goes_on_or_drops_out_and_answers_no_step_twice(
    place: Place, plain_means: dict[tuple[str, ...], Vector], stage: str
) -> None:
    went_on = []
    for writes in range(MOST_WRITES):
        for site in SITES:  # the same model once more, as if nothing had been before
            for kept in (secagg.DATABASE, secagg.STAGE, secagg.UPDATE):
                (place.home(site) / kept).unlink(missing_ok=True)
        app = Fragile(stage, writes)
        collected = place.collect_from(app)
        survivors = tuple(site.name for site in collected.sites if site.status == "ok")
        assert_array_equal(collected.sum.mean, plain_means[survivors])
        assert (VICTIM in survivors) == (app.answered_again or stage in (CONSENT, REVEAL))
        went_on.append(app.answered_again)
        if not app.disc.dead:
            break
    assert not app.disc.dead, "the step was never done"
    assert len(went_on) > 3
    assert went_on[0], "killed before it had changed anything, it goes on"
    assert went_on == sorted(went_on, reverse=True), "there is one moment from which on it drops out"
    assert not went_on[-1], "killed once its answer was ready, it never answers again"
