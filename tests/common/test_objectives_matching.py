from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_spec

from common.data.batch import Batch
from common.objectives.matching import draw_false, may_be_false
from common.seeds import generator


def batch_of(texts: list[int], studies: list[int], stated: list[int]) -> Batch:
    rows = len(texts)
    yes = torch.ones(rows, dtype=torch.bool)
    return Batch(
        images=torch.zeros(rows, 1, 4, 4),
        has_image=yes,
        tokens=torch.tensor([[2, 10 + text, 3] for text in texts]),
        token_mask=torch.ones(rows, 3, dtype=torch.bool),
        has_text=yes,
        study=torch.tensor(studies),
        findings=torch.nn.functional.one_hot(torch.tensor(stated), 4).bool(),
        denied=torch.zeros(rows, 4, dtype=torch.bool),
        sides=torch.zeros(rows, 4, 2, dtype=torch.bool),
    )


rows = st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=2, max_size=10)


@given(rows, st.integers(0, 2**32))
@settings(deadline=None)
def test_no_positive_is_ever_drawn(pairs: list[tuple[int, int, int]], seed: int) -> None:
    texts, studies, stated = (list(column) for column in zip(*pairs, strict=True))
    false = may_be_false(batch_of(texts, studies, stated), torch.arange(len(pairs)))
    chance = generator(seed)
    likely = 50 * torch.randn(len(pairs), len(pairs), generator=chance)
    for lot in (torch.rand(len(pairs), generator=chance), torch.zeros(len(pairs)), torch.ones(len(pairs))):
        drawn = draw_false(likely, false, lot)
        for i, j in enumerate(drawn.tolist()):
            if false[i].any():
                assert i != j
                assert texts[i] != texts[j]
                assert studies[i] != studies[j]
                assert stated[i] != stated[j]


def test_the_same_finding_on_the_other_side_is_another_finding() -> None:
    both, left, right, nowhere = (True, True), (True, False), (False, True), (False, False)
    sides = torch.tensor([left, right, both, nowhere, left])
    batch = replace(batch_of([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [1] * 5), sides=sides[:, None].expand(5, 4, 2))
    false = may_be_false(batch, torch.arange(5))
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[1, 4] = expected[4, 1] = True
    assert false.equal(expected)


def test_false_partners_are_drawn_as_often_as_they_look_right() -> None:
    likely = torch.tensor([[9.0, 1, 0, 2]]).expand(20000, -1)
    false = torch.tensor([[False, True, True, True]]).expand(20000, -1)
    drawn = draw_false(likely, false, torch.rand(20000, generator=generator(0)))
    share = torch.bincount(drawn, minlength=4) / 20000
    expected = torch.tensor([1.0, 0, 2]).softmax(dim=0)
    assert share[0] == 0
    torch.testing.assert_close(share[1:], expected, atol=0.015, rtol=0)


def test_a_spec_without_fusion_cannot_match() -> None:
    with pytest.raises(Exception, match=r"objectives.image_text_matching needs fusion"):
        tiny_spec(objectives={"image_text_matching": {}})
