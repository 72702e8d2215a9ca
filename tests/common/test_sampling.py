import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common.data.sampling import rows_at

sizes, seeds, positions = st.integers(1, 40), st.integers(0, 2**32), st.integers(0, 200)


@given(num_rows=sizes, seed=seeds, block=st.integers(0, 50))
def test_every_block_is_a_permutation_of_the_rows(num_rows: int, seed: int, block: int) -> None:
    rows = rows_at(block * num_rows, num_rows, num_rows=num_rows, seed=seed, purpose="east")
    assert_array_equal(np.sort(rows), np.arange(num_rows))


@given(num_rows=sizes, seed=seeds, position=positions, count=st.integers(1, 90))
def test_a_slice_is_that_of_the_whole_stream(num_rows: int, seed: int, position: int, count: int) -> None:
    whole = rows_at(0, position + count, num_rows=num_rows, seed=seed, purpose="east")
    assert_array_equal(
        rows_at(position, count, num_rows=num_rows, seed=seed, purpose="east"), whole[position:]
    )


@given(num_rows=sizes, seed=seeds, count=st.integers(1, 200))
def test_no_row_is_seen_a_third_time_before_every_row_was_seen_twice(
    num_rows: int, seed: int, count: int
) -> None:
    rows = rows_at(0, count, num_rows=num_rows, seed=seed, purpose="east")
    seen = np.bincount(rows, minlength=num_rows)
    assert seen.max() - seen.min() <= 1


def test_hospitals_seeds_and_blocks_have_orders_of_their_own() -> None:
    orders = [
        rows_at(block * 20, 20, num_rows=20, seed=seed, purpose=site).tolist()
        for block in (0, 1)
        for seed in (0, 1)
        for site in ("east", "west")
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_the_first_place_is_uniform() -> None:
    rows, draws = 8, 4000
    first = [int(rows_at(0, 1, num_rows=rows, seed=seed, purpose="east")[0]) for seed in range(draws)]
    expected, spread = draws / rows, np.sqrt(draws / rows * (1 - 1 / rows))
    assert (np.abs(np.bincount(first, minlength=rows) - expected) < 6 * spread).all()
