"""The benchmarks measure what they say: small runs to the end, and the laws that flat memory rests on."""

import gc
import importlib.util
import json
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ArrayRecord, Message
from tiny import SITES
from typer.testing import CliRunner

from common.errors import ConfigurationError, WithheldError
from common.messages import Answer
from common.model.vlp import build_model
from common.project import Project, weights_of
from common.update import Layout, pack, sum_names
from server.attempts import Attempts
from server.checkpoint import fresh_global_state
from server.evaluation import Evaluator
from server.ledgers import LedgerHeads
from server.report.records import FinalScores
from server.rounds import collect, instruct
from simulations.benchmarks.cli import bench, engine_table, hub_table, secagg_table
from simulations.benchmarks.engine import EngineRun, EngineTimes, time_engines
from simulations.benchmarks.fresh import peak_bytes, run_fresh
from simulations.benchmarks.hub_memory import HubMemory, HubPeak, hub_spec, measure_hub
from simulations.benchmarks.hub_process import AnsweringGrid
from simulations.benchmarks.made_answer import write_answer
from simulations.benchmarks.secagg import measure_secure_aggregation
from simulations.benchmarks.small_federation import small_stores
from simulations.local_grid import be_the_hub

WEIGHT_CAP = 1024


@pytest.fixture(autouse=True)
def hub_identity() -> None:
    be_the_hub()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only references decide what lives."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def answer_to(project: Project) -> Answer:
    steps = np.random.default_rng(0).integers(-9, 9, project.layout.num_coordinates, dtype=np.int16)
    names = sum_names(project.spec.objectives.names)
    sums = np.array([WEIGHT_CAP if name == "weight" else 0 for name in names], dtype=np.uint64)
    return Answer(round=0, project="", model="", planes=pack(steps, project.profile), sums=sums)


class WatchedGrid(AnsweringGrid):
    """Remembers, without holding it, what went through; counts what of it is alive at each pull."""

    def __init__(self, sites: tuple[str, ...], folder: Path) -> None:
        super().__init__(sites, folder)
        self.models: list[weakref.ref[object]] = []
        self.updates: list[weakref.ref[object]] = []
        self.alive: list[tuple[int, int]] = []

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        listed = list(messages)
        self.models += [reference(message, "model", "weights") for message in listed]
        return super().push_messages(listed)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.alive.append(tuple(sum(r() is not None for r in kind) for kind in (self.models, self.updates)))
        pulled = list(super().pull_messages(message_ids))
        self.updates += [reference(message, "update", "low") for message in pulled]
        return pulled


def reference(message: Message, record: str, key: str) -> "weakref.ref[object]":
    arrays = message.content[record]
    assert isinstance(arrays, ArrayRecord)
    return weakref.ref(arrays[key])


def test_the_hub_holds_neither_the_pushed_model_nor_an_earlier_reply_while_it_pulls(
    project: Project, tmp_path: Path, no_collector: None
) -> None:
    write_answer(tmp_path / "answer", answer_to(project))
    grid = WatchedGrid(SITES, tmp_path / "answer")
    cohort = {node.name: node.node_id for node in grid.get_nodes()}
    ledgers = LedgerHeads(tmp_path)
    instruction = instruct(project, fresh_global_state(project), ledgers)
    collect(grid, cohort, instruction, project, ledgers, Attempts(tmp_path))
    assert grid.alive == [(0, 0)] * len(SITES)


def test_a_hub_without_stores_judges_nothing_and_builds_no_torch_model(project: Project) -> None:
    evaluator = Evaluator(project, {})
    state = fresh_global_state(project)
    assert evaluator.glance(state).evaluation.mean_auroc is None
    assert evaluator.judge(project.layout.unflatten(state.weights)) == FinalScores()
    assert "_model" not in vars(evaluator)


def test_a_reply_read_from_disc_says_what_was_written_and_names_the_instruction(
    project: Project, tmp_path: Path
) -> None:
    written = answer_to(project)
    write_answer(tmp_path / "answer", written)
    grid = AnsweringGrid(SITES, tmp_path / "answer")
    instruction = instruct(project, fresh_global_state(project), LedgerHeads(tmp_path))
    node = next(iter(grid.get_node_ids()))
    (reply,) = grid.send_and_receive([Message(instruction.to_records(), node, "train")])
    read = Answer.from_records(reply.content)
    assert (read.round, read.project, read.model) == (1, project.digest, instruction.model)
    np.testing.assert_array_equal(read.planes.low, written.planes.low)
    np.testing.assert_array_equal(read.planes.high, written.planes.high)
    np.testing.assert_array_equal(read.sums, written.sums)


def test_an_answer_is_read_in_place(project: Project) -> None:
    read = Answer.from_records(answer_to(project).to_records())
    assert not read.planes.low.flags.owndata
    assert not read.planes.high.flags.owndata


@pytest.mark.parametrize("parameters", [300_000, 3_000_000])
def test_the_model_of_the_hub_benchmark_has_about_the_size_asked_for(parameters: int) -> None:
    spec = hub_spec(parameters, sites=4, rounds=2)
    model = build_model(spec, spec.model.text.vocabulary_size)
    assert Layout.of(weights_of(model)).num_coordinates == pytest.approx(parameters, rel=0.2)


def test_stores_of_the_engine_benchmark_are_the_same_bytes_every_time(tmp_path: Path) -> None:
    first = small_stores(tmp_path / "first", sites=2)
    second = small_stores(tmp_path / "second", sites=2)
    for name, store in first.items():
        for file in store.iterdir():
            assert file.read_bytes() == (second[name] / file.name).read_bytes()
    assert len({(store / "images.u8").read_bytes() for store in first.values()}) == len(first)


def test_growth_compares_the_most_sites_with_the_fewest_in_any_order() -> None:
    few, many = HubPeak(4, 100, 1000, 1.0), HubPeak(16, 100, 1100, 2.0)
    assert HubMemory(10, 2, (many, few)).growth == HubMemory(10, 2, (few, many)).growth == 1.1
    assert many.models_above_base(500) == 2.0


def test_a_peak_is_that_of_the_fresh_process_not_of_the_one_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from simulations.benchmarks.fresh import peak_bytes;"
        "before = peak_bytes(); block = bytearray(64 << 20);"
        "pathlib.Path(sys.argv[1]).write_text(f'{before} {peak_bytes()}')"
    )
    ballast = np.ones(1 << 25)  # 256 MiB, far more than the fresh process has
    run_fresh(program, [str(tmp_path / "peaks")], log=tmp_path / "log")
    before, after = map(int, (tmp_path / "peaks").read_text().split())
    assert peak_bytes() > ballast.nbytes > after
    assert after - before >= 60 << 20


def test_a_measured_process_that_fails_is_told_by_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(WithheldError, match="ended with 1: ValueError: the disk is full"):
        run_fresh("raise ValueError('the disk is full')", [], log=tmp_path / "log")


def test_engine_says_how_to_install_ray_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'fedvlp\[ray\]'"):
        time_engines(sites=2, rounds=1, local_steps=1)


def test_more_sites_than_a_federation_holds_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="between 1 and 256"):
        measure_hub(parameters=1000, site_counts=(257,))


def test_tables_say_which_goals_are_missed() -> None:
    ours = [EngineRun(seconds, 4.0, 5.0, 1000, "ab") for seconds in (20.0, 10.0, 10.0)]
    ray = [EngineRun(seconds, 4.0, 5.0, 1000, "cd") for seconds in (102.0, 56.0, 48.0)]
    assert str(engine_table(EngineTimes(10, 10, 2, ours, ray)).caption) == (
        "✓ Ray / in-process = 5.10 (goal 5)\npairs 4.80 to 5.60, quickest 4.80\n✗ weights are different"
    )
    memory = HubMemory(1000, 2, (HubPeak(4, 0, 8000, 1.0), HubPeak(16, 0, 12000, 1.0)))
    assert str(hub_table(memory).caption) == (
        "✗ most / fewest sites = 1.500 (goal 1.10)\n✗ peak = base + 3.00 float32 models (goal 2.5)"
    )


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: fedvlp[ray]")
def test_both_engines_run_to_the_end_and_end_in_the_same_bits() -> None:
    words = ["engine", "--sites", "2", "--rounds", "2", "--local-steps", "1", "--repeats", "2", "--json"]
    done = CliRunner().invoke(bench, words, catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["weights_equal"] is True
    assert (said["sites"], said["rounds"], said["local_steps"]) == (2, 2, 1)
    assert said["ratio_of_quickest"] == pytest.approx(said["seconds_ray"] / said["seconds_inprocess"])
    pairs = zip(said["ray"], said["inprocess"], strict=True)
    ratios = [ray["seconds"] / ours["seconds"] for ray, ours in pairs]
    assert said["ratio_ray_over_inprocess"] == pytest.approx(sum(ratios) / 2)
    for engine in ("inprocess", "ray"):
        assert len(said[engine]) == 2
        assert said[f"seconds_{engine}"] == min(run["seconds"] for run in said[engine])
        phases = [said[f"{phase}_seconds_{engine}"] for phase in ("start", "round", "end")]
        assert min(phases) > 0
        assert sum(phases) == pytest.approx(said[f"seconds_{engine}"])


@pytest.mark.slow
@pytest.mark.parametrize("secure", ["--no-secure", "--secure"])
def test_hub_memory_runs_to_the_end_for_each_number_of_sites(secure: str) -> None:
    words = ["hub-memory", "--parameters", "100000", "--sites", "3", "--sites", "5", "--json", secure]
    done = CliRunner().invoke(bench, words, catch_exceptions=False)
    said = json.loads(done.stdout)
    assert said["sites"] == [3, 5]
    assert said["parameters"] == pytest.approx(100_000, rel=0.4)
    assert all(peak >= base > 0 for peak, base in zip(said["peak_bytes"], said["base_bytes"], strict=True))
    assert said["growth"] == pytest.approx(said["peak_bytes"][1] / said["peak_bytes"][0])


@pytest.mark.slow
def test_the_cost_of_secure_aggregation_is_told_with_both_sides_of_every_ratio() -> None:
    cost = measure_secure_aggregation(
        parameters=[20_000], site_counts=[3, 5], profile="wide", masking_parameters=1_000_000
    )
    said = cost.to_json()
    for name in ("0.02m_3_sites", "0.02m_5_sites"):
        for party in ("client", "hub"):
            ours, theirs = said[f"{party}_cpu_seconds_{name}"], said[f"flower_{party}_cpu_seconds_{name}"]
            assert isinstance(ours, float)
            assert isinstance(theirs, float)
            assert said[f"ratio_{party}_cpu_{name}"] == pytest.approx(theirs / ours)
    assert said["bytes_per_parameter"] == 3
    assert said["flower_bytes_per_parameter"] == pytest.approx(8, rel=0.02)
    assert 0 < cost.relative_error < 0.01
    assert len(json.dumps(said)) > 100
    assert secagg_table(cost).row_count == 2
