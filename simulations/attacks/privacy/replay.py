"""Does the ledger add up? Its lines are read raw and summed by another way than the ledger's own."""

import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from client.ledger import DATABASE, Charge, Ledger
from client.spending import spending_of
from common.errors import PolicyError
from simulations.attacks.privacy.finding import Finding

BUDGET, DELTA = 3.2, 1e-5
"""A little more than each of two projects may spend: what binds is sometimes the one, sometimes the other."""


def replay_ledger() -> Iterator[Finding]:
    """Two projects spend until both are refused; then everything is recomputed from the raw lines."""
    from dp_accounting import (
        ComposedDpEvent,
        GaussianDpEvent,
        NeighboringRelation,
        PoissonSampledDpEvent,
        SelfComposedDpEvent,
    )
    from dp_accounting.rdp import RdpAccountant

    executed: list[tuple[int, float, int]] = []
    with tempfile.TemporaryDirectory(prefix="fedvlp-audit-") as name:
        ledger = Ledger.open_new(Path(name) / "ledger", population="audit", epsilon=BUDGET, delta=DELTA)
        for round_number in range(1, 200):
            charge = _charge(round_number)
            with suppress(PolicyError):
                number, _ = ledger.reserve(charge)
                executed.append((charge.rate_numerator, charge.noise_multiplier, charge.steps))
                ledger.end(number, "DONE" if round_number % 3 else "ABORT")
        with closing(sqlite3.connect(ledger.folder / DATABASE)) as book:
            bodies = [
                json.loads(body) for (body,) in book.execute("SELECT body FROM entries ORDER BY number")
            ]
        stated = spending_of(ledger.read()).epsilon_spent
    lines = [body for body in bodies if body["kind"] == "RESERVE"]
    charged = [(line["rate_numerator"], line["noise_multiplier"], line["steps"]) for line in lines]
    yield _finding(
        "steps charged that were not executed, or executed uncharged", float(charged != executed), 0.0
    )
    accountant = RdpAccountant(neighboring_relation=NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(
        ComposedDpEvent(
            [
                SelfComposedDpEvent(PoissonSampledDpEvent(rate / 2**32, GaussianDpEvent(noise)), steps)
                for rate, noise, steps in executed
            ]
        )
    )
    recomputed = accountant.get_epsilon(DELTA)
    yield _finding("epsilon stated less than recomputed", max(0.0, recomputed - stated), 1e-9)
    yield _finding(
        f"epsilon spent of {BUDGET:g}, after 199 rounds asked for", recomputed, BUDGET * (1 + 1e-9)
    )


def _charge(round_number: int) -> Charge:
    first = round_number % 2 == 0
    return Charge(
        project=("a" if first else "b") * 64,
        name="first" if first else "second",
        round=round_number,
        mechanism="R" if first else "G",
        rate_numerator=2**32 // (50 if first else 20),
        noise_multiplier=0.9 if first else 1.2,
        steps=7,
        epsilon=3.0,
        delta=DELTA,
    )


def _finding(name: str, measured: float, bound: float) -> Finding:
    return Finding(
        part="ledger", name=name, kind="check", measured=measured, bound=bound, words=f"{measured:.4f}"
    )
