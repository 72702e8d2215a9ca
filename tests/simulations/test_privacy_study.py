"""The study of what privacy costs: every arm from one start, a table, a figure, and nothing trained twice."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from tiny import SITES, settings, tiny_store

from common.errors import ConfigurationError
from simulations.ablation.plan import laid_over, read_plan_of
from simulations.cli import main
from simulations.demo import EXPERIMENTS
from simulations.privacy_study.plan import StudyPlan

MASKED = ["objectives.masked_image", "objectives.masked_language"]
PLAN: dict[str, Any] = {
    "base": "tiny.toml",
    "reference": "plain",
    "seeds": [3],
    "epsilons": [8.0, math.inf],
    "delta": 1e-2,
    "start_steps": 1,
    "start_learning_rate": 1e-3,
    "steps": 2,
    "local_steps": 1,
    "patients_per_step": 4,
    "shared": {"data": {"anchor_pairs": 0}},
    "variants": {
        "plain": {"about": "no privacy", "without": MASKED},
        "groups": {"about": "G <&>", "mechanism": "G", "group_size": 2, "without": MASKED},
        "apart": {
            "about": "R, each hospital",
            "mechanism": "R",
            "noise": "each_hospital",
            "epsilons": [1.0],
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
        ("apart", "1"),
    ]
    start, whole = rows[:2]
    if start["mean_auroc"] != whole["mean_auroc"]:
        assert (float(start["kept"]), float(whole["kept"])) == (0, 1)
    assert "G &lt;&amp;&gt;" in (out / "privacy.svg").read_text()
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


def test_the_plan_that_ships_can_be_read() -> None:
    plan, specs = read_plan_of(StudyPlan, EXPERIMENTS / "privacy.toml")
    assert specs.keys() == plan.variants.keys()
    assert len(plan.seeds) >= 3
