"""Reports are worked off by several processes as by one: the same answers, in order, few at a time."""

import os
from collections.abc import Iterator

import pytest

from client.ingest.scrubbers import AHEAD, TOGETHER, in_order
from common.errors import ConfigurationError


def doubled(number: int) -> int:
    return 2 * number


def fatal(number: int) -> int:
    if number == 130:
        os._exit(1)
    return number


def failing(number: int) -> int:
    raise ValueError(f"no {number}")


@pytest.mark.parametrize("asked", [0, 1, 5, 700])
@pytest.mark.parametrize(("workers", "alone"), [(1, 2), (2, 3)])
def test_answers_come_in_order_whoever_gives_them(asked: int, workers: int, alone: int) -> None:
    found = list(in_order(doubled, range(asked), workers=workers, alone=alone))
    assert found == [2 * number for number in range(asked)]


def test_no_more_is_read_ahead_than_processes_need() -> None:
    read = 0

    def asked() -> Iterator[int]:
        nonlocal read
        for number in range(5000):
            read = number + 1
            yield number

    furthest = 0
    for given, _ in enumerate(in_order(doubled, asked(), workers=2, alone=0), start=1):
        furthest = max(furthest, read - given)
    assert furthest <= (2 * AHEAD + 1) * TOGETHER


def test_a_process_that_ends_is_told_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match="fewer --workers"):
        list(in_order(fatal, range(500), workers=2, alone=0))


def test_what_work_raises_comes_through() -> None:
    with pytest.raises(ValueError, match="no 0"):
        list(in_order(failing, range(10), workers=2, alone=0))
