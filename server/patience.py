"""When to try again what another process did not do: later every time, and said once."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_SECONDS, LAST_SECONDS = 1.0, 60.0
"""The wait after the first failure, doubled after each, and the longest."""


@dataclass
class Patience:
    """With any number of things, each by its name."""

    clock: Callable[[], float] = time.monotonic
    _waits: dict[str, tuple[float, float]] = field(default_factory=dict, init=False)
    """Name -> the last wait in seconds, and when it is over."""

    def may_try(self, about: str) -> bool:
        """Whether the wait for it is over; there is none for what never failed."""
        return about not in self._waits or self.clock() >= self._waits[about][1]

    def failed(self, about: str) -> bool:
        """Wait, longer than the last time; whether this is the first failure, to be said."""
        first = about not in self._waits
        seconds = FIRST_SECONDS if first else min(2 * self._waits[about][0], LAST_SECONDS)
        self._waits[about] = (seconds, self.clock() + seconds)
        return first

    def succeeded(self, about: str) -> bool:
        """Wait no more; whether it had failed before, so that it is worth a word."""
        return self._waits.pop(about, None) is not None
