import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st
from tiny import SITES, settings, tiny_store

from common.errors import ConfigurationError, InputRefusedError, IntegrityError
from common.evaluation.zero_shot import ZeroShotTask
from common.spec.run import read_spec
from simulations.ablation.answers import ANSWERS_FILE
from simulations.ablation.pages import write_pages
from simulations.ablation.plan import laid_over, read_plan, taken_out
from simulations.ablation.running import run_ablation
from simulations.ablation.verdict import Resampling, judge_ablation
from simulations.cli import main
from simulations.demo import EXPERIMENTS

PLAN: dict[str, Any] = {
    "base": "tiny.toml",
    "reference": "plain",
    "seeds": [3, 4],
    "shared": {"federation": {"rounds": 2}},
    "variants": {
        "plain": {
            "about": "contrastive",
            "without": ["objectives.masked_image", "objectives.masked_language"],
        },
        "sigmoid": {
            "about": "sigmoid <&>",
            "without": ["objectives.masked_image"],
            "change": {"objectives": {"global_contrastive": {"kind": "sigmoid"}}},
        },
    },
}


def write_plan(folder: Path, **changes: Any) -> Path:
    (folder / "tiny.toml").write_text(tomli_w.dumps(settings()))
    path = folder / "plan.toml"
    path.write_text(tomli_w.dumps(laid_over(PLAN, changes)))
    return path


tables = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(tables, tables, tables)
def test_laying_tables_over_each_other_needs_no_brackets(a: Any, b: Any, c: Any) -> None:
    assert laid_over(a, {}) == a
    assert laid_over(a, a) == a
    assert laid_over(laid_over(a, b), b) == laid_over(a, b)
    assert laid_over({"x": a}, {"x": b}) == {"x": laid_over(a, b)}


def test_what_is_taken_out_leaves_its_neighbours_and_the_original() -> None:
    whole = {"a": {"b": 1, "c": 2}}
    assert taken_out(whole, "a.b") == {"a": {"c": 2}}
    assert whole == {"a": {"b": 1, "c": 2}}
    with pytest.raises(KeyError):
        taken_out(whole, "a.d")


def test_variants_differ_from_their_base_in_what_they_say(tmp_path: Path) -> None:
    _, specs = read_plan(write_plan(tmp_path))
    assert specs["plain"].objectives.names == ("global_contrastive",)
    assert specs["sigmoid"].objectives.names == ("global_contrastive", "masked_language")
    assert specs["plain"].federation.rounds == 2
    assert specs["plain"].train == read_spec(tmp_path / "tiny.toml").train


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reference": "other"}, "reference = 'other' is none of the variants"),
        ({"variants": {"plain": {"without": ["objectives.matching"]}}}, "plan.toml: plain: without"),
        ({"variants": {"plain": {"change": {"train": {"lr": 1}}}}}, "plain: unknown key 'train.lr'"),
        ({"seeds": [1, 1]}, "seeds names one twice"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_in_one_line(tmp_path: Path, changes: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_plan(write_plan(tmp_path, **changes))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["ablation", "ablation-rest", "demo-ablation"])
def test_every_plan_that_ships_can_be_read(name: str) -> None:
    plan, specs = read_plan(EXPERIMENTS / f"{name}.toml")
    assert len(plan.seeds) >= (1 if name == "demo-ablation" else 3)
    assert specs.keys() == plan.variants.keys()
    assert len({spec.digest() for spec in specs.values()}) == len(specs), "two variants are the same"
    with (EXPERIMENTS / f"{name}.csv").open() as file:
        assert [row["variant"] for row in csv.DictReader(file)] == list(plan.variants), (
            "the table is another's"
        )


def tasks(scores: np.ndarray, patients: np.ndarray) -> tuple[ZeroShotTask, ...]:
    truth = (np.arange(len(scores)) % 2).astype(np.int8)
    return (ZeroShotTask("one", scores, truth, patients.astype(object)),)


def test_draws_cover_patients_and_seeds() -> None:
    chance = np.random.default_rng(0)
    patients = np.arange(60).astype(str)
    truth = np.arange(60) % 2
    runs = [tasks(truth + chance.normal(size=60) * spread, patients) for spread in (0.5, 4.0)]
    resampling = Resampling.of(runs[0], seeds=2, draws=400)
    assert resampling.means([runs[0], runs[0]]).std() < resampling.means(runs).std()
    same = resampling.means(runs) - resampling.means(runs)
    assert not same.any()
    assert all((counts.sum(axis=1) == 60).all() for counts in resampling.counts)


def test_a_constant_gain_is_a_difference_and_noise_is_none() -> None:
    """A paired interval is narrower than that of either side, for both meet the same patients."""
    chance = np.random.default_rng(1)
    patients, truth = np.arange(200).astype(str), np.arange(200) % 2
    base = truth + chance.normal(size=200)
    plain, better = tasks(base, patients), tasks(base + 0.5 * truth, patients)
    resampling = Resampling.of(plain, seeds=1, draws=500)
    alone = resampling.means([better])
    paired = alone - resampling.means([plain])
    assert np.quantile(paired, 0.025) > 0
    assert paired.std() < alone.std()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    names = (*SITES, "bank")
    for seed, name in enumerate(names):
        tiny_store(folder / name, seed=seed)
    return {name: folder / name for name in names}


def test_an_ablation_is_written_and_goes_on_where_it_stopped(
    tmp_path: Path,
    stores: dict[str, Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    sites = [argument for name in SITES for argument in ("--site", f"{name}={stores[name]}")]
    command = [
        "ablation",
        str(write_plan(tmp_path)),
        *sites,
        "--bank",
        str(stores["bank"]),
        "--out",
        str(out),
    ]
    monkeypatch.setattr("sys.argv", ["fedvlp-sim", *command, "--workers", "1", "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    printed = json.loads(capsys.readouterr().out)
    assert [one["variant"] for one in printed] == ["plain", "sigmoid"]
    assert printed[0]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    with (out / "ablation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["mean_auroc"]) == pytest.approx(np.mean(printed[1]["by_seed"]), abs=1e-4)
    assert "sigmoid &lt;&amp;&gt;" in (out / "ablation.svg").read_text()
    assert "| plain |" in (out / "ablation.md").read_text()

    plan, specs = read_plan(tmp_path / "plan.toml")
    places = {name: stores[name] for name in SITES}
    kept = (out / "plain" / "seed-3" / ANSWERS_FILE).stat().st_mtime_ns
    (out / "sigmoid" / "seed-4" / ANSWERS_FILE).unlink()
    again = run_ablation(plan, specs, sites=places, bank=stores["bank"], out=out, workers=1)
    assert (out / "plain" / "seed-3" / ANSWERS_FILE).stat().st_mtime_ns == kept
    verdicts = judge_ablation(plan, again)
    assert [verdict.to_json() for verdict in verdicts] == printed
    write_pages(tmp_path / "again", plan, verdicts)
    assert (tmp_path / "again" / "ablation.csv").read_text() == (out / "ablation.csv").read_text()

    _, others = read_plan(write_plan(tmp_path, shared={"train": {"learning_rate": 0.5}}))
    with pytest.raises(IntegrityError, match="another spec"):
        run_ablation(plan, others, sites=places, bank=stores["bank"], out=out, workers=1)


def test_an_ablation_without_a_question_is_refused(tmp_path: Path, stores: dict[str, Path]) -> None:
    plan, specs = read_plan(write_plan(tmp_path, seeds=[3], shared={"evaluation": {"zero_shot": []}}))
    with pytest.raises(InputRefusedError, match="fedvlp-site label"):
        run_ablation(
            plan,
            specs,
            sites={name: stores[name] for name in SITES},
            bank=stores["bank"],
            out=tmp_path / "out",
            workers=1,
        )
