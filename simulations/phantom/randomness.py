"""One seed, and from it an independent stream of chance for every use that is named."""

import hashlib

import numpy as np


def digest(seed: int, *purpose: str | int) -> bytes:
    """32 bytes for `purpose`, e.g. ("lakeside", "patient", 7); another purpose gives unrelated bytes."""
    return hashlib.sha256("/".join(str(part) for part in (seed, *purpose)).encode()).digest()


def stream(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator seeded by `digest`; workers need no order among themselves.

    Kept apart from the seeds of training, whose module loads torch: a worker here starts in half a second.
    """
    return np.random.default_rng(int.from_bytes(digest(seed, *purpose), "big"))
