import resource
from pathlib import Path

import pytest

from common.large_pages import SHORTEST, joined

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")


@pytest.mark.parametrize("size", [0, 1, SHORTEST - 1, SHORTEST, 3 * SHORTEST + 5])
def test_bytes_on_large_pages_are_the_bytes(size: int) -> None:
    head, tail = b"head", bytes(range(256)) * (size // 256 + 1)
    assert joined([head, memoryview(tail)[:size], b""]) == head + tail[:size]


@pytest.mark.skipif(
    not SWITCH.exists() or "[never]" in SWITCH.read_text(), reason="this system gives no large pages"
)
def test_long_bytes_take_few_page_faults() -> None:
    content = b"x" * (8 * SHORTEST)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = joined([content])
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert faults < len(held) / resource.getpagesize() / 4
