"""Variants trained on pooled rows: measures as those of scikit-learn, and nothing trained twice."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import normalized_mutual_info_score, roc_auc_score
from tiny import SITES, tiny_store
from tiny import settings as tiny_settings

from common.data.corpus import Corpus
from common.seeds import generator
from common.store import NO_IMAGE
from simulations.ablation.plan import laid_over, read_plan_of
from simulations.cli import main
from simulations.demo import EXPERIMENTS
from simulations.pooled_study.measures import mass_on_alike, probe_auroc, shared_information, siblings
from simulations.pooled_study.plan import PooledPlan, Rows
from simulations.pooled_study.rows import chosen_rows

PLAN: dict[str, Any] = {
    "base": "tiny.toml",
    "reference": "plain",
    "seeds": [3, 4],
    "steps": 2,
    "class_label": "opacity",
    "class_sites": [*SITES],
    "alike_label": "opacity",
    "shared": {"data": {"anchor_pairs": 0}},
    "variants": {
        "plain": {
            "about": "contrastive",
            "without": ["objectives.masked_image", "objectives.masked_language"],
        },
        "prototypes": {
            "about": "all, on half of the pairs",
            "rows": "half",
            "seeds": [4],
            "change": {"objectives": {"prototypes": {"prototypes": 4}}},
        },
    },
}


def names(*labels: str) -> Any:
    return np.array(labels, dtype=object)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=2, max_size=40))
def test_shared_information_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    one, other = (np.array(column) for column in zip(*pairs, strict=True))
    expected = normalized_mutual_info_score(one, other)
    if len(set(one)) == len(set(other)) == 1:
        expected = 0.0  # scikit-learn calls two labellings that tell nothing the same
    assert shared_information(one, other.astype(object)) == pytest.approx(expected, abs=1e-9)


def test_the_probe_is_that_of_scikit_learn() -> None:
    chance = generator(5)
    inputs, other = torch.randn(90, 6, generator=chance), torch.randn(200, 6, generator=chance)
    weights = torch.randn(6, 3, generator=chance)
    truth, told = (
        (x @ weights + torch.randn(len(x), 3, generator=chance)).argmax(dim=1).numpy()
        for x in (inputs, other)
    )
    found = probe_auroc(inputs, truth.astype(object), other, told.astype(object))
    mean, spread = inputs.mean(dim=0), inputs.std(dim=0)
    learner = LogisticRegression(max_iter=1000, tol=1e-8).fit((inputs - mean) / spread, truth)
    scores = learner.decision_function((other - mean) / spread)
    expected = np.mean([roc_auc_score(told == one, scores[:, one]) for one in range(3)])
    assert found == pytest.approx(expected, abs=1e-3)
    assert found > 0.7


def test_siblings_are_told_from_others_and_an_only_child_asks_nothing() -> None:
    images = F.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1], [-1, 0]]), dim=1)
    gap, rank = siblings(images, names("a", "a", "b", "b", "c"))
    assert gap > 0.9
    assert rank == 1
    crossed = siblings(images, names("a", "b", "a", "b", "c"))
    assert crossed[0] < 0
    assert crossed[1] < 0.5
    assert all(map(math.isnan, siblings(images, names(*"abcde"))))


def test_a_target_is_asked_of_other_studies_with_and_without_the_label() -> None:
    target = torch.tensor([[0.5, 0.3, 0.2, 0], [0.3, 0.6, 0.1, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    alike, other = mass_on_alike(target, names("x", "x", "y", ""), names("1", "2", "3", "4"))
    assert alike == pytest.approx(0.3)
    assert other == pytest.approx((0.2 + 0.1) / 4)


@pytest.fixture
def rows() -> Corpus:
    """Six studies of two rows each; row i says i."""
    return Corpus(
        sources=(np.zeros((12, 1, 4, 4), np.uint8),),
        source=np.zeros(12, np.int64),
        place=np.arange(12),
        sentences=tuple(((10 + row,), (30 + row,)) for row in range(12)),
        study=np.arange(12) // 2,
    )


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_a_half_keeps_whole_studies_and_the_other_half_comes_back_bare(seed: int) -> None:
    corpus = rows.__wrapped__()  # type: ignore[attr-defined]
    half, images, reports = (
        chosen_rows(corpus, choice, seed)
        for choice in ("half", "half_and_images", "half_and_reports")  # type: ignore[arg-type]
    )
    kept = set(half.place.tolist())
    assert len(kept) == 6
    assert sorted(np.bincount(half.study, minlength=6).tolist()) == [0, 0, 0, 2, 2, 2]
    assert {row for row in range(12) if images.sentences[row]} == kept
    assert images.place.tolist() == list(range(12))
    assert {row for row in range(12) if reports.place[row] != NO_IMAGE} == kept
    assert reports.sentences == corpus.sentences


def test_others_reports_are_all_reports_and_hardly_one_stays(rows: Corpus) -> None:
    mixed = chosen_rows(rows, "others_reports", 1)
    assert sorted(mixed.sentences) == sorted(rows.sentences)
    assert sum(a == b for a, b in zip(mixed.sentences, rows.sentences, strict=True)) <= 3
    assert (mixed.place.tolist(), mixed.study.tolist()) == (rows.place.tolist(), rows.study.tolist())
    told = chosen_rows(rows, "others_metadata", 1)
    assert [row[1:] for row in told.sentences] == [row[1:] for row in rows.sentences]
    assert [row[0] for row in told.sentences] == [row[0] for row in mixed.sentences]


def run(folder: Path, plan: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    (folder / "tiny.toml").write_text(tomli_w.dumps(tiny_settings()))
    (folder / "plan.toml").write_text(tomli_w.dumps(plan))
    for seed, name in enumerate((*SITES, "bank")):
        if not (folder / name).exists():
            tiny_store(folder / name, seed=seed)
    sites = [argument for name in SITES for argument in ("--site", f"{name}={folder / name}")]
    command = ["pooled", "plan.toml", *sites, "--bank", "bank", "--out", "out"]
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["fedvlp-sim", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_every_figure_is_written_and_nothing_is_trained_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not run(tmp_path, PLAN, monkeypatch)
    table = list(csv.DictReader((tmp_path / "out" / "pooled.csv").read_text().splitlines()))
    assert [(row["variant"], row["seed"]) for row in table] == [
        ("plain", "3"),
        ("plain", "4"),
        ("prototypes", "4"),
    ]
    _, plain, prototypes = table
    for figure in ("zero-shot AUROC", "probe AUROC", "rank", "R@10"):
        assert all(0 <= float(row[figure]) <= 1 for row in table)
    assert plain["cost of a piece"] == plain["prototypes and class"] == ""
    assert float(prototypes["cost of a piece"]) > 0
    assert 0 <= float(prototypes["prototypes and class"]) <= 1
    page = (tmp_path / "out" / "pooled.md").read_text()
    assert "| prototypes | all, on half of the pairs | 1 |" in page

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("simulations.pooled_study.running.train", never)
    assert not run(tmp_path, PLAN, monkeypatch)
    assert (tmp_path / "out" / "pooled.md").read_text() == page


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"variants": {"prototypes": {"seeds": [3, 8]}}}, 2, "'prototypes' has seed 8, which reference"),
        ({"class_sites": ["nowhere"]}, 3, "class_sites names nowhere, which is no --site"),
        ({"class_label": "weather"}, 3, "has no label 'weather'"),
        ({"steps": 0}, 2, "key 'steps'"),
        ({"variants": {"plain": {"rows": "others_metadata"}}}, 2, "needs data.metadata_text"),
    ],
    ids=["seed", "site", "label", "steps", "metadata"],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    code: int,
    said: str,
) -> None:
    assert run(tmp_path, laid_over(PLAN, changes), monkeypatch) == code
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_shipped_plan_can_be_run() -> None:
    plan, specs = read_plan_of(PooledPlan, EXPERIMENTS / "pooled.toml")
    assert plan.seeds_of("sigmoid") == plan.seeds_of(plan.reference) == (0, 1, 2)
    assert set(specs) == set(plan.variants)
    asked = {variant.rows for variant in plan.variants.values()}
    assert asked == set(Rows.__args__)  # type: ignore[attr-defined]


def test_the_shipped_plan_of_three_seeds_is_of_the_same_runs() -> None:
    plan, specs = read_plan_of(PooledPlan, EXPERIMENTS / "pooled-seeds.toml")
    whole, others = read_plan_of(PooledPlan, EXPERIMENTS / "pooled.toml")
    assert {plan.seeds_of(name) for name in specs} == {(0, 1, 2)}
    assert {name: others[name] for name in specs} == specs
    assert (plan.steps, plan.class_sites) == (whole.steps, whole.class_sites)
