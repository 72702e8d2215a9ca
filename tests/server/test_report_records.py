"""The three files of a run: what is written is read back, and what is broken is refused in one line."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from report_samples import comparison_json, rounds_jsonl, run_json, write_run

from common.errors import InputRefusedError
from server.report.records import (
    Comparison,
    RoundRecord,
    RunRecord,
    SiteRound,
    read_comparison,
    read_rounds,
    read_run,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", run_json(), rounds_jsonl(), comparison_json())


def test_what_a_model_writes_it_reads_back(run: Path) -> None:
    record, rounds, comparison = read_run(run), read_rounds(run), read_comparison(run)
    assert comparison is not None
    assert RunRecord.model_validate_json(record.model_dump_json()) == record
    assert [RoundRecord.model_validate_json(line.model_dump_json()) for line in rounds] == list(rounds)
    assert Comparison.model_validate_json(comparison.model_dump_json()) == comparison


def test_the_models_write_the_keys_of_the_agreed_format(run: Path) -> None:
    assert json.loads(read_run(run).model_dump_json()).keys() == run_json().keys()
    assert json.loads(read_rounds(run)[0].model_dump_json()) == rounds_jsonl()[0]


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_loss_that_is_no_number_is_kept_as_null(value: float) -> None:
    turn = SiteRound(name="a", status="ok", losses={"masked_image": value})
    assert turn.losses == {"masked_image": None}
    assert SiteRound.model_validate_json(turn.model_dump_json()) == turn


def test_no_comparison_is_not_an_error(tmp_path: Path) -> None:
    assert read_comparison(write_run(tmp_path, run_json(), rounds_jsonl())) is None


def test_a_half_written_last_line_is_named(run: Path) -> None:
    path = run / "rounds.jsonl"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(InputRefusedError, match=r"rounds\.jsonl line 20 is cut off .*--resume"):
        read_rounds(run)


def test_a_last_line_without_its_newline_is_whole(run: Path) -> None:
    path = run / "rounds.jsonl"
    path.write_text(path.read_text().removesuffix("\n"))
    assert len(read_rounds(run)) == 20


def test_a_line_separator_inside_a_reason_does_not_end_the_line(tmp_path: Path) -> None:
    rounds = rounds_jsonl(rounds=1, refusing="lakeside")
    rounds[0]["sites"][0]["reason"] = "one\u2028two"
    write_run(tmp_path, run_json(), [])
    (tmp_path / "rounds.jsonl").write_text(json.dumps(rounds[0], ensure_ascii=False) + "\n")
    assert read_rounds(tmp_path)[0].sites[0].reason == "one\u2028two"


@pytest.mark.parametrize("numbers", [(1, 1), (2, 1)])
def test_rounds_twice_or_out_of_order_are_refused(tmp_path: Path, numbers: tuple[int, int]) -> None:
    lines = [{**line, "round": number} for line, number in zip(rounds_jsonl(), numbers, strict=False)]
    with pytest.raises(InputRefusedError, match="twice or out of order"):
        read_rounds(write_run(tmp_path, run_json(), lines))


def test_a_run_without_a_finished_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="no finished round"):
        read_rounds(write_run(tmp_path, run_json(), []))


@pytest.mark.parametrize(
    ("file", "read"), [("run.json", read_run), ("rounds.jsonl", read_rounds)], ids=["run", "rounds"]
)
def test_a_missing_file_is_named_with_what_to_do(
    run: Path, file: str, read: Callable[[Path], object]
) -> None:
    (run / file).unlink()
    with pytest.raises(InputRefusedError, match=rf"{file} does not exist; name the --out folder"):
        read(run)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff\xfe", b"null", b"{}"])
def test_anything_else_in_a_file_is_refused_in_one_line(run: Path, content: bytes) -> None:
    for name in ("run.json", "rounds.jsonl", "comparison.json"):
        (run / name).write_bytes(content)
    for read in (read_run, read_rounds, read_comparison):
        with pytest.raises(InputRefusedError) as refusal:
            read(run)
        assert "\n" not in str(refusal.value)


def test_an_unknown_key_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputRefusedError, match="colour: Extra inputs"):
        read_run(write_run(tmp_path, {**run_json(), "colour": "red"}, []))


def test_a_refusal_does_not_repeat_the_content(tmp_path: Path) -> None:
    run = run_json()
    run["sites"][0]["patients"] = "Jane Roe"
    with pytest.raises(InputRefusedError) as refusal:
        read_run(write_run(tmp_path, run, []))
    assert "sites.0.patients" in str(refusal.value)
    assert "Roe" not in str(refusal.value)


def test_a_comparison_needs_one_federated_model_and_names_each_once() -> None:
    models = comparison_json()["models"]
    twice, none, double = [*models, models[0]], models[:-1], [*models, {**models[-1], "name": "again"}]
    for wrong in (twice, none, double):
        with pytest.raises(ValidationError):
            Comparison.model_validate({"models": wrong, "seeds": [1]})


def test_records_cannot_be_changed(run: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        read_run(run).seed = 8
