import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.objectives.local import attended_match, local_similarity
from common.seeds import generator


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, *shape))


def looped_similarity(seen: Tensor, read: Tensor, words: Tensor) -> Tensor:
    """GLoRIA's own loop over reports and images (Huang et al. 2021, equations 4 to 9)."""
    similarity = torch.zeros(len(seen), len(read))
    for i, regions in enumerate(seen):
        for j, report in enumerate(read):
            real = report[words[j]]
            scores = real @ regions.T
            among_words = scores.softmax(dim=0)
            among_regions = (4.0 * among_words).softmax(dim=1)
            contexts = among_regions @ regions
            cosines = F.cosine_similarity(real, contexts, dim=-1)
            similarity[i, j] = (5.0 * cosines).exp().sum().log()
    return similarity


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
@settings(max_examples=20, deadline=None)
def test_all_pairs_at_once_are_as_one_pair_after_the_other(
    seed: int, pairs: int, patches: int, length: int
) -> None:
    seen, read = random(seed, pairs, patches, 3), random(seed + 1, pairs, length, 3)
    words = torch.rand(pairs, length, generator=generator(seed, "words")) < 0.7
    words[:, 0] = True
    found = local_similarity(seen, read, words, attention_scale=4, match_scale=5)
    torch.testing.assert_close(found, looped_similarity(seen, read, words), rtol=1e-4, atol=1e-5)


def test_a_report_without_words_stays_finite() -> None:
    words = torch.tensor([[True, True], [False, False]])
    seen = random(0, 2, 3, 4).requires_grad_()
    found = local_similarity(seen, random(1, 2, 2, 4), words, attention_scale=4, match_scale=5)
    found[:, 0].sum().backward()
    assert found.isfinite().all()
    assert seen.grad is not None
    assert seen.grad.isfinite().all()


@pytest.mark.parametrize("words", [1, 3, 8])
def test_words_that_all_look_at_the_same_cost_the_log_of_their_number(words: int) -> None:
    asks = F.normalize(torch.ones(1, words, 4), dim=-1)
    patch = F.normalize(random(0, 1, 1, 4), dim=-1)
    real = torch.ones(1, words, dtype=torch.bool)
    cost = attended_match(asks, real, patch, torch.ones(1, 1, dtype=torch.bool), attend=10, match=10)
    assert cost.item() == pytest.approx(math.log(words), abs=1e-5)


def test_words_that_find_their_own_patch_cost_nothing() -> None:
    own = torch.eye(4)[None]
    real = torch.ones(1, 4, dtype=torch.bool)
    assert attended_match(own, real, own, real, attend=100, match=100).item() == pytest.approx(0, abs=1e-4)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_padding_changes_no_pair(seed: int) -> None:
    asks, answers = (F.normalize(random(seed + i, 2, 5, 4), dim=-1) for i in range(2))
    asking, answering = torch.arange(5) < 3, torch.arange(5) < 4
    padded = attended_match(asks, asking.expand(2, -1), answers, answering.expand(2, -1), attend=10, match=10)
    cut = attended_match(
        asks[:, :3],
        torch.ones(2, 3, dtype=torch.bool),
        answers[:, :4],
        torch.ones(2, 4, dtype=torch.bool),
        attend=10,
        match=10,
    )
    torch.testing.assert_close(padded, cut, rtol=1e-4, atol=1e-5)
