from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from common.imaging.geometry import (
    REDUCING_GAP,
    Extent,
    Turn,
    fitted_shape,
    spare_resolution,
    square_resize,
)
from common.imaging.intensity import (
    WindowFunction,
    invert,
    is_window,
    look_up,
    luminance,
    percentile_ends,
    quantise,
    stretch,
    window,
)

greys = arrays(
    np.float32,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    elements=st.floats(0, 1, width=32),
)
functions = st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"])
hounsfield = st.floats(-2000, 3000)


@given(hounsfield, st.floats(2, 4000), functions, st.lists(hounsfield, min_size=2, max_size=20))
def test_a_window_is_monotone_and_stays_between_black_and_white(
    center: float, width: float, function: WindowFunction, values: list[float]
) -> None:
    grey = window(np.array([sorted(values)]), center=center, width=width, function=function)
    assert (np.diff(grey) >= 0).all()
    assert grey.min() >= 0
    assert grey.max() <= 1


@pytest.mark.parametrize(
    ("function", "values", "expected"),
    [
        # PS3.3 C.11.2.1.2.1, note 2: c=2048, w=4096 maps 0 to black and 4095 to white.
        ("LINEAR", [-1, 0, 4095, 5000], [0, 0, 1, 1]),
        ("LINEAR_EXACT", [0, 1024, 2048, 4096], [0, 0.25, 0.5, 1]),
        ("SIGMOID", [2048, 4096], [0.5, 1 / (1 + np.exp(-2))]),
    ],
)
def test_windows_take_the_standard_s_values(
    function: WindowFunction, values: list[int], expected: list[float]
) -> None:
    assert_allclose(window(np.array([values]), center=2048, width=4096, function=function)[0], expected)


def test_the_narrowest_linear_window_is_a_threshold() -> None:
    # PS3.3 C.11.2.1.2.1, note 2: c=0, w=1 maps everything below 0 to black and the rest to white.
    assert window(np.array([[-1, 0, 1]]), center=0, width=1).tolist() == [[0, 1, 1]]


def test_impossible_widths_are_no_windows() -> None:
    assert is_window(width=1, function="LINEAR")
    assert is_window(width=0.5, function="LINEAR_EXACT")
    assert not is_window(width=0.5, function="LINEAR")
    assert not is_window(width=0, function="SIGMOID")
    assert not is_window(width=float("inf"), function="LINEAR")


def test_percentiles_ignore_the_rare_extremes() -> None:
    values = np.arange(10_000.0).reshape(100, 100)
    values[0, 0], values[0, 1], values[0, 2] = -1e9, 1e9, np.nan
    assert_allclose(percentile_ends(values), (50, 9950), atol=2)


def test_percentiles_of_a_large_image_are_those_of_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(400, 400))
    exact = percentile_ends(values)
    monkeypatch.setattr("common.imaging.intensity.MAX_SAMPLES", 40_000)
    assert_allclose(percentile_ends(values), exact, atol=0.1)
    assert_allclose(percentile_ends(values.ravel()), exact, atol=0.1)


def test_percentiles_are_those_of_what_the_values_mean() -> None:
    values = np.arange(101).reshape(1, 101)
    assert_allclose(percentile_ends(values, lambda some: 1000.0 - 2 * some), (801, 999))


@given(st.floats(-1e6, 1e6), st.integers(1, 5))
def test_an_image_of_one_value_is_black(value: float, side: int) -> None:
    black, white = percentile_ends(np.full((side, side), value))
    assert_array_equal(stretch(np.full((side, side), value), black=black, white=white), 0)


def test_stretching_is_straight_between_its_ends() -> None:
    assert_allclose(stretch(np.array([[-5, 0, 5, 10, 20]]), black=0, white=10), [[0, 0, 0.5, 1, 1]])


@given(greys)
def test_inverting_twice_changes_nothing(grey: np.ndarray) -> None:
    assert_allclose(invert(invert(grey)), grey, atol=1e-6)


@given(greys)
def test_quantising_is_off_by_half_a_step_at_most(grey: np.ndarray) -> None:
    assert np.abs(quantise(grey) / 255 - grey).max() <= 0.5 / 255 + 1e-6


def test_values_outside_a_table_take_its_ends() -> None:
    seen = look_up(np.array([[-50, -1, 0, 1, 99]]), table=np.array([10, 20, 30]), first=-1)
    assert seen.tolist() == [[10, 10, 20, 30, 30]]


@pytest.mark.parametrize(("bits", "white"), [(1, 1), (8, 255), (12, 4095), (16, 65535)])
def test_white_has_the_luminance_of_white(bits: int, white: int) -> None:
    assert_array_equal(luminance(np.full((2, 2, 3), white, np.uint16), bits=bits), 255)


def test_colours_have_the_luminance_of_the_television_s_standard() -> None:
    assert_array_equal(luminance(255 * np.eye(3, dtype=np.uint8)[None], bits=8), [[76, 150, 29]])


pictures = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)))
turns = st.builds(Turn, st.booleans(), st.booleans(), st.booleans())


@given(pictures, st.integers(16, 64))
def test_a_square_is_the_size_asked_for(grey: np.ndarray, size: int) -> None:
    square = square_resize(grey, size)
    assert square.shape == (size, size)
    assert square.dtype == np.uint8


@given(st.integers(1, 60), st.integers(1, 60), st.integers(16, 64), st.sampled_from([0.5, 1.0, 3.0]))
def test_the_proportions_stay_and_the_rest_is_black(
    height: int, width: int, size: int, aspect: float
) -> None:
    square = square_resize(np.full((height, width), 255, np.uint8), size, pixel_aspect=aspect)
    rows, columns = (square > 127).any(1).sum(), (square > 127).any(0).sum()
    assert max(rows, columns) == size
    scale = size / max(height * aspect, width)
    assert rows == max(1, round(height * aspect * scale))
    assert columns == max(1, round(width * scale))
    assert_array_equal(square[square > 0], 255)
    top, left = np.argwhere(square > 127).min(0)
    assert abs(2 * top + rows - size) <= 1
    assert abs(2 * left + columns - size) <= 1


def test_a_fine_pattern_becomes_its_mean() -> None:
    checks = (255 * (np.indices((256, 256)).sum(0) % 2)).astype(np.uint8)
    assert_allclose(square_resize(checks, 32)[2:-2, 2:-2], 127.5, atol=3)


def test_an_image_that_fits_is_left_alone() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    assert_array_equal(square_resize(grey, 32), grey)


def test_there_are_eight_turns_and_each_is_another() -> None:
    phantom = np.arange(6, dtype=np.uint8).reshape(2, 3)
    seen = {
        turned.tobytes() + bytes(turned.shape)
        for transpose, columns, rows in product((False, True), repeat=3)
        if (turned := Turn(transpose, columns, rows)(phantom)).size
    }
    assert len(seen) == 8


@given(turns, pictures)
def test_a_turn_moves_pixels_and_changes_none(turn: Turn, grey: np.ndarray) -> None:
    assert_array_equal(np.sort(turn(grey), axis=None), np.sort(grey, axis=None))
    assert turn(grey).shape == (grey.shape[::-1] if turn.transpose else grey.shape)


@given(turns, pictures, st.data())
def test_an_extent_turns_with_its_picture(turn: Turn, grey: np.ndarray, data: st.DataObject) -> None:
    top, left = (data.draw(st.integers(0, side - 1)) for side in grey.shape)
    bottom, right = (
        data.draw(st.integers(start + 1, side)) for start, side in zip((top, left), grey.shape, strict=True)
    )
    turned = turn.extent(Extent(top, bottom, left, right), grey.shape)
    cut = turn(grey)[int(turned.top) : int(turned.bottom), int(turned.left) : int(turned.right)]
    assert_array_equal(cut, turn(grey[top:bottom, left:right]))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(16, 64), st.sampled_from([0.5, 1.0, 3.0]))
def test_without_its_spare_resolution_an_image_has_what_averaging_leaves(
    height: int, width: int, size: int, aspect: float
) -> None:
    spare = spare_resolution((height, width), size, pixel_aspect=aspect)
    rows, columns = fitted_shape((height, width), size, pixel_aspect=aspect)
    left = height / spare / rows, width / spare / columns
    assert min(left) == pytest.approx(REDUCING_GAP)


def test_an_extent_leaves_out_what_lies_beside_the_picture() -> None:
    grey = np.zeros((48, 48), np.uint8)
    grey[8:40, 16:32] = 200
    square = square_resize(grey, 16, extent=Extent(8, 40, 16, 32))
    assert_array_equal(square[:, 4:12] > 150, np.ones((16, 8), bool))
    assert_array_equal(square[:, :4], 0)
