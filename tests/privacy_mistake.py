"""A known mistake in private training, put into the shipped code, and the alarm that must notice it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import pytest

from simulations.attacks.privacy.finding import Finding

ROWS = range(1, 29)
"""Of the list of known mistakes in the notes on privacy."""

Scene = TypeVar("Scene")


@dataclass(frozen=True)
class Mutant(Generic[Scene]):
    """One way to make the mistake of a row."""

    row: int
    name: str
    break_: Callable[[pytest.MonkeyPatch], None]
    alarms: Callable[[Scene], bool]
    """Whether something is wrong with the code as it is now."""

    def __str__(self) -> str:
        return f"{self.row}: {self.name}"


def bad(findings: Iterable[Finding]) -> bool:
    """Whether a check that the shipped code passes has failed."""
    return any(each.kind == "check" and not each.as_expected for each in findings)
