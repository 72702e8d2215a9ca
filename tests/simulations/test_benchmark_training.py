"""The training benchmark measures what it says: one model and the same pairs for all, and exactness."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from tiny import SITES, settings, tiny_store
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from common.errors import ConfigurationError, PeerError
from common.model.vlp import build_model
from simulations.benchmarks.cli import bench
from simulations.benchmarks.training import Race, Speed, TrainingSpeeds, install_open_clip, time_training
from simulations.benchmarks.training_cli import training_table
from simulations.benchmarks.training_flops import forward_flops, measure_utilisation, peak_of
from simulations.benchmarks.training_learning import (
    Lesson,
    RealQuestions,
    learn,
    prepare_course,
    seconds_until,
)
from simulations.benchmarks.training_ours import our_batch, our_spec
from simulations.benchmarks.training_parties import build_party
from simulations.benchmarks.training_party import LENGTHS, Pairs, Setting, Shape, made_up_pairs
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
PAIRS = made_up_pairs(TINY, 4, whole_reports=False)


@pytest.mark.parametrize("name", ["ours", "transformers"])
@pytest.mark.parametrize("at_best", [False, True])
def test_a_turn_trains_and_is_timed(name: Any, at_best: bool) -> None:
    party = build_party(name, TINY, Setting(at_best=at_best, precision="auto"))
    before = [weight.detach().clone() for weight in party.model.parameters()]
    said = take(party, PAIRS, 2)
    assert any(not torch.equal(old, new) for old, new in zip(before, party.model.parameters(), strict=True))
    assert said["cpu_seconds"] > 0
    assert said["wall_seconds"] > 0
    assert said["peak_bytes"] > 1 << 20


def test_our_chunks_have_the_gradient_of_the_batch_and_a_scaled_temperature_would_show() -> None:
    party = build_party("ours", TINY, Setting(chunks=3))
    pairs = made_up_pairs(TINY, 12, whole_reports=True)
    said = exactness(party, pairs)
    assert said["encoder_error"] < 1e-5
    assert said["temperature_factor"] == pytest.approx(1, abs=1e-4)
    tripled = party.log_scale.register_hook(lambda gradient: 3 * gradient)

    def honest(whole: Pairs) -> None:
        tripled.remove()
        assert party.full_step is not None
        party.full_step(whole)

    said = exactness(replace(party, full_step=honest), pairs)
    assert said["temperature_factor"] == pytest.approx(3, rel=1e-3)


def test_all_parties_see_the_same_pairs_and_reports_have_the_lengths_that_are_stated() -> None:
    shape = replace(Shape(), image_size=8)
    first, again = (made_up_pairs(shape, 3000, whole_reports=False) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.tokens, again.tokens)
    lengths = first.lengths.double()
    for place, wanted in enumerate(LENGTHS[1:-1], start=1):
        assert lengths.quantile(place / 10).item() == pytest.approx(wanted, abs=3)
    assert set(made_up_pairs(shape, 9, whole_reports=True).lengths.tolist()) == {shape.max_tokens}


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
        *(4, 1, 2, True, 0.5, speeds, speeds),
        *(1.1, 1.4, 1.2, 1.2, 1.0, 1.0, 8),
        chunk,
        ratio_effective_batch=1.0,
        learning={"ours": [Lesson(25, 3.2, 0.6), Lesson(50, 6.0, 0.7)], "open_clip": [Lesson(25, 5.0, 0.5)]},
        auroc=0.65,
        seconds_to_auroc={"ours": 6.0, "open_clip": None},
    )
    assert str(training_table(found).caption).splitlines() == [
        "✓ ours / open_clip, same settings = 1.10 (goal 1.0)",
        "✗ ours / open_clip, each at its best in bfloat16 = 1.40 (goal 1.5)",
        "batch 8 in chunks, ours: gradient off by 1e-07, temperature's x 1.00, 2.0 CPU s",
        "zero-shot AUROC 0.65, ours: 6 CPU s; 0.700 at its best",
        "zero-shot AUROC 0.65, open_clip: never; 0.500 at its best",
    ]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> RealQuestions:
    folder = tmp_path_factory.mktemp("real")
    for seed, name in enumerate(SITES):
        tiny_store(folder / name, seed=seed, rows=40)
    (folder / "questions.toml").write_text(tomli_w.dumps(settings()))
    stores = {name: folder / name for name in SITES}
    return RealQuestions(stores, bank=None, questions=folder / "questions.toml", auroc=0.9, steps=3)


@pytest.mark.parametrize("name", ["ours", "transformers"])
def test_a_party_learns_from_stores_and_is_questioned_on_the_way(
    name: Any, real: RealQuestions, tmp_path: Path
) -> None:
    course, shape = prepare_course(tmp_path / "project", real)
    assert shape.image_size == 16
    shape = replace(TINY, vocabulary=shape.vocabulary, max_tokens=shape.max_tokens)
    party = build_party(name, shape, Setting(at_best=True))
    clock = iter(range(100))
    lessons = learn(
        party, replace(course, every=2), normalised=name != "ours", cpu_seconds=lambda: float(next(clock))
    )
    assert [(lesson.steps, lesson.cpu_seconds) for lesson in lessons] == [(2, 1.0), (3, 2.0)]
    assert all(0 <= lesson.mean_auroc <= 1 for lesson in lessons)


def test_seconds_are_those_of_the_first_time_a_level_is_met() -> None:
    course = [Lesson(1, 5.0, 0.5), Lesson(2, 9.0, 0.8), Lesson(3, 14.0, 0.7)]
    assert [seconds_until(course, level) for level in (0.4, 0.6, 0.8, 0.9)] == [5.0, 9.0, 9.0, None]


def test_questions_that_ask_nothing_are_refused(real: RealQuestions, tmp_path: Path) -> None:
    path = tmp_path / "silent.toml"
    path.write_text(tomli_w.dumps(settings(evaluation__zero_shot=[])))
    with pytest.raises(ConfigurationError, match=r"silent\.toml asks no question"):
        prepare_course(tmp_path / "project", replace(real, questions=path))


@pytest.mark.parametrize("width", [{"image_width": 16}, {"image_width": 32, "image_depth": 2}])
def test_operations_are_counted_as_torch_counts_them(width: dict[str, int]) -> None:
    shape = replace(TINY, **width, patch_pixels=4)
    spec = our_spec(shape, Setting())
    model = build_model(spec, shape.vocabulary)
    pairs = made_up_pairs(shape, shape.batch_size, whole_reports=True)
    batch = our_batch(pairs)
    with FlopCounterMode(display=False) as counter, torch.autocast("cpu", dtype=torch.bfloat16):
        model.losses(batch)
    assert counter.get_total_flops() == forward_flops(shape)


def test_the_share_of_a_peak_is_what_the_rate_makes_of_it() -> None:
    used = measure_utilisation(TINY, device=torch.device("cpu"), peak_flops=1e12, steps=2, warm_up=1)
    assert used.share == pytest.approx(used.pairs_per_second * used.flops_per_pair / 1e12)
    assert used.flops_per_pair == 3 * forward_flops(TINY) / TINY.batch_size
    assert peak_of("NVIDIA H100 PCIe") < peak_of("NVIDIA H100 80GB HBM3") == peak_of("NVIDIA H200")
    with pytest.raises(ConfigurationError, match="--peak-tflops"):
        peak_of("NVIDIA Somewhat 1")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_utilisation_without_a_gpu_is_refused() -> None:
    done = CliRunner().invoke(bench, ["training", "--mfu"])
    assert isinstance(done.exception, ConfigurationError)


@pytest.mark.parametrize("words", [["--site", "a=b"], ["--questions", "spec.toml"]])
def test_stores_and_questions_need_each_other(words: list[str]) -> None:
    done = CliRunner().invoke(bench, ["training", *words])
    assert isinstance(done.exception, ConfigurationError)
    assert "give both or neither" in str(done.exception)


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
