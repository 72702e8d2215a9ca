"""`fedvlp-sim bench warm-start`."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from simulations.benchmarks.telling import AsJson, say, sign, tell

if TYPE_CHECKING:  # it imports torch: seconds that no other command should wait
    from simulations.benchmarks.warm_start import WarmStart

GOAL_SECONDS = 1.0
"""A message at a site beyond every poll interval, at most."""


def warm_start_command(
    messages: Annotated[int, typer.Option(min=2, help="Instructions, one after the other.")] = 6,
    local_steps: Annotated[int, typer.Option(min=1, help="Optimiser steps for each.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Time a message at a site with our gate and with Flower's own executor.

    From the moment that the executor has the task until it has handed in the reply, without poll intervals.
    """
    from simulations.benchmarks.warm_start import time_messages

    found = time_messages(messages=messages, local_steps=local_steps, on_stage=say)
    tell(found.to_json(), warm_start_table(found), as_json=as_json)


def warm_start_table(found: WarmStart) -> Table:
    """One row per executor, the goal beneath."""
    table = Table(title=f"{len(found.ours)} messages of {found.local_steps} steps, seconds beyond polls")
    for column in ("executor", "first", "median", "longest"):
        table.add_column(column, justify="left" if column == "executor" else "right")
    for name, seconds in (("Flower's", found.stock), ("our gate", found.ours)):
        table.add_row(name, f"{seconds[0]:.2f}", f"{median(seconds):.2f}", f"{max(seconds):.2f}")
    reached = median(found.ours) < GOAL_SECONDS
    table.caption = (
        f"{sign(reached)} median of our gate = {median(found.ours):.2f} s (goal {GOAL_SECONDS:.0f} s), "
        f"{found.ratio:.1f} times as fast"
    )
    return table
