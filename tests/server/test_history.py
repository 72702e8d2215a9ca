from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.project import Project
from common.spec.secure_aggregation import SA1Spec
from common.store import Store
from common.update import answer_bytes, instruction_bytes
from server.history import History, RoundClock, busy_seconds
from server.report.records import ROUNDS_FILE, RoundEvaluation, RoundRecord, SiteRound, Traffic, read_rounds

PARTS = {
    "exchange": 10.0,
    "training": 6.0,
    "validation": 1.0,
    "adding": 0.5,
    "applying": 0.25,
    "checkpoint": 0.75,
    "evaluation": 2.0,
}


def clock(**changes: float) -> RoundClock:
    return RoundClock(**({"total": 14.0} | PARTS | changes))


def record(number: int, *, sites: tuple[SiteRound, ...] = (), **seconds: float) -> RoundRecord:
    return RoundRecord(
        round=number,
        sites=sites,
        evaluation=RoundEvaluation(),
        seconds=clock(**seconds).phases(),
        bytes=Traffic(up=100 * number, down=10),
        update_norm=1.0,
        clipped_share=0.0,
    )


def ok(name: str, examples: int = 8, seconds: float = 2.0) -> SiteRound:
    return SiteRound(name=name, status="ok", examples=examples, seconds_training=seconds)


def test_the_seconds_of_a_round_are_laid_out_by_phase() -> None:
    phases = clock().phases()
    assert phases.transfer == 10 - 6 - 1 - 0.5
    assert phases.aggregation == 0.5 + 0.25
    assert phases.evaluation == 2 + 1
    assert phases.other == pytest.approx(14 - 10 - 0.25 - 0.75 - 2)
    assert phases.total == 14


@given(st.builds(RoundClock, **{name: st.floats(0, 1e6) for name in (*PARTS, "total")}))
def test_no_phase_is_ever_negative(clock: RoundClock) -> None:
    phases = clock.phases()
    assert min(getattr(phases, name) for name in type(phases).model_fields) >= 0


@pytest.mark.parametrize(
    ("seconds", "parallel", "busy"),
    [([], 2, 0), ([3], 2, 3), ([1, 2, 3], 1, 6), ([1, 2, 3], 3, 3), ([2, 2, 2], 2, 3), ([1], 0, 1)],
)
def test_sites_are_busy_for_the_longest_or_their_share(
    seconds: list[float], parallel: int, busy: float
) -> None:
    assert busy_seconds(seconds, parallel) == busy


def test_a_line_per_round_is_read_back(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in (1, 2, 3):
        history.append(record(number, sites=(ok("east"),)))
    assert read_rounds(tmp_path) == tuple(history.rounds)
    assert len((tmp_path / ROUNDS_FILE).read_text().splitlines()) == 3


def test_resuming_keeps_the_finished_rounds_only(tmp_path: Path) -> None:
    first = History(tmp_path)
    for number in (1, 2, 3):
        first.append(record(number))
    again = History(tmp_path)
    again.resume(2)
    assert [entry.round for entry in again.rounds] == [1, 2]
    again.append(record(3, total=99.0))
    assert [entry.seconds.total for entry in read_rounds(tmp_path)] == [14, 14, 99]


def test_resuming_before_the_first_round_begins_anew(tmp_path: Path) -> None:
    first = History(tmp_path)
    first.append(record(1))
    again = History(tmp_path)
    again.resume(0)
    assert again.rounds == []
    assert (tmp_path / ROUNDS_FILE).read_text() == ""


def test_sums_are_over_all_rounds(tmp_path: Path) -> None:
    history = History(tmp_path)
    for number in (1, 2):
        history.append(record(number, total=14.0 * number))
    assert history.traffic() == Traffic(up=300, down=20)
    assert history.seconds().training == 12
    assert history.seconds().total == 42
    # (42 - 12 training - 6 evaluation) / 12
    assert history.overhead_share() == pytest.approx(2.0)


def test_a_hospitals_totals_count_what_it_answered(
    project: Project, stores: dict[str, Store], tmp_path: Path
) -> None:
    history = History(tmp_path)
    late = SiteRound(name="east", status="late", reason="no answer in time")
    for number, entry in enumerate((ok("east"), late, ok("east", examples=4, seconds=1.0)), start=1):
        history.append(record(number, sites=(entry, ok("west"))))
    totals = history.site_totals(project, stores["east"], "east")
    coordinates, tensors = project.layout.num_coordinates, len(project.layout.names)
    assert (totals.examples, totals.rounds_completed, totals.seconds_training) == (12, 2, 3.0)
    assert totals.bytes_up == 2 * answer_bytes(coordinates, project.spec.objectives.names, project.profile)
    assert totals.bytes_down == 3 * instruction_bytes(coordinates, tensors)
    assert (totals.train_rows, totals.test_rows, totals.patients) == (12, 4, 10)


def test_what_secure_aggregation_hides_of_a_hospital_is_not_counted_as_nothing(
    project: Project, tmp_path: Path
) -> None:
    hidden = project.spec.model_copy(
        update={"secure_aggregation": SA1Spec(mode="sa1", min_sites=3, rare_rows="frozen")}
    )
    history = History(tmp_path)
    history.append(
        record(1, sites=(SiteRound(name="east", status="ok", examples=None, seconds_training=None),))
    )
    totals = history.site_totals(replace(project, spec=hidden), None, "east")
    assert (totals.examples, totals.seconds_training, totals.rounds_completed) == (None, None, 1)


def test_a_hospital_whose_store_the_hub_does_not_hold_has_no_rows(project: Project, tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(record(1, sites=(ok("east"),)))
    totals = history.site_totals(project, None, "east")
    assert (totals.train_rows, totals.test_rows, totals.patients) == (0, 0, 0)
    absent: Any = history.site_totals(project, None, "west")
    assert (absent.rounds_completed, absent.bytes_down) == (0, 0)
