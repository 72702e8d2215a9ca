import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from common.errors import IntegrityError, PolicyError
from common.update import (
    CHUNK,
    FINEST_LEVELS,
    MAX_SITES,
    Layout,
    Planes,
    Profile,
    ProfileName,
    Vector,
    add_packed,
    answer_bytes,
    digest_weights,
    instruction_bytes,
    mean_update,
    pack,
    quantise,
    sum_names,
)

seeds = st.integers(0, 2**32 - 1)
WIDE = Profile.named("wide", sites=MAX_SITES)
PROFILES = st.sampled_from(["wide", "thin"])

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


def layout_of(*sizes: int) -> Layout:
    return Layout(tuple(f"t{i}" for i in range(len(sizes))), tuple((size,) for size in sizes))


def rounded(
    delta: Vector,
    clip: float = 1.0,
    *,
    profile: Profile = WIDE,
    seed: int = 0,
    site: str = "east",
    round_number: int = 1,
) -> np.ndarray:
    clips = np.array([clip], np.float32)
    quantised, _ = quantise(
        delta, clips, layout_of(len(delta)), profile, seed=seed, site=site, round_number=round_number
    )
    return quantised


def sum_of(updates: list[np.ndarray], profile: Profile = WIDE) -> Planes:
    total = profile.zeros(len(updates[0]))
    for update in updates:
        add_packed(total, pack(update, profile), profile)
    return total


def random_updates(seed: int, sites: int, coordinates: int, profile: Profile = WIDE) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    levels = profile.levels
    return list(rng.integers(-levels, levels + 1, (sites, coordinates)).astype(np.int16))


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.data())
def test_a_value_per_tensor_spreads_over_its_coordinates(sizes: list[int], data: st.DataObject) -> None:
    layout = layout_of(*sizes)
    if not layout.num_coordinates:
        return
    start = data.draw(st.integers(0, layout.num_coordinates - 1))
    part = slice(start, data.draw(st.integers(start + 1, layout.num_coordinates)))
    values = np.arange(len(sizes), dtype=np.float32)
    found = layout.spread(values, part)
    assert_array_equal(np.broadcast_to(found, part.stop - part.start), np.repeat(values, sizes)[part])


@given(st.lists(st.integers(1, CHUNK + 2), min_size=1, max_size=4), seeds, PROFILES)
@settings(max_examples=20)
def test_tensors_of_any_size_are_quantised_each_to_its_own_bound(
    sizes: list[int], seed: int, name: ProfileName
) -> None:
    """Against the definition, coordinate by coordinate: within a step of it, and without bias."""
    rng, profile = np.random.default_rng(seed), Profile.named(name, sites=4)
    layout = layout_of(*sizes)
    clips = rng.uniform(1e-3, 10, len(sizes)).astype(np.float32)
    bounds = np.repeat(clips, sizes).astype(np.float64)
    delta = (rng.uniform(-1.5, 1.5, len(bounds)) * bounds).astype(np.float32)
    quantised, clipped = quantise(delta, clips, layout, profile, seed=0, site="east", round_number=1)
    exact = np.clip(delta / bounds, -1, 1) * profile.levels
    assert np.abs(quantised - exact).max() < 1 + 1e-2
    assert clipped == np.count_nonzero(np.abs(delta) > np.repeat(clips, sizes))
    assert abs(np.mean(quantised - exact)) < 4 / math.sqrt(len(bounds))


@given(shapes, seeds)
def test_what_is_flattened_unflattens(shapes: list[tuple[int, ...]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = {f"t{i}": rng.normal(size=shape).astype(np.float32) for i, shape in enumerate(shapes)}
    layout = Layout.of(weights)
    flat = layout.flatten(weights)
    again = layout.unflatten(flat)
    assert layout.num_coordinates == len(flat) == sum(array.size for array in weights.values())
    assert list(again) == list(weights)
    for name, array in weights.items():
        assert again[name].shape == array.shape
        assert_array_equal(again[name], array)
    assert layout.digest(flat) == digest_weights(again) == digest_weights(weights)


def test_weights_of_another_model_are_refused() -> None:
    weights = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)}
    layout = Layout.of(weights)
    layout.require(weights)
    for other in (
        {"b": weights["b"], "a": weights["a"]},
        {"a": weights["a"]},
        {"a": weights["a"].T, "b": weights["b"]},
        {"a": weights["a"], "c": weights["b"]},
    ):
        with pytest.raises(IntegrityError, match="another model"):
            layout.require(other)


def test_a_digest_sees_names_shapes_order_and_every_bit() -> None:
    a, b = np.zeros(6, np.float32), np.ones(6, np.float32)
    tiny = b.copy()
    tiny[5] = np.nextafter(np.float32(1), np.float32(2))
    digests = [
        digest_weights(weights)
        for weights in (
            {"a": a, "b": b},
            {"b": b, "a": a},
            {"a": a, "c": b},
            {"a": a, "b": b.reshape(2, 3)},
            {"a": a, "b": tiny},
        )
    ]
    assert len(set(digests)) == len(digests)
    assert digest_weights({"a": a, "b": b.reshape(2, 3).T.reshape(6)}) == digests[0]


@pytest.mark.parametrize("value", [0.25, -0.75, 1000.5, 30000.25, -32766.5, 2.0**-10])
def test_rounding_is_without_bias(value: float) -> None:
    draws = 1_000_000
    found = rounded(np.full(draws, value, np.float32), float(FINEST_LEVELS))
    share = value - math.floor(value)
    assert set(np.unique(found)) == {math.floor(value), math.floor(value) + 1}
    six_sigma = 6 * math.sqrt(share * (1 - share) / draws)
    assert abs(found.mean(dtype=np.float64) - value) < six_sigma


@given(seed=seeds, clip=st.floats(1e-4, 10), share=st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_an_unclipped_coordinate_errs_by_at_most_one_step(seed: int, clip: float, share: float) -> None:
    delta = np.random.default_rng(seed).uniform(-share * clip, share * clip, 500).astype(np.float32)
    steps = delta.astype(np.float64) / np.float32(clip) * FINEST_LEVELS
    # A coordinate in float32 is itself known to 2^-9 of a step near the bound.
    assert (np.abs(rounded(delta, clip, seed=seed) - steps) <= 1 + 2**-8).all()


@pytest.mark.parametrize("whole", [-FINEST_LEVELS, -1, 0, 1, 17, FINEST_LEVELS])
def test_whole_steps_stay_as_they_are(whole: int) -> None:
    assert (rounded(np.full(1000, whole, np.float32), float(FINEST_LEVELS)) == whole).all()


def test_clipped_coordinates_are_counted_and_put_at_the_bound_of_their_tensor() -> None:
    delta = np.array([0.5, -0.6, 0.4, 7.0, -0.1], np.float32)
    clips = np.array([0.5, 0.05], np.float32)
    quantised, clipped = quantise(delta, clips, layout_of(3, 2), WIDE, seed=0, site="east", round_number=1)
    assert clipped == 3
    assert quantised[[0, 1, 3, 4]].tolist() == [FINEST_LEVELS, -FINEST_LEVELS, FINEST_LEVELS, -FINEST_LEVELS]
    assert quantised[2] == pytest.approx(0.8 * FINEST_LEVELS, abs=1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 2])
def test_an_update_that_is_not_finite_never_leaves(value: float, place: int) -> None:
    delta = np.zeros(3, np.float32)
    delta[place] = value
    with pytest.raises(PolicyError, match="not finite") as caught:
        rounded(delta)
    assert caught.value.exit_code == 4


def test_the_rounding_is_fixed_by_seed_site_and_round() -> None:
    delta = np.random.default_rng(0).uniform(-1, 1, 100).astype(np.float32)
    assert_array_equal(rounded(delta), rounded(delta))
    others = [rounded(delta, seed=1), rounded(delta, site="west"), rounded(delta, round_number=2)]
    assert all((other != rounded(delta)).any() for other in others)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    delta = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    updates = random_updates(0, 3, 1000)
    clips, layout = np.array([0.5, 2.0], np.float32), layout_of(300, 700)
    results = []
    for chunk in (CHUNK, 64):
        monkeypatch.setattr("common.update.CHUNK", chunk)
        quantised, clipped = quantise(delta, clips, layout, WIDE, seed=0, site="east", round_number=1)
        total = sum_of(updates)
        results.append(
            (quantised, clipped, total.integers(), mean_update(total, clips, layout, WIDE, weight=3.0))
        )
    for one, other in zip(*results, strict=True):
        assert_array_equal(one, other)


@given(seeds, PROFILES, st.integers(1, MAX_SITES), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_the_sum_of_packed_updates_is_the_sum_of_integers(
    seed: int, name: ProfileName, sites: int, coordinates: int
) -> None:
    profile = Profile.named(name, sites=sites)
    updates = random_updates(seed, sites, coordinates, profile)
    assert_array_equal(sum_of(updates, profile).integers(), np.sum(updates, axis=0, dtype=np.int64))


@given(PROFILES, st.integers(1, MAX_SITES), st.booleans())
@settings(max_examples=60, deadline=None)
def test_as_many_extreme_updates_as_there_are_sites_never_wrap(
    name: ProfileName, sites: int, below: bool
) -> None:
    profile = Profile.named(name, sites=sites)
    assert profile.holds(sites)
    extreme = -profile.levels if below else profile.levels
    total = sum_of([np.full(3, extreme, np.int16)] * sites, profile)
    assert total.integers().tolist() == [extreme * sites] * 3


def test_steps_are_as_fine_as_the_sites_allow() -> None:
    assert Profile.named("wide", sites=1) == Profile.named("wide", sites=MAX_SITES) == Profile(24, 32767)
    assert [Profile.named("thin", sites=n).levels for n in (1, 3, 10, 100)] == [32767, 10922, 3276, 327]
    assert not Profile(24, 32767).holds(MAX_SITES + 1)
    assert not Profile(16, 3277).holds(10)


def test_every_integer_of_16_bits_survives_packing() -> None:
    every = np.arange(-(2**15), 2**15).astype(np.int16)
    planes = pack(every, WIDE)
    assert planes.nbytes == 3 * len(every)
    assert planes.fit(WIDE, len(every))
    assert_array_equal(sum_of([every]).integers(), every)


@given(seeds, PROFILES, st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=40, deadline=None)
def test_words_that_are_added_are_in_the_sum(seed: int, name: ProfileName, begin: int, size: int) -> None:
    profile, part = Profile.named(name, sites=3), slice(begin, begin + size)
    planes = pack(random_updates(seed, 1, 20, profile)[0], profile)
    expected = planes.integers().astype(np.int64)
    words = np.random.default_rng(seed).integers(0, 2**32, len(expected[part])).astype(np.uint32)
    expected[part] += words
    half = 2 ** (profile.word_bits - 1)
    planes.add_words(part, words if planes.high is not None else words.astype(np.uint16))
    assert_array_equal(planes.integers(), (expected + half) % (2 * half) - half)


@given(seeds, st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_the_sum_does_not_depend_on_the_order_of_answers(seed: int, random: object) -> None:
    updates = random_updates(seed, 9, 20)
    mixed = updates.copy()
    random.shuffle(mixed)  # type: ignore[attr-defined]  # hypothesis types it as object
    assert_array_equal(sum_of(mixed).integers(), sum_of(updates).integers())


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (np.zeros(3, np.uint16), np.zeros(4, np.uint8)),
        (np.zeros(4, np.uint16), np.zeros(3, np.uint8)),
        (np.zeros(5, np.uint16), np.zeros(5, np.uint8)),
        (np.zeros(4, np.int16), np.zeros(4, np.uint8)),
        (np.zeros(4, np.uint16), np.zeros(4, np.uint16)),
        (np.zeros((4, 1), np.uint16), np.zeros((4, 1), np.uint8)),
        (np.zeros(1, np.uint16), np.zeros(1, np.uint8)),
        (np.zeros(4, np.uint16), None),
    ],
)
def test_planes_that_do_not_fit_are_refused_and_the_total_is_untouched(
    low: np.ndarray, high: np.ndarray | None
) -> None:
    total = pack(np.arange(4, dtype=np.int16), WIDE)
    with pytest.raises(IntegrityError, match="another length or type"):
        add_packed(total, Planes(low + 1, None if high is None else high + 1), WIDE)
    assert total.integers().tolist() == [0, 1, 2, 3]


@given(seeds, PROFILES, st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_the_mean_update_is_the_weighted_mean_within_a_step(seed: int, name: ProfileName, sites: int) -> None:
    rng, profile = np.random.default_rng(seed), Profile.named(name, sites=sites)
    layout, clips = layout_of(7, 5), np.array([0.5, 0.01], np.float32)
    bound = np.repeat(clips, layout.sizes)
    deltas = rng.uniform(-1, 1, (sites, 12)).astype(np.float32) * bound
    shares = rng.uniform(0.1, 1, sites).astype(np.float32)
    updates = [
        quantise(share * delta, clips, layout, profile, seed=0, site=str(site), round_number=1)[0]
        for site, (share, delta) in enumerate(zip(shares, deltas, strict=True))
    ]
    mean = mean_update(sum_of(updates, profile), clips, layout, profile, weight=float(shares.sum()))
    step = bound / profile.levels * sites / shares.sum()
    assert mean.dtype == np.float32
    assert (np.abs(mean - np.average(deltas, axis=0, weights=shares)) <= step * 1.01).all()


def test_a_known_mean() -> None:
    total = sum_of([np.array([32767, -32767, 0], np.int16), np.array([32767, 0, 0], np.int16)])
    mean = mean_update(total, np.array([0.5], np.float32), layout_of(3), WIDE, weight=2.0)
    assert_allclose(mean, [0.5, -0.25, 0], rtol=1e-6)


def test_the_names_of_the_sums_and_the_bytes_of_both_ways() -> None:
    names = sum_names(["masked_image"])
    assert names[:6] == (
        "weight",
        "examples",
        "steps",
        "clipped",
        "training_microseconds",
        "validation_microseconds",
    )
    assert [name for name in names if "/" in name] == [
        "training/masked_image/rows",
        "training/masked_image/loss",
        "validation/masked_image/rows",
        "validation/masked_image/loss",
    ]
    assert answer_bytes(1000, ["masked_image"], WIDE) == 3000 + 80
    assert answer_bytes(1000, ["masked_image"], Profile.named("thin", sites=9)) == 2000 + 80
    assert instruction_bytes(1000, 7) == 4028
