"""The verdict, and the table that the demo ends with."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import NAMES, comparison_json, rounds_jsonl, run_json, write_run
from rich.console import Console

from common.errors import InputRefusedError
from server.report.records import Comparison
from server.report.table import comparison_table
from server.report.verdict import judge, models_of
from server.report.wording import byte_unit, in_bytes, in_seconds, listed

aurocs = st.floats(min_value=0.01, max_value=1)


def compared(federated: float, central: float | None, local: list[float]) -> Comparison:
    ends = [("federated", None, federated), ("central", None, central)]
    ends += [("local", f"site {index}", value) for index, value in enumerate(local)]
    models = [
        {
            "name": site or kind,
            "kind": kind,
            "site": site,
            "final": {"mean_auroc": {"value": value, "low": value, "high": value}},
            "seconds": 1.0,
        }
        for kind, site, value in ends
        if value is not None
    ]
    return Comparison.model_validate({"models": models, "seeds": [0]})


def shown(run: Path, width: int = 160) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(comparison_table(run))
    return capture.get()


@given(aurocs, aurocs, st.lists(aurocs, min_size=1, max_size=5))
def test_the_verdict_is_the_ratio_and_the_maximum(
    federated: float, central: float, local: list[float]
) -> None:
    verdict = judge(compared(federated, central, local))
    assert verdict.ratio_to_central == federated / central
    assert verdict.above_every_local == all(federated > value for value in local)
    assert verdict.near_central == (federated / central >= 0.97)


def test_a_tie_with_a_local_model_is_not_above_it() -> None:
    assert judge(compared(0.8, 0.9, [0.8])).above_every_local is False


def test_nothing_is_judged_where_nothing_was_compared() -> None:
    verdict = judge(compared(0.8, None, []))
    assert (verdict.ratio_to_central, verdict.above_every_local, verdict.near_central) == (None, None, None)


def test_the_federated_model_comes_first(tmp_path: Path) -> None:
    comparison = Comparison.model_validate(comparison_json())
    kinds = [model.kind for model in models_of(None, comparison)]  # type: ignore[arg-type]
    assert kinds == ["federated", "central", "local", "local", "local"]


@pytest.mark.parametrize("width", [80, 160])
def test_the_table_shows_every_number_and_both_verdicts(tmp_path: Path, width: int) -> None:
    text = shown(write_run(tmp_path, run_json(), rounds_jsonl(), comparison_json()), width)
    for model in comparison_json()["models"]:
        row = next(line for line in text.splitlines() if line.startswith(f"{model['name']} "))
        mean = model["final"]["mean_auroc"]
        assert f"{mean['value']:.3f} {mean['low']:.3f}–{mean['high']:.3f}" in " ".join(row.split())
        for score in model["final"]["zero_shot"]:
            assert f"{score['auroc']['value']:.3f}" in row
    assert "✓ federated / central = 0.981 (goal 0.97)" in text
    assert "✓ federated is above every local-only model (best: lakeside alone, 0.740)" in text


def test_a_narrow_terminal_cuts_headings_and_breaks_none(tmp_path: Path) -> None:
    text = shown(write_run(tmp_path, run_json(), rounds_jsonl(), comparison_json()), 80)
    _, headings, rule = text.splitlines()[:3]
    assert headings.startswith("model ")
    assert "…" in headings
    assert set(rule) == {"─"}


def test_the_table_says_when_it_was_not_worth_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, run_json(), rounds_jsonl(), comparison_json(federated=0.70))
    text = shown(run)
    assert "✗ federated / central = 0.816" in text
    assert "✗ federated is not above every local-only model" in text


def test_the_table_shows_a_name_as_it_is_written(tmp_path: Path) -> None:
    hostile = "[red]x[/]"
    sites = (hostile, *NAMES[:1])
    text = shown(
        write_run(tmp_path, run_json(sites=sites), rounds_jsonl(sites=sites), comparison_json(sites=sites))
    )
    assert text.count(hostile) == 2


def test_without_a_comparison_the_federated_model_stands_alone(tmp_path: Path) -> None:
    text = shown(write_run(tmp_path, run_json(), rounds_jsonl()))
    assert "0.842 0.822–0.862" in " ".join(text.split())
    assert "nothing was compared" in text


def test_without_labels_the_table_has_dashes(tmp_path: Path) -> None:
    run = write_run(tmp_path, run_json(tasks=()), rounds_jsonl(tasks=()), comparison_json(tasks=()))
    assert "no labelled task" in shown(run)


def test_the_table_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="does not exist"):
        comparison_table(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (252, "4 min 12 s"),
        (11_100, "3 h 05 min"),
    ],
)
def test_seconds_are_worded_by_their_size(seconds: float, words: str) -> None:
    assert in_seconds(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (36_240_000, "36.2 MB"), (2.5e9, "2.5 GB")],
)
def test_bytes_are_worded_by_their_size(count: float, words: str) -> None:
    assert in_bytes(count) == words


@given(st.integers(min_value=1, max_value=10**15))
def test_a_count_of_bytes_is_at_least_one_in_its_unit(count: int) -> None:
    assert count / byte_unit(count)[0] >= 1


def test_long_lists_of_names_are_counted() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(list("abcdefgh")) == "a, b, c, d, e, f and 2 more"
