"""How a service learns that it is to end."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_asked() -> Iterator[threading.Event]:
    """An event that is set once this process is asked to end (SIGTERM, SIGINT), which then does not kill it.

    Enter it in the main thread; what the signals did before is put back at the end.
    """
    asked = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: asked.set()) for number in numbers]
    try:
        yield asked
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
