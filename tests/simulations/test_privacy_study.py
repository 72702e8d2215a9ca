"""The study of what privacy costs: every arm from one start, a table, a figure, and nothing trained twice."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from tiny import SITES, settings, tiny_store

from common.errors import ConfigurationError
from common.evaluation.metrics import Estimate
from common.privacy.calibration import noise_for
from common.privacy.mechanism import Terms
from common.spec.privacy import RATE_DENOMINATOR
from simulations.ablation.plan import laid_over, read_plan_of
from simulations.cli import main
from simulations.demo import EXPERIMENTS
from simulations.privacy_study.goal import patients_needed
from simulations.privacy_study.pages import markdown
from simulations.privacy_study.plan import StudyPlan
from simulations.privacy_study.running import count_patients
from simulations.privacy_study.verdict import Cell

MASKED = ["objectives.masked_image", "objectives.masked_language"]
PLAN: dict[str, Any] = {
    "base": "tiny.toml",
    "reference": "plain",
    "seeds": [3],
    "epsilons": [8.0, math.inf],
    "delta": 1e-2,
    "tuned_on": "phantoms of seed 5",
    "goal": {"epsilon": 8.0, "kept": 0.6, "cohorts": ["groups", "more-groups"]},
    "start_steps": 1,
    "start_learning_rate": 1e-3,
    "steps": 2,
    "local_steps": 1,
    "sampling_rate": 1.0,
    "looked_at": 4,
    "shared": {"data": {"anchor_pairs": 0}},
    "variants": {
        "plain": {"about": "no privacy", "without": MASKED},
        "groups": {"about": "G <&>", "mechanism": "G", "group_size": 2, "without": MASKED},
        "more-groups": {
            "about": "G of 100 times the patients",
            "mechanism": "G",
            "group_size": 2,
            "epsilons": [8.0],
            "cohort_times": 100,
            "without": MASKED,
        },
        "apart": {
            "about": "R, each hospital",
            "mechanism": "R",
            "noise": "each_hospital",
            "epsilons": [1.0, 3.0],
            "without": [*MASKED, "objectives.global_contrastive"],
            "change": {"objectives": {"bank_contrastive": {}}, "data": {"public_negatives": 4}},
        },
    },
}


def write_plan(folder: Path, **changes: Any) -> Path:
    (folder / "tiny.toml").write_text(tomli_w.dumps(settings()))
    path = folder / "plan.toml"
    path.write_text(tomli_w.dumps(laid_over(PLAN, changes)))
    return path


def run(folder: Path, plan: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    for seed, name in enumerate((*SITES, "bank")):
        if not (folder / name).exists():
            tiny_store(folder / name, seed=seed)
    sites = [argument for name in SITES for argument in ("--site", f"{name}={folder / name}")]
    command = ["privacy", "study", str(plan), *sites, "--bank", str(folder / "bank"), "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["fedvlp-sim", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_a_study_writes_table_and_figure_and_trains_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(tmp_path, write_plan(tmp_path), out, monkeypatch) == 0
    with (out / "privacy.csv").open() as file:
        rows = list(csv.DictReader(file))
    cells = [(row["arm"], row["epsilon"]) for row in rows]
    assert cells == [
        ("public-start", ""),
        ("plain", "inf"),
        ("groups", "inf"),
        ("groups", "8"),
        ("more-groups", "8"),
        ("apart", "3"),
        ("apart", "1"),
    ]
    start, whole = rows[:2]
    if start["mean_auroc"] != whole["mean_auroc"]:
        assert (float(start["kept"]), float(whole["kept"])) == (0, 1)
    drawn = (out / "privacy.svg").read_text()
    assert "G &lt;&amp;&gt;" in drawn
    assert ">3<" in drawn, "an epsilon of one arm alone has its place too"
    answered = {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}
    table = (out / "privacy.csv").read_text()
    assert run(tmp_path, tmp_path / "plan.toml", out, monkeypatch) == 0
    assert {path: path.stat().st_mtime_ns for path in answered} == answered
    assert (out / "privacy.csv").read_text() == table


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reference": "groups"}, "reference = 'groups' has a mechanism"),
        ({"epsilons": [0.0]}, "epsilons"),
        ({"goal": {"cohorts": ["plain"]}}, "goal.epsilon = 8 is no epsilon of 'plain'"),
        ({"goal": {"cohorts": ["more-groups", "groups"]}}, "the smallest first"),
        ({"goal": {"cohorts": ["nobody"]}}, "goal.cohorts names 'nobody'"),
        ({"variants": {"groups": {"mechanism": "S"}}}, "mechanism"),
    ],
)
def test_a_study_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_plan_of(StudyPlan, write_plan(tmp_path, **changes))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_arm_without_a_proof_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path, variants={"groups": {"mechanism": "R", "group_size": 1}})
    assert run(tmp_path, plan, tmp_path / "out", monkeypatch) == 2
    assert "objectives.global_contrastive compares the rows of a batch" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["privacy", "privacy-real"])
def test_the_plans_that_ship_can_be_read(name: str) -> None:
    plan, specs = read_plan_of(StudyPlan, EXPERIMENTS / f"{name}.toml")
    assert specs.keys() == plan.variants.keys()
    assert len(plan.seeds) >= 3


def test_the_number_of_patients_is_read_between_two_cohorts_of_the_logarithm() -> None:
    assert patients_needed([100, 10_000], [0.2, 0.6], 0.4) == pytest.approx(1000)
    assert patients_needed([100, 10_000], [0.7, 0.9], 0.6) == 100
    assert patients_needed([100, 10_000], [-0.2, 0.5], 0.6) == math.inf
    assert patients_needed([1, 100, 10_000], [0.7, 0.2, 0.6], 0.4) == pytest.approx(1000)


def noise_of_groups(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[float]:
    """Noise multipliers that the arms of groups train with: epsilon inf, 8, 8 of 100 times as many."""
    asked: list[Terms] = []

    def remember(model: object, population: object, terms: Terms, spec: object, **_: object) -> None:
        asked.append(terms)

    monkeypatch.setattr("simulations.privacy_study.training.train_privately", remember)
    assert run(folder, write_plan(folder, **changes), folder / f"out-{len(changes)}", monkeypatch) == 0
    return [terms.noise_multiplier for terms in asked if terms.mechanism == "G"]


def test_the_noise_of_a_mean_is_that_of_all_who_are_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_noise, own, of_a_hundred_times = noise_of_groups(tmp_path, monkeypatch)
    patients = count_patients({name: tmp_path / name for name in SITES})
    sampled = noise_for(epsilon=8.0, delta=1e-2, rate_numerator=RATE_DENOMINATOR, steps=2)
    assert own == pytest.approx(sampled * 4 / patients)
    assert no_noise < of_a_hundred_times == pytest.approx(own / 100)
    _, of_twice_as_many_seen, _ = noise_of_groups(tmp_path, monkeypatch, looked_at=8)
    assert of_twice_as_many_seen == pytest.approx(2 * own)


def test_a_step_cannot_look_at_more_than_it_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, write_plan(tmp_path, sampling_rate=0.01), tmp_path / "out", monkeypatch) == 3
    assert "looked_at = 4" in capsys.readouterr().err


def cells(
    folder: Path, *kept: float, start: float = 0.6, lowest_gain: float = 0.1
) -> tuple[StudyPlan, list[Cell]]:
    """PLAN, where training without privacy gains 0.2 and the other cells keep `kept` of it, in order."""
    plan, _ = read_plan_of(StudyPlan, write_plan(folder))

    def cell(arm: str, epsilon: float, share: float) -> Cell:
        gain = Estimate(0.2 * share, lowest_gain, 0.3)
        return Cell(arm, epsilon, Estimate(start + gain.value, 0.5, 0.9), gain, Estimate(share, 0.0, 1.0))

    keys = list(plan.cells())[1:]
    private = [cell(*key, share) for key, share in zip(keys, kept, strict=True)]
    return plan, [cell("", 0.0, 0.0), cell("plain", math.inf, 1.0), *private]


def test_the_page_says_what_was_tuned_where_and_how_many_patients_it_takes(tmp_path: Path) -> None:
    page = markdown(*cells(tmp_path, 0.9, 0.2, 1.0, 0.1, 0.1), patients=1_000)
    assert "chosen on phantoms of seed 5" in page
    assert "`groups` keeps 20% (0% to 100%) of it with the 1,000 patients that are there" in page
    assert "20% of 1,000, 100% of 100,000; by these figures, about 10,000 patients" in page


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.61, 0.9, ": reached."), (0.1, 0.59, ": not reached."), (0.1, 0.9, ": not shown either way.")],
)
def test_a_goal_is_reached_only_if_its_whole_interval_is(
    tmp_path: Path, low: float, high: float, said: str
) -> None:
    plan, found = cells(tmp_path, 0.9, 0.7, 0.8, 0.1, 0.1)
    found[3] = replace(found[3], kept=Estimate(0.7, low, high))
    assert said in markdown(plan, found, patients=1_000)


def test_where_nothing_is_gained_no_share_of_it_is_claimed(tmp_path: Path) -> None:
    page = markdown(*cells(tmp_path, 0.9, 0.9, 1.0, 0.1, 0.1, lowest_gain=-0.01), patients=1_000)
    assert "no gain over the public start" in page
    assert "reached" not in page
