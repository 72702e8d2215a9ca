import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from common.data.batch import Batch, PublicPairs
from common.objectives.bank import BankContrastive, agreement_loss, bank_loss, same_rows
from common.objectives.base import Loss, Views
from common.objectives.contrastive import (
    SIGMOID_BIAS,
    GlobalContrastive,
    contrastive_loss,
    decoupled_loss,
    sigmoid_loss,
)
from common.objectives.targets import Said
from common.seeds import generator
from common.spec.objectives import BankContrastiveSpec, GlobalContrastiveSpec

UNIT_SCALE = torch.zeros(1)
NO_BIAS = torch.zeros(1)


def unit(rows: int, width: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, width, generator=generator(seed)), dim=-1)


@given(st.integers(0, 2**32), st.floats(0, 4), st.floats(-10, 0))
@settings(max_examples=20, deadline=None)
def test_the_sigmoid_loss_is_that_of_the_paper(seed: int, log_scale: float, bias: float) -> None:
    image, report = unit(5, 4, seed), unit(5, 4, seed + 1)
    # Zhai et al. 2023, algorithm 1: labels = 2 eye(n) - ones(n); l = -sum(log_sigmoid(labels * logits)) / n
    logits = image @ report.T * math.exp(log_scale) + bias
    expected = -F.logsigmoid((2 * torch.eye(5) - 1) * logits).sum() / 5
    found = sigmoid_loss(image, report, torch.tensor([log_scale]), torch.tensor([bias]), torch.eye(5))
    torch.testing.assert_close(found, expected)


def test_the_sigmoid_loss_starts_where_the_paper_starts() -> None:
    objective = GlobalContrastive(GlobalContrastiveSpec(kind="sigmoid"))
    assert objective.log_scale.exp().item() == pytest.approx(10)
    assert objective.bias.item() == SIGMOID_BIAS == -10


@pytest.mark.parametrize("pairs", [2, 7, 64])
def test_without_information_the_losses_cost_what_is_known(pairs: int) -> None:
    same = torch.ones(pairs, 1)
    eye = torch.eye(pairs)
    assert decoupled_loss(same, same, UNIT_SCALE, eye, eye.bool()).item() == pytest.approx(
        math.log(pairs - 1), abs=1e-5
    )
    # cosine 1, scale 1, bias -1: every answer is even, and costs log 2 for each of the B^2 pairs over B
    even = sigmoid_loss(same, same, UNIT_SCALE, -torch.ones(1), eye)
    assert even.item() == pytest.approx(pairs * math.log(2), rel=1e-5)


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_the_decoupled_loss_leaves_the_positive_out_of_the_denominator(seed: int) -> None:
    image, report = unit(5, 4, seed), unit(5, 4, seed + 1)
    logits = 10 * image @ report.T
    expected = 0.0
    for way in (logits, logits.T):
        for i in range(5):
            others = [way[i, j] for j in range(5) if j != i]
            expected += (torch.stack(others).logsumexp(0) - way[i, i]).item() / 10
    found = decoupled_loss(image, report, torch.tensor([math.log(10)]), torch.eye(5), torch.eye(5).bool())
    assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_pairs_without_any_negative_teach_the_decoupled_loss_nothing() -> None:
    image = unit(3, 4, 0).requires_grad_()
    loss = decoupled_loss(image, unit(3, 4, 1), UNIT_SCALE, torch.ones(3, 3), torch.ones(3, 3).bool())
    loss.backward()
    assert loss.item() == 0
    assert image.grad is not None
    assert not image.grad.any()


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_all_kinds_let_images_and_reports_change_places(seed: int) -> None:
    image, report = unit(5, 4, seed), unit(5, 4, seed + 1)
    target = (torch.randint(0, 3, (5,), generator=generator(seed, "t"))[:, None] == torch.arange(5)).float()
    target = ((target @ target.T) > 0).float() + torch.eye(5)
    for loss in (
        lambda a, b: contrastive_loss(a, b, UNIT_SCALE, target),
        lambda a, b: decoupled_loss(a, b, UNIT_SCALE, target, target > 0),
        lambda a, b: sigmoid_loss(a, b, UNIT_SCALE, NO_BIAS, target / target.sum(1, keepdim=True)),
    ):
        torch.testing.assert_close(loss(image, report), loss(report, image))


def test_a_hard_negative_counts_as_often_as_its_weight_says() -> None:
    # Rows 0 and 1 contradict each other: weight 3 is the pair written three times in the denominator.
    image, report = unit(3, 4, 1), unit(3, 4, 2)
    weights = torch.ones(3, 3)
    weights[0, 1] = weights[1, 0] = 3
    found = contrastive_loss(image, report, UNIT_SCALE, torch.eye(3), weights)
    logits = image @ report.T
    expected = 0.0
    for way in (logits, logits.T):
        for i in range(3):
            repeated = [way[i, j] for j in range(3) for _ in range(int(weights[i, j]))]
            expected += (torch.stack(repeated).logsumexp(0) - way[i, i]).item() / 6
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("public", [1, 5, 100])
def test_against_a_bank_ignorance_costs_the_log_of_all_it_is_told_from(public: int) -> None:
    same, bank = torch.ones(3, 1), torch.ones(public, 1)
    none = torch.zeros(3, public, dtype=torch.bool)
    loss = bank_loss(same, same, bank, bank, none, 0.07)
    assert loss.item() == pytest.approx(math.log(public + 1), rel=1e-5)


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_against_a_bank_the_loss_is_a_sum_over_pairs(seed: int) -> None:
    image, report, bank_image, bank_report = (unit(4, 4, seed + i) for i in range(4))
    same = torch.rand(4, 4, generator=generator(seed, "same")) < 0.2
    whole = bank_loss(image, report, bank_image, bank_report, same, 0.1)
    alone = [
        bank_loss(image[i : i + 1], report[i : i + 1], bank_image, bank_report, same[i : i + 1], 0.1)
        for i in range(4)
    ]
    torch.testing.assert_close(whole, torch.stack(alone).mean())


@given(st.integers(0, 2**32))
@settings(max_examples=15, deadline=None)
def test_agreement_with_a_bank_costs_what_the_answers_lack_of_the_target(seed: int) -> None:
    image, report, bank_image, bank_report = (unit(4, 5, seed + i) for i in range(4))
    target = torch.rand(4, 4, generator=generator(seed, "target")) * torch.tensor([1.0, 1, 0, 1])
    target = target / target.sum(dim=1, keepdim=True)
    found = agreement_loss(image, report, bank_image, bank_report, target, 0.1)
    ways = [(a @ b.T / 0.1).softmax(dim=1) for a, b in ((image, bank_report), (report, bank_image))]
    lacks = [torch.xlogy(target, target) - torch.xlogy(target, way) for way in ways]
    assert found.item() == pytest.approx(sum(lack.sum().item() for lack in lacks) / 8, rel=1e-4)
    alone = [
        agreement_loss(image[i : i + 1], report[i : i + 1], bank_image, bank_report, target[i : i + 1], 0.1)
        for i in range(4)
    ]
    torch.testing.assert_close(found, torch.stack(alone).mean(), msg="a sum over pairs")


def test_agreement_is_free_where_the_answers_are_the_target() -> None:
    asks, bank = unit(3, 5, 1), unit(4, 5, 2)
    target = (asks @ bank.T / 0.2).softmax(dim=1)
    assert agreement_loss(asks, asks, bank, bank, target, 0.2).item() == pytest.approx(0, abs=1e-5)


def agreeing(said: Said, public: Said, spec: BankContrastiveSpec) -> Loss | None:
    """The objective on pairs that say `said`, against a bank that says `public`."""
    rows, pairs = len(said.stated), len(public.stated)
    seen, known = torch.zeros(rows, dtype=torch.long), torch.ones(rows, dtype=torch.bool)
    bank = PublicPairs(
        torch.zeros(pairs, 1, 4, 4),
        torch.zeros(pairs, 2, dtype=torch.long),
        torch.ones(pairs, 2, dtype=torch.bool),
        public.stated,
        public.denied,
        public.sides,
        unit(pairs, 3, 3),
        unit(pairs, 3, 4),
    )
    batch = Batch(
        images=torch.zeros(rows, 1, 4, 4),
        has_image=known,
        tokens=torch.zeros(rows, 2, dtype=torch.long),
        token_mask=torch.ones(rows, 2, dtype=torch.bool),
        has_text=known,
        study=seen,
        findings=said.stated,
        denied=said.denied,
        sides=said.sides,
        public=bank,
    )
    views = Views(None, unit(rows, 3, 1), None, unit(rows, 3, 2), None, None, torch.zeros(0))
    return BankContrastive(spec).loss(views, batch)


def test_a_report_that_agrees_with_none_of_the_bank_teaches_nothing() -> None:
    one = torch.tensor([[True, False], [False, True]])
    said = Said(one, torch.zeros_like(one), torch.zeros(2, 2, 2, dtype=torch.bool))
    first = Said(*(each[:1] for each in said))
    for partner in ("label_cosine", "entity_overlap"):
        spec = BankContrastiveSpec(partner=partner)
        both = agreeing(said, first, spec)
        assert both is not None
        assert both.rows == 1, "the second pair's finding is not in the bank"
        assert agreeing(Said(*(each[1:] for each in said)), first, spec) is None


def test_a_temperature_of_agreement_belongs_to_agreement_alone() -> None:
    with pytest.raises(ValueError, match=r"partner_temperature needs another partner than 'own'"):
        BankContrastiveSpec(partner_temperature=0.1)


def test_public_texts_are_compared_whatever_their_padding() -> None:
    mine = torch.tensor([[2, 9, 3, 0], [2, 8, 7, 3]])
    theirs = torch.tensor([[2, 9, 3], [2, 8, 3]])
    assert same_rows(mine, theirs).tolist() == [[True, False], [False, False]]


def test_a_bias_may_start_elsewhere_and_belongs_to_the_sigmoid_alone() -> None:
    objective = GlobalContrastive(GlobalContrastiveSpec(kind="sigmoid", initial_bias=-3.0))
    assert objective.bias.item() == -3
    with pytest.raises(ValueError, match=r"initial_bias is of kind = 'sigmoid'"):
        GlobalContrastiveSpec(initial_bias=-3.0)
