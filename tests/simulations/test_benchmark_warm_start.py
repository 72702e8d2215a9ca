"""The warm-start benchmark serves both executors the same messages, and both bring them to an end."""

import json
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from simulations.benchmarks.cli import bench
from simulations.benchmarks.warm_start import WarmStart
from simulations.benchmarks.warm_start_cli import warm_start_table


@pytest.mark.slow
def test_both_executors_answer_every_message() -> None:
    done = CliRunner().invoke(bench, ["warm-start", "--messages", "2", "--json"], catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["benchmark"] == "warm-start"
    assert (len(found["stock"]), len(found["ours"])) == (2, 2)
    assert all(seconds > 0 for seconds in (*found["stock"], *found["ours"]))


@pytest.mark.parametrize(("ours", "mark"), [(0.5, "✓"), (1.5, "✗")])
def test_the_table_says_whether_the_goal_is_met(ours: float, mark: str) -> None:
    told = StringIO()
    table = warm_start_table(WarmStart(stock=(6.0, 6.0), ours=(ours, ours), local_steps=1))
    Console(width=100, file=told).print(table)
    assert f"{mark} median of our gate" in told.getvalue()
    assert f"{6 / ours:.1f} times as fast" in told.getvalue()
