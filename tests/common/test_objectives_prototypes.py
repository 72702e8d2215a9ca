import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.objectives.prototypes import sinkhorn
from common.seeds import generator


@given(st.integers(0, 2**32), st.integers(2, 40), st.integers(2, 12))
@settings(max_examples=25, deadline=None)
def test_each_row_shares_one_among_the_prototypes(seed: int, rows: int, prototypes: int) -> None:
    scores = torch.rand(rows, prototypes, generator=generator(seed)) * 2 - 1
    shares = sinkhorn(scores, 0.05, 3)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(rows))


def test_prototypes_are_chosen_equally_often_after_balancing() -> None:
    scores = torch.rand(64, 8, generator=generator(0)) * 0.4
    shares = sinkhorn(scores, 0.05, 3)
    assert (shares.sum(dim=0) / 8 - 1).abs().max().item() < 0.05
    balanced = sinkhorn(scores, 0.05, 60)
    assert (balanced.sum(dim=0) / 8 - 1).abs().max().item() < 1e-3


@pytest.mark.parametrize("epsilon", [0.005, 0.05, 5.0])
def test_the_largest_scores_do_not_overflow(epsilon: float) -> None:
    assert sinkhorn(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]), epsilon, 3).isfinite().all()


def test_indifferent_rows_share_evenly() -> None:
    torch.testing.assert_close(sinkhorn(torch.zeros(6, 3), 0.05, 3), torch.full((6, 3), 1 / 3))
