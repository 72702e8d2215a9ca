"""Which rows a step sees: an endless shuffled stream, a function of seed and position alone.

Nothing is carried from step to step, so training resumes anywhere, and no row is seen a third time before
every row was seen twice.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from common.seeds import derive_seed


def rows_at(position: int, count: int, *, num_rows: int, seed: int, purpose: str) -> npt.NDArray[np.int64]:
    """`count` rows of the stream from `position` on.

    Args:
        position: rows drawn before, >= 0.
        count: rows wanted; may exceed `num_rows`.
        num_rows: rows to draw from, >= 1; each block of this many in the stream is a permutation of them.
        seed: the run's seed.
        purpose: names the stream, e.g. a hospital.
    """
    first, last = position // num_rows, (position + count - 1) // num_rows
    blocks = [_shuffled(num_rows, seed, purpose, epoch) for epoch in range(first, last + 1)]
    start = position - first * num_rows
    return np.concatenate(blocks)[start : start + count]


@lru_cache(maxsize=4)  # the steps of one site follow each other, and shuffling 100,000 rows takes 1 ms
def _shuffled(num_rows: int, seed: int, purpose: str, epoch: int) -> npt.NDArray[np.int64]:
    chance = np.random.Generator(np.random.PCG64(derive_seed(seed, "rows", purpose, epoch)))
    rows = chance.permutation(num_rows)
    rows.flags.writeable = False
    return rows
