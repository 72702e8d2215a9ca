import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from common.objectives.targets import (
    Said,
    entity_overlap,
    label_cosine,
    mix_targets,
    opposed,
    report_similarity,
    same_findings,
    same_study,
    same_text,
)
from common.seeds import generator

STATED = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.bool)
DENIED = torch.tensor([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
SAID = Said(STATED, DENIED, torch.zeros(4, 3, 2, dtype=torch.bool))
LEFT, RIGHT, BOTH, NEITHER = (True, False), (False, True), (True, True), (False, False)


def random_batch(seed: int, rows: int = 6) -> Said:
    chance = generator(seed)
    stated = torch.rand(rows, 5, generator=chance) < 0.3
    denied = (torch.rand(rows, 5, generator=chance) < 0.3) & ~stated
    sides = torch.rand(rows, 5, 2, generator=chance) < 0.5
    return Said(stated, denied, sides & (stated | denied)[..., None])


@given(st.integers(0, 2**32))
def test_reports_are_compared_with_others_as_within_one_batch(seed: int) -> None:
    said = random_batch(seed)
    ours, theirs = (Said(*(each[part] for each in said)) for part in (slice(2), slice(2, None)))
    for compare in (entity_overlap, label_cosine):
        torch.testing.assert_close(compare(ours, theirs), compare(said, said)[:2, 2:])


def test_labels_are_compared_by_what_is_stated_and_what_is_denied() -> None:
    cosine = label_cosine(SAID, SAID)
    half = 2**-0.5
    expected = [[1, half, -1, 0], [half, 1, -half, 0], [-1, -half, 1, 0], [0, 0, 0, 0]]
    torch.testing.assert_close(cosine, torch.tensor(expected))


def test_reports_are_opposed_where_one_states_what_the_other_denies() -> None:
    expected = [[0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert opposed(SAID).int().tolist() == expected


def one_finding(*places: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """A report per place, all of the same finding."""
    return torch.ones(len(places), 1, dtype=torch.bool), torch.tensor(places)[:, None]


def test_a_finding_on_the_left_is_not_that_on_the_right() -> None:
    finding, sides = one_finding(LEFT, RIGHT, BOTH, NEITHER, LEFT)
    expected = torch.ones(5, 5)
    expected[0, 1] = expected[1, 0] = expected[1, 4] = expected[4, 1] = 0
    stated, denied = Said(finding, ~finding, sides), Said(~finding, finding, sides)
    assert label_cosine(stated, stated).equal(expected)
    assert label_cosine(denied, denied).equal(expected), "denied on the left, and on the right"
    assert same_findings(stated).equal(expected.bool())


def test_a_finding_on_the_other_side_overlaps_by_what_it_is_and_not_by_where() -> None:
    finding, sides = one_finding(LEFT, RIGHT, BOTH, NEITHER, LEFT)
    expected = torch.ones(5, 5)
    expected[0, 1] = expected[1, 0] = expected[1, 4] = expected[4, 1] = 1 / 3
    said = Said(finding, ~finding, sides)
    torch.testing.assert_close(entity_overlap(said, said), expected)


def test_what_is_denied_on_the_other_side_is_no_contradiction() -> None:
    finding, sides = one_finding(LEFT, LEFT, RIGHT, NEITHER)
    stated = torch.tensor([[True], [False], [False], [False]])
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[0, 1] = expected[1, 0] = expected[0, 3] = expected[3, 0] = True
    assert opposed(Said(stated, finding & ~stated, sides)).equal(expected)


def test_other_findings_are_shared_whatever_the_side_of_one() -> None:
    stated = torch.ones(2, 3, dtype=torch.bool)
    sides = torch.tensor([[LEFT, NEITHER, LEFT], [RIGHT, NEITHER, LEFT]])
    said = Said(stated, ~stated, sides)
    assert entity_overlap(said, said)[0, 1].item() == pytest.approx(2.5 / 3.5)
    assert label_cosine(said, said)[0, 1].item() == pytest.approx(2 / 3)
    assert not same_findings(said)[0, 1]


def test_reports_that_state_nothing_state_the_same() -> None:
    same = same_findings(SAID)
    assert same.int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


def test_reports_of_the_same_words_are_alike_and_of_other_words_are_not() -> None:
    words = torch.tensor([[3.0, 4, 0], [6, 8, 0], [0, 0, 5], [0, 0, 0]])
    alike = report_similarity(words)
    torch.testing.assert_close(alike[0], torch.tensor([1.0, 1, 0, 0]))
    assert alike[3].tolist() == [0, 0, 0, 0]


@given(st.integers(0, 2**32), st.floats(0, 1), st.sampled_from([None, 0.05, 0.3, 2.0]))
def test_targets_are_shares_of_one_however_they_are_mixed(
    seed: int, share: float, temperature: float | None
) -> None:
    said = random_batch(seed)
    own = (same_study(torch.randint(0, 3, (6,), generator=generator(seed, "study")))).float()
    for alike in (entity_overlap(said, said), label_cosine(said, said)):
        mixed = mix_targets(own, alike, share, temperature)
        torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6))
        assert (mixed >= 0).all()


@given(st.integers(0, 2**32))
def test_a_target_does_not_depend_on_the_order_of_the_rows(seed: int) -> None:
    said = random_batch(seed)
    order = torch.randperm(6, generator=generator(seed, "order"))
    moved = Said(*(each[order] for each in said))
    for temperature in (None, 0.1):
        mixed = mix_targets(torch.eye(6), label_cosine(said, said), 0.5, temperature)
        again = mix_targets(torch.eye(6), label_cosine(moved, moved), 0.5, temperature)
        torch.testing.assert_close(again, mixed[order][:, order])


def test_the_softmax_is_known_in_closed_form_and_does_not_fade_with_the_batch() -> None:
    # MedCLIP's own targets (a raw dot product) give the match 10 % of a batch of 64; see the paper's code.
    for rows in (16, 64, 256):
        alike = torch.eye(rows)
        mixed = mix_targets(torch.eye(rows), alike, 1.0, 0.1)
        match = torch.tensor(10.0).exp() / (torch.tensor(10.0).exp() + rows - 1)
        torch.testing.assert_close(mixed.diagonal(), match.expand(rows))
        assert mixed[0, 0] > 0.98


def test_a_report_that_says_nothing_keeps_its_partner_and_gets_no_share_of_others() -> None:
    for temperature in (None, 0.1):
        mixed = mix_targets(torch.eye(4), entity_overlap(SAID, SAID), 0.5, temperature)
        assert mixed[3].tolist() == [0, 0, 0, 1]
        assert mixed[:3, 3].tolist() == [0, 0, 0]


def test_the_same_words_are_the_same_text_whatever_their_study() -> None:
    tokens = torch.tensor([[2, 9, 3], [2, 9, 3], [2, 8, 3]])
    assert same_text(tokens).int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
