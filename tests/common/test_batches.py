from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from tiny import IMAGE_SIZE, PREPARATION, tiny_spec
from torch import Tensor

from common.data.batch import Batch
from common.data.batches import Batches, fixed_batches
from common.data.corpus import Corpus, read_corpus, reading_of
from common.data.layout import grey_values, lay_out, visible_patches
from common.project import Project
from common.seeds import generator
from common.spec.run import Spec
from common.store import NO_IMAGE, Store
from common.text.entities import entity_reader
from common.text.ontology import load_ontology
from common.text.tokenizer import CLS, IGNORED, MASK, PAD, SEP

PATCHES = (IMAGE_SIZE // 4) ** 2


@pytest.fixture
def batches(project: Project, corpus: Corpus, anchors: Corpus) -> Batches:
    return Batches(project.spec, project.tokenizer, corpus, anchors, "east")


def respecced(batches: Batches, spec: Spec) -> Batches:
    return replace(batches, spec=spec)


def equal(one: Batch, other: Batch) -> bool:
    """Whether two batches agree to the bit."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(Batch)]
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a is b for a, b in pairs)


def test_a_batch_is_a_function_of_its_step(batches: Batches) -> None:
    in_order = [batches.at(step) for step in range(4)]
    again = replace(batches)
    assert equal(again.at(3), in_order[3])
    assert equal(again.at(0), in_order[0])
    assert not equal(in_order[0], in_order[1])


def test_hospitals_and_seeds_see_the_same_rows_in_other_orders(batches: Batches) -> None:
    assert not equal(replace(batches, site="west").at(0), batches.at(0))
    assert not equal(respecced(batches, tiny_spec(seed=8)).at(0), batches.at(0))


def test_private_rows_come_first_and_anchors_fill_the_rest(batches: Batches, corpus: Corpus) -> None:
    plain = respecced(batches, tiny_spec(data__augment=False))
    assert batches.private_rows == 4
    assert len(plain.at(0)) == 6
    assert plain.at(0).study[:4].max() <= corpus.study.max() < plain.at(0).study[4:].min()
    private = {image.tobytes() for image in corpus.images(np.arange(len(corpus)))}
    for step in range(3):
        shown = (plain.at(step).images * 255).round().byte().numpy()
        assert [image.tobytes() in private for image in shown] == [True] * 4 + [False] * 2


def test_every_private_row_is_seen_once_in_each_pass(batches: Batches, corpus: Corpus) -> None:
    steps = len(corpus) // batches.private_rows
    seen = torch.cat([batches.at(step).study[:4] for step in range(steps)])
    assert_array_equal(np.sort(seen.numpy()), np.sort(corpus.study))


@pytest.mark.parametrize("with_bank", [True, False])
def test_a_spec_without_anchors_gives_private_rows_only(
    batches: Batches, corpus: Corpus, with_bank: bool
) -> None:
    alone = respecced(batches, tiny_spec(data__anchor_pairs=0))
    alone = alone if with_bank else replace(alone, anchors=None)
    assert len(alone.at(0)) == 6
    assert alone.at(0).study.max() <= corpus.study.max()


def test_a_batch_larger_than_the_hospital_repeats_rows(batches: Batches, corpus: Corpus) -> None:
    large = respecced(batches, tiny_spec(data__batch_size=50, data__anchor_pairs=0))
    counts = np.bincount(large.at(0).study.numpy())
    assert len(large.at(0)) == 50
    assert counts[counts > 0].min() >= 50 // len(corpus)


def test_a_pair_shows_its_whole_report_or_one_sentence_of_it(batches: Batches, corpus: Corpus) -> None:
    # Rows of finding 0 have two sentences; their order is free.
    two = next(report for report in corpus.sentences if len(report) == 2)
    first, second = (list(sentence) for sentence in two)
    for share, expected in ((0.0, 2), (1.0, 1)):
        seen = []
        for step in range(6):
            batch = respecced(batches, tiny_spec(data__sentence_share=share)).at(step)
            for row, mask in zip(batch.tokens[:4], batch.token_mask[:4], strict=True):
                pieces = row[mask][1:-1].tolist()
                if pieces[: len(first)] == first or pieces[: len(second)] == second:
                    seen.append(pieces)
        allowed = [first + second, second + first] if expected == 2 else [first, second]
        assert seen
        assert all(pieces in allowed for pieces in seen)
        assert len({tuple(pieces) for pieces in seen}) == 2


def test_words_are_hidden_where_labels_say_so_and_nowhere_else(batches: Batches) -> None:
    batch = batches.at(0)
    assert batch.masked_tokens is not None
    assert batch.token_labels is not None
    hidden = batch.token_labels != IGNORED
    assert hidden.any(dim=1).all()
    assert (batch.masked_tokens[hidden] == MASK).all()
    assert torch.equal(batch.token_labels[hidden], batch.tokens[hidden])
    assert torch.equal(batch.masked_tokens[~hidden], batch.tokens[~hidden])
    assert not hidden[(batch.tokens == CLS) | (batch.tokens == SEP) | (batch.tokens == PAD)].any()


def test_masks_are_drawn_only_for_objectives_that_are_on(batches: Batches) -> None:
    batch = respecced(batches, tiny_spec(objectives={"global_contrastive": {}})).at(0)
    assert batch.visible_patches is None
    assert batch.masked_tokens is None
    assert batch.token_labels is None


@given(ratio=st.floats(0.01, 0.99), rows=st.integers(1, 5), seed=st.integers(0, 100))
def test_visible_patches_are_distinct_ascending_and_as_many_as_the_ratio_leaves(
    ratio: float, rows: int, seed: int
) -> None:
    seen = visible_patches(tiny_spec(), rows, ratio, generator(seed))
    assert seen.shape == (rows, max(1, min(PATCHES - 1, round((1 - ratio) * PATCHES))))
    assert (seen.diff(dim=1) > 0).all()
    assert 0 <= seen.min() <= seen.max() < PATCHES


@given(
    st.lists(st.lists(st.lists(st.integers(5, 99), min_size=1, max_size=6), max_size=3), min_size=1),
    st.integers(4, 16),
)
def test_reports_are_laid_out_between_their_marks(reports: list[list[list[int]]], max_tokens: int) -> None:
    tokens, mask = lay_out(
        [tuple(tuple(sentence) for sentence in report) for report in reports], max_tokens=max_tokens
    )
    assert tokens.shape == mask.shape
    assert tokens.shape[1] == int(mask.sum(dim=1).max()) <= max_tokens
    for row, seen, report in zip(tokens, mask, reports, strict=True):
        words = [piece for sentence in report for piece in sentence]
        assert row[seen].tolist() == [CLS, *words[: max_tokens - 2], SEP]
        assert (row[~seen] == PAD).all()


def test_grey_values_run_from_zero_to_one() -> None:
    images = grey_values(np.array([[[[0, 51], [102, 255]]]], dtype=np.uint8))
    assert images.shape == (1, 1, 2, 2)
    assert images.flatten().tolist() == pytest.approx([0, 0.2, 0.4, 1])


def test_validation_sees_every_row_once_whole_and_as_it_is(project: Project, corpus: Corpus) -> None:
    parts = fixed_batches(project.spec, project.tokenizer, corpus, purpose="validation")
    assert [len(part) for part in parts] == [6, 6]
    images = torch.cat([part.images for part in parts])
    assert torch.equal(images, grey_values(corpus.images(np.arange(len(corpus)))))
    for row, report in enumerate(corpus.sentences):
        part = parts[row // 6]
        pieces = part.tokens[row % 6][part.token_mask[row % 6]].tolist()
        assert pieces == [CLS, *[piece for sentence in report for piece in sentence], SEP]
    again = fixed_batches(project.spec, project.tokenizer, corpus, purpose="validation")
    assert all(equal(one, other) for one, other in zip(parts, again, strict=True))


def test_no_rows_to_validate_on_give_no_batches(project: Project, corpus: Corpus) -> None:
    none = replace(corpus, place=corpus.place[:0], source=corpus.source[:0], study=corpus.study[:0])
    assert fixed_batches(project.spec, project.tokenizer, replace(none, sentences=()), purpose="v") == []


def test_a_missing_image_is_black_and_a_missing_report_is_bare(batches: Batches, corpus: Corpus) -> None:
    place = corpus.place.copy()
    place[:] = NO_IMAGE
    bare = replace(corpus, place=place, sentences=((),) * len(corpus))
    batch = replace(batches, private=bare).at(0)
    assert batch.has_image.tolist() == batch.has_text.tolist() == [False] * 4 + [True] * 2
    assert (batch.tokens[:4, :2] == torch.tensor([CLS, SEP])).all()
    assert not batch.token_mask[:4, 2:].any()
    plain = respecced(replace(batches, private=bare), tiny_spec(data__augment=False)).at(0)
    assert (plain.images[:4] == 0).all()


def test_findings_are_what_the_shown_text_states(project: Project, stores: dict[str, Store]) -> None:
    spec = tiny_spec(
        objectives__global_contrastive={"targets": {"alike": "entity_overlap"}}, data__sentence_share=0.5
    )
    corpus = read_corpus(
        stores["east"], "train", project.tokenizer, preparation=PREPARATION, reading=reading_of(spec)
    )
    batches = Batches(tiny_spec(data__anchor_pairs=0), project.tokenizer, corpus, None, "east")
    names = [entity.name for entity in load_ontology().entities]
    seen = set()
    for step in range(8):
        batch = batches.at(step)
        assert batch.findings is not None
        assert batch.findings.shape == (6, entity_reader().width)
        for tokens, mask, row in zip(batch.tokens, batch.token_mask, batch.findings, strict=True):
            words = project.tokenizer.decode(tokens[mask][1:-1].tolist())
            stated = {names[place] for place in row.nonzero().flatten().tolist()}
            assert stated == expected_findings(words), words
            seen.add(tuple(sorted(stated)))
    assert seen == {("opacity",), ("normal study",), ()}


def expected_findings(words: str) -> set[str]:
    """A whole clean report says normal, one of its sentences alone says nothing."""
    if "opacity" in words:
        return {"opacity"}
    return {"normal study"} if "lungs" in words and "heart" in words else set()


def test_nobody_reads_findings_that_no_objective_asks_for(batches: Batches) -> None:
    assert reading_of(batches.spec).reader is None
    assert batches.at(0).findings is None


@pytest.mark.parametrize(("share", "rows"), [(1.0, 6), (0.5, 3), (0.01, 1)])
def test_fewer_rows_may_be_masked(batches: Batches, share: float, rows: int) -> None:
    changes = {"objectives__masked_image__row_share": share, "objectives__masked_language__row_share": share}
    batch = respecced(batches, tiny_spec(**changes)).at(0)
    assert batch.masked_images is not None
    assert batch.masked_reports is not None
    assert batch.masked_tokens is not None
    assert batch.visible_patches is not None
    assert len(batch.masked_images) == len(batch.visible_patches) == rows
    assert batch.masked_tokens.shape == (rows, batch.tokens.shape[1])
    shown = batch.masked_tokens != MASK
    assert torch.equal(batch.masked_tokens[shown], batch.tokens[batch.masked_reports][shown])
