"""Damaged files never make a reader raise or hang, and never cost a neighbour.

1,500 images and 600 files of reports, or FEDVLP_FUZZ_FILES of each; FEDVLP_FUZZ_SEED damages them otherwise.
"""

import os

import pytest
from fuzz import damaged_image, damaged_report, run

SEED = int(os.environ.get("FEDVLP_FUZZ_SEED", "0"))
USUAL_FILES = {"image": 1500, "report": 600}


@pytest.mark.slow
@pytest.mark.parametrize("kind", USUAL_FILES)
def test_damage_ends_in_a_value_or_a_reason_and_costs_no_neighbour(kind: str) -> None:
    tally = run(kind, files=int(os.environ.get("FEDVLP_FUZZ_FILES", USUAL_FILES[kind])), seed=SEED)
    assert tally.raised == []
    assert tally.lost_neighbours == 0
    assert sum(tally.outcomes.values()) == tally.files
    assert tally.outcomes["image" if kind == "image" else "reports"] > tally.files / 20
    assert len(tally.outcomes | tally.reports_refused) > 3


@pytest.mark.parametrize("make", [damaged_image, damaged_report])
def test_damage_is_the_same_for_the_same_seed_and_differs_by_number(make) -> None:  # type: ignore[no-untyped-def]
    files = [make(number, 7) for number in range(20)]
    assert files == [make(number, 7) for number in range(20)]
    assert len({content for _, content in files}) > 15
