import os
from pathlib import Path

import pytest

from client.ingest.rejected import Reason
from client.ingest.workers import read_all

CRASH = Path("crash")


def name_or_crash(path: Path) -> str:
    if path == CRASH:
        os._exit(1)
    return path.name


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_paths(workers: int) -> None:
    paths = [Path(f"{number}") for number in range(100)]
    assert list(read_all(paths, name_or_crash, workers=workers)) == [path.name for path in paths]


def test_a_decoder_s_crash_costs_its_own_file_only() -> None:
    paths = [Path("a"), CRASH, *(Path(f"{number}") for number in range(20)), CRASH]
    expected = [Reason.DECODER_CRASHED if path == CRASH else path.name for path in paths]
    assert list(read_all(paths, name_or_crash, workers=2)) == expected


def test_nothing_to_read_yields_nothing() -> None:
    assert list(read_all([], name_or_crash, workers=2)) == []
