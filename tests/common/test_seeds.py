import torch
from hypothesis import given
from hypothesis import strategies as st

from common.seeds import derive_seed, generator

words = st.text(st.characters(exclude_characters="/", codec="utf-8"), max_size=10)
purposes = st.lists(words | st.integers(), max_size=4)


@given(st.integers(0), purposes)
def test_a_seed_fits_63_bits_and_is_always_the_same(seed: int, purpose: list[str | int]) -> None:
    assert 0 <= derive_seed(seed, *purpose) < 2**63
    assert derive_seed(seed, *purpose) == derive_seed(seed, *purpose)


def test_the_value_is_that_of_its_definition() -> None:
    # printf '7/rows/east/0' | sha256sum: the first 16 digits, shifted right by one bit.
    assert derive_seed(7, "rows", "east", 0) == 0xE5F69A6BD587CAB3 >> 1


@given(st.integers(0), purposes, st.integers(0), purposes)
def test_other_purposes_give_other_seeds(
    seed: int, one: list[str | int], other_seed: int, other: list[str | int]
) -> None:
    same = [seed, *map(str, one)] == [other_seed, *map(str, other)]
    assert (derive_seed(seed, *one) == derive_seed(other_seed, *other)) == same


def test_a_generator_is_a_function_of_its_seed_and_leaves_the_global_one_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    assert torch.equal(torch.rand(8, generator=generator(0, "a")), torch.rand(8, generator=generator(0, "a")))
    assert not torch.equal(
        torch.rand(8, generator=generator(0, "a")), torch.rand(8, generator=generator(0, "b"))
    )
    assert torch.equal(torch.random.get_rng_state(), before)
