"""Counts as the commands tell them."""

from collections.abc import Mapping


def listed(counts: Mapping[str, int]) -> str:
    """`CT 12, MR 3`; none where there is nothing."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def count(number: int, noun: str) -> str:
    """`1 file`, `1,200 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
