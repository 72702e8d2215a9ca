"""The training benchmark measures what it says: one model and the same pairs for all, and exactness."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from common.errors import ConfigurationError, PeerError
from simulations.benchmarks.cli import bench, training_table
from simulations.benchmarks.training import Race, Speed, TrainingSpeeds, install_open_clip, time_training
from simulations.benchmarks.training_parties import LENGTHS, Setting, Shape, build_party, made_up_pairs
from simulations.benchmarks.training_process import exactness, take

TINY = Shape(
    image_size=16,
    image_width=16,
    image_depth=1,
    text_width=16,
    text_depth=1,
    head_width=8,
    max_tokens=20,
    vocabulary=64,
    embedding=8,
    batch_size=4,
)


@pytest.mark.parametrize("name", ["ours", "transformers"])
@pytest.mark.parametrize("at_best", [False, True])
def test_a_turn_trains_and_is_timed(name: Any, at_best: bool) -> None:
    party = build_party(name, TINY, Setting(at_best=at_best))
    before = [weight.detach().clone() for weight in party.model.parameters()]
    said = take(party, 2)
    assert any(not torch.equal(old, new) for old, new in zip(before, party.model.parameters(), strict=True))
    assert said["cpu_seconds"] > 0
    assert said["wall_seconds"] > 0
    assert said["peak_bytes"] > 1 << 20


def test_our_chunks_have_the_gradient_of_the_batch_and_a_scaled_temperature_would_show() -> None:
    party = build_party("ours", TINY, Setting(chunks=3))
    said = exactness(party)
    assert said["encoder_error"] < 1e-5
    assert said["temperature_factor"] == pytest.approx(1, abs=1e-4)
    tripled = party.log_scale.register_hook(lambda gradient: 3 * gradient)

    def honest() -> None:
        tripled.remove()
        assert party.full_step is not None
        party.full_step()

    said = exactness(replace(party, full_step=honest))
    assert said["temperature_factor"] == pytest.approx(3, rel=1e-3)


def test_all_parties_see_the_same_pairs_and_reports_have_the_lengths_that_are_stated() -> None:
    shape = replace(Shape(), image_size=8)
    first, again = (made_up_pairs(shape, 3000, whole_reports=False) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    lengths = first[2].double()
    for place, wanted in enumerate(LENGTHS[1:-1], start=1):
        assert lengths.quantile(place / 10).item() == pytest.approx(wanted, abs=3)
    assert set(made_up_pairs(shape, 9, whole_reports=True)[2].tolist()) == {shape.max_tokens}


def test_a_ratio_is_the_median_over_turns_of_theirs_over_ours() -> None:
    turns = [{"cpu_seconds": seconds} for seconds in (1.0, 2.0, 4.0)]
    theirs = [{"cpu_seconds": seconds} for seconds in (3.0, 3.0, 40.0)]
    assert Race({}, {"ours": turns, "open_clip": theirs}).ratio("open_clip", "cpu_seconds") == 3.0


@pytest.mark.parametrize("rows", [32, 48, 33])
def test_a_large_batch_that_is_not_made_of_batches_is_refused(rows: int) -> None:
    with pytest.raises(ConfigurationError, match=f"--effective-batch {rows} is no multiple"):
        time_training(shape=Shape(batch_size=32), effective_batch=rows)


def test_an_index_out_of_reach_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "noise\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: failed)
    with pytest.raises(
        PeerError, match=r"No matching distribution found\); connect to a package index"
    ) as caught:
        install_open_clip(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_torch_without_a_known_torchvision_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch, "__version__", "9.9.0")
    with pytest.raises(ConfigurationError, match=r"no torchvision for torch 9\.9"):
        install_open_clip(tmp_path)


def test_the_table_says_which_goals_are_missed() -> None:
    speeds = {name: Speed(1000, 10.0, 5.0, 1 << 20) for name in ("ours", "open_clip", "transformers")}
    chunk = {"ours": {"encoder_error": 1e-7, "temperature_factor": 1.0, "cpu_seconds": 2.0}}
    found = TrainingSpeeds(
        4, 1, 2, 0.5, speeds, speeds, 1.1, 1.4, 1.2, 1.2, 1.0, 1.0, 8, chunk, ratio_effective_batch=1.0
    )
    assert str(training_table(found).caption).splitlines() == [
        "✓ ours / open_clip, same settings = 1.10 (goal 1.0)",
        "✗ ours / open_clip, each at its best = 1.40 (goal 1.5)",
        "batch 8 in chunks, ours: gradient off by 1e-07, temperature's x 1.00, 2.0 CPU s",
    ]


@pytest.mark.slow
def test_the_command_runs_to_the_end_against_open_clip(tmp_path: Path) -> None:
    try:
        packages = install_open_clip(tmp_path / "packages")
    except PeerError as error:
        pytest.skip(str(error))
    words = ["training", "--image-size", "16", "--batch-size", "4", "--effective-batch", "12", "--turns", "1"]
    done = CliRunner().invoke(bench, [*words, "--packages", str(packages), "--json"], catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["ratio_same_settings"] > 0
    assert said["ratio_each_best"] > 0
    counts = [speed["parameters"] for speed in said["same_settings"].values()]
    assert max(counts) / min(counts) < 1.02
    ours, theirs = said["chunk"]["ours"], said["chunk"]["open_clip"]
    assert ours["encoder_error"] < 1e-4
    assert theirs["encoder_error"] < 1e-4
    assert ours["temperature_factor"] == pytest.approx(1, abs=1e-3)
    assert theirs["temperature_factor"] == pytest.approx(3, abs=1e-2), "it adds it up once for every chunk"
