"""Importing much at once, without looking for garbage in it."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import in this block what takes long, and do nothing else in it.

    What an import makes stays, but the collector looks through all of it time and again while it grows: for a
    fifth of the seconds that torch and the rest of an app take. Later collections leave alone what is there
    at the end.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()
