import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from quality_samples import chest

from client.ingest.quality.fingerprints import (
    BITS,
    RADIUS,
    distance,
    fingerprints,
    hashes,
    inverted,
    near_pairs,
    turned,
    upside_down,
)

SIZES = st.sampled_from([16, 20, 32])
CHESTS = np.stack([chest(number) for number in range(24)])
WORDS = arrays(np.uint64, st.integers(0, 40), elements=st.integers(0, 2**64 - 1))


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """(3, S, S) noise over something smooth, never of one grey."""
    size, seed = draw(SIZES), draw(st.integers(0, 2**32 - 1))
    chance = np.random.default_rng(seed)
    return chance.integers(0, 256, (3, size, size), dtype=np.uint8)


@given(pictures())
def test_to_invert_to_turn_and_to_mirror_an_image_is_to_do_so_to_its_fingerprint(images: np.ndarray) -> None:
    prints = fingerprints(images)
    assert_allclose(fingerprints(255 - images), inverted(prints), atol=1e-5)
    assert_allclose(fingerprints(images[:, ::-1]), upside_down(prints), atol=1e-5)
    for quarters in range(5):
        assert_allclose(
            fingerprints(np.rot90(images, quarters, axes=(1, 2))),
            turned(prints, quarters=quarters),
            atol=1e-5,
        )


@given(pictures(), st.floats(0.3, 1), st.floats(0, 70))
def test_brightness_and_contrast_leave_a_fingerprint_as_it_is(
    images: np.ndarray, contrast: float, brightness: float
) -> None:
    changed = np.rint(images * contrast * 0.7 + brightness).astype(np.uint8)
    likeness = (fingerprints(images) * fingerprints(changed)).sum(axis=1)
    assert (likeness > 0.999).all()


@given(pictures())
def test_a_fingerprint_has_the_length_one_and_its_numbers_do_not_depend_on_its_neighbours(
    images: np.ndarray,
) -> None:
    prints = fingerprints(images)
    assert_allclose(np.linalg.norm(prints, axis=1), 1, atol=1e-5)
    assert_allclose(fingerprints(images[1:2]), prints[1:2], atol=1e-6)


def test_one_grey_has_no_fingerprint() -> None:
    assert not fingerprints(np.full((2, 32, 32), 200, np.uint8)).any()


@given(WORDS, WORDS)
def test_distance_is_symmetric_and_counts_bits(one: np.ndarray, other: np.ndarray) -> None:
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    assert_array_equal(distance(one, other), distance(other, one))
    assert_array_equal(distance(one, one), 0)
    assert_array_equal(distance(one, ~one), BITS)
    counted = [(int(a) ^ int(b)).bit_count() for a, b in zip(one, other, strict=True)]
    assert_array_equal(distance(one, other), counted)


@given(
    st.integers(0, 2**64 - 1),
    st.lists(st.sets(st.integers(0, 63), max_size=12), max_size=20),
    st.integers(0, RADIUS),
)
def test_every_near_pair_is_found_and_no_other(start: int, changes: list[set[int]], radius: int) -> None:
    found = np.array([start ^ sum(1 << bit for bit in change) for change in changes], np.uint64)
    expected = [
        (one, other)
        for one in range(len(found))
        for other in range(one + 1, len(found))
        if (int(found[one]) ^ int(found[other])).bit_count() <= radius
    ]
    assert near_pairs(found, radius=radius).tolist() == [list(pair) for pair in expected]


def test_a_long_run_of_one_hash_is_linked_without_all_its_pairs() -> None:
    pairs = near_pairs(np.zeros(3000, np.uint64), radius=RADIUS)
    assert len(pairs) < 3000 * 100
    assert set(range(2999)) <= set(pairs[pairs[:, 1] - pairs[:, 0] == 1, 0].tolist())


def _jpeg(image: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=50)
    return np.asarray(Image.open(stream))


def _resized(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((48, 48)).resize((64, 64)))


@pytest.mark.parametrize(
    "change",
    [_jpeg, _resized, lambda image: np.rint(255 * (image / 255) ** 0.8).astype(np.uint8)],
    ids=["jpeg", "resized", "gamma"],
)
def test_another_export_of_a_picture_is_nearer_than_any_other_person(change: object) -> None:
    assert callable(change)
    prints = fingerprints(CHESTS)
    copies = fingerprints(np.stack([change(image) for image in CHESTS]))
    likeness = prints @ copies.T
    own = np.diag(likeness).copy()
    np.fill_diagonal(likeness, -1)
    assert own.min() > 0.99 > likeness.max()
    assert (distance(hashes(prints), hashes(copies)) <= RADIUS).all()
