"""What batches hold for the taxonomy: samples of reports, mirrors, second views, the bank."""

from dataclasses import replace

import pytest
import torch
from taxonomy_samples import taxonomy_spec
from tiny import PREPARATION, tiny_spec

from common.data.batch import Batch
from common.data.batches import LONGEST_SNIPPET, Batches
from common.data.corpus import Corpus, read_corpus, reading_of
from common.data.layout import entities_of, grey_values, word_vectors
from common.model.tabular import TabularEncoder, code_of, sentence_of
from common.project import Project
from common.spec.model import MetadataSpec
from common.spec.run import Spec
from common.store import Store
from common.text.entities import entity_reader
from common.text.ontology import load_ontology


def open_batches(project: Project, store: Store, bank: Store | None, spec: Spec) -> Batches:
    reading = reading_of(spec)
    private = read_corpus(store, "train", project.tokenizer, preparation=PREPARATION, reading=reading)
    anchors = bank and read_corpus(bank, None, project.tokenizer, preparation=PREPARATION, reading=reading)
    return Batches(spec, project.tokenizer, private, anchors, "east")


def long_reports(corpus: Corpus) -> Corpus:
    """Every report is six sentences of one piece each, three to a section."""
    rows = len(corpus)
    return replace(
        corpus,
        sentences=(tuple((10 + i,) for i in range(6)),) * rows,
        sections=((0, 0, 0, 1, 1, 1),) * rows,
    )


def shown_sentences(batch: Batch) -> list[list[int]]:
    return [
        [piece - 10 for piece in row[mask][1:-1].tolist()]
        for row, mask in zip(batch.tokens, batch.token_mask, strict=True)
    ]


def test_a_section_is_shown_whole_in_order_and_alone(project: Project, stores: dict[str, Store]) -> None:
    spec = tiny_spec(data__section_share=1.0, data__sentence_share=0.0, data__anchor_pairs=0)
    batches = open_batches(project, stores["east"], None, spec)
    batches = replace(batches, private=long_reports(batches.private))
    shown = [tuple(row) for step in range(4) for row in shown_sentences(batches.at(step))]
    assert set(shown) == {(0, 1, 2), (3, 4, 5)}


def test_a_snippet_is_some_sentences_that_follow_each_other(
    project: Project, stores: dict[str, Store]
) -> None:
    spec = tiny_spec(data__snippet_share=1.0, data__sentence_share=0.0, data__anchor_pairs=0)
    batches = open_batches(project, stores["east"], None, spec)
    batches = replace(batches, private=long_reports(batches.private))
    for step in range(4):
        for row in shown_sentences(batches.at(step)):
            assert row == list(range(row[0], min(6, row[0] + LONGEST_SNIPPET)))


def test_shares_of_sampling_are_kept(project: Project, stores: dict[str, Store]) -> None:
    spec = tiny_spec(
        data__sentence_share=0.3, data__section_share=0.2, data__snippet_share=0.1, data__anchor_pairs=0,
        data__batch_size=100,
    )  # fmt: skip
    batches = open_batches(project, stores["east"], None, spec)
    batches = replace(batches, private=long_reports(batches.private))
    shown = [row for step in range(8) for row in shown_sentences(batches.at(step))]
    assert sum(len(row) == 6 for row in shown) / len(shown) == pytest.approx(0.4, abs=0.06)
    # A snippet that starts at the last sentence shows one, too: 0.3 + 0.1 / 6.
    assert sum(len(row) == 1 for row in shown) / len(shown) == pytest.approx(0.317, abs=0.06)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_mirrored_image_keeps_the_truth_of_its_report(
    project: Project, stores: dict[str, Store], share: float
) -> None:
    """Opacity on the left is bright on the left, mirrored or not; a plain flip would not keep it."""
    spec = tiny_spec(
        data__flip_share=share, data__augment=False, data__anchor_pairs=0,
        objectives__global_contrastive={"targets": {"alike": "entity_overlap"}},
    )  # fmt: skip
    batches = open_batches(project, stores["east"], None, spec)
    opacity = [entity.name for entity in load_ontology().entities].index("opacity")
    untouched = {image.numpy().tobytes() for image in grey_values(batches.private.images(range(12)))}  # type: ignore[arg-type]
    seen = mirrored = 0
    for step in range(10):
        batch = batches.at(step)
        assert batch.sides is not None
        sides = batch.sides[:, opacity].tolist()
        for image, tokens, mask, told in zip(
            batch.images[:, 0], batch.tokens, batch.token_mask, sides, strict=True
        ):
            words = project.tokenizer.decode(tokens[mask])
            if "opacity" in words:
                left, right = image[4:8, :8].mean(), image[4:8, 8:].mean()
                assert ("left" in words) == bool(left > right)
                assert told == ["left" in words, "right" in words]
                seen += 1
                mirrored += image[None].numpy().tobytes() not in untouched
    assert seen > 10
    assert mirrored == 0 if share == 0 else mirrored > 0
    assert mirrored == seen if share == 1 else True


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_both_views_of_a_study_are_mirrored_or_neither(
    project: Project, stores: dict[str, Store], share: float
) -> None:
    spec = taxonomy_spec(
        {"two_views": {}}, data__flip_share=share, data__augment=False, data__anchor_pairs=0,
        data__sentence_share=0.5,
    )  # fmt: skip
    batches = open_batches(project, stores["east"], None, spec)
    seen = 0
    for step in range(6):
        batch = batches.at(step)
        assert batch.second is not None
        # Each study has one image here, so the second view is the first once more, with another text.
        assert torch.equal(batch.images, batch.second.images)
        for image, tokens, mask in zip(
            batch.second.images[:, 0], batch.second.tokens, batch.second.token_mask, strict=True
        ):
            words = project.tokenizer.decode(tokens[mask])
            if "opacity" in words:
                assert ("left" in words) == bool(image[4:8, :8].mean() > image[4:8, 8:].mean())
                seen += 1
    assert seen > 6


def test_a_report_that_cannot_be_turned_keeps_its_image(project: Project, stores: dict[str, Store]) -> None:
    spec = tiny_spec(data__flip_share=1.0, data__augment=False, data__anchor_pairs=0)
    batches = open_batches(project, stores["east"], None, spec)
    private = batches.private
    stuck = replace(private, mirrored=tuple((None,) * len(report) for report in private.sentences))
    images = {image.numpy().tobytes() for image in grey_values(private.images(range(12)))}  # type: ignore[arg-type]
    assert {image.numpy().tobytes() for image in replace(batches, private=stuck).at(0).images} <= images


def test_second_views_are_of_the_same_study(project: Project, stores: dict[str, Store]) -> None:
    spec = taxonomy_spec({"two_views": {}}, data__augment=False, data__anchor_pairs=0)
    batches = open_batches(project, stores["east"], None, spec)
    study = torch.arange(len(batches.private)).numpy() // 3  # studies of three images
    batches = replace(batches, private=replace(batches.private, study=study))
    of_image = {
        image.numpy().tobytes(): row
        for row, image in enumerate(grey_values(batches.private.images(range(len(study)))))  # type: ignore[arg-type]
    }
    for step in range(3):
        batch = batches.at(step)
        assert batch.second is not None
        for first, second in zip(batch.images, batch.second.images, strict=True):
            one, other = of_image[first.numpy().tobytes()], of_image[second.numpy().tobytes()]
            assert one != other
            assert study[one] == study[other]


def test_public_pairs_are_those_of_the_bank_and_the_same_at_every_site(
    project: Project, stores: dict[str, Store], bank: Store
) -> None:
    spec = taxonomy_spec({"bank_contrastive": {}})
    east = open_batches(project, stores["east"], bank, spec)
    west = replace(open_batches(project, stores["west"], bank, spec), site="west")
    here, there = east.at(3).public, west.at(3).public
    assert here is not None
    assert there is not None
    assert len(here.images) == 4
    assert torch.equal(here.images, there.images)
    assert torch.equal(here.tokens, there.tokens)
    assert not torch.equal(here.images, east.public_at(4).images)


def test_words_that_public_text_does_not_know_say_nothing_of_a_report(project: Project) -> None:
    tokens, _ = project.tokenizer.encode(
        ["pleural effusion", "effusion pleural", "pneumothorax", "zqj"], max_tokens=24
    )
    words = word_vectors(tokens, project.tokenizer)
    alike = words @ words.T
    assert alike[0, 1] == pytest.approx(1, abs=1e-5)
    assert alike[0, 2] < 0.5
    torch.testing.assert_close(alike.diagonal()[:3], torch.ones(3))


def test_the_ontology_as_tensors_keeps_its_links(project: Project) -> None:
    reader = entity_reader()
    entities = entities_of(reader, project.tokenizer)
    names = [entity.name for entity in reader.ontology.entities]
    for name in ("pulmonary nodule", "lung"):
        place = names.index(name)
        near = {names[i] for i in entities.neighbours[place].nonzero()[:, 0].tolist()}
        entity = reader.ontology[name]
        assert {*entity.parents, *entity.located_in} <= near
    sums = entities.neighbours.sum(dim=1)
    assert ((sums - 1).abs() < 1e-6).logical_or(sums == 0).all()
    assert {reader.ontology.entities[i].kind for i in entities.observed.tolist()} == {"finding", "device"}


def test_metadata_are_told_as_a_sentence_or_coded_alike_everywhere(
    project: Project, stores: dict[str, Store]
) -> None:
    assert sentence_of(("modality", "view"), ("CR", "PA")) == "Modality CR, view PA."
    assert sentence_of(("modality", "view"), ("", "")) == ""
    assert code_of("PA", 64) == code_of(" pa ", 64) == 1 + code_of("PA", 64) - 1 > 0 == code_of("", 64)
    spec = tiny_spec(data__metadata_text=["modality", "view"], data__anchor_pairs=0, model__metadata={})
    batches = open_batches(project, stores["east"], None, spec)
    assert batches.private.metadata is not None
    assert (batches.private.metadata == torch.tensor([[code_of("CR", 64), code_of("PA", 64)]]).numpy()).all()
    told = project.tokenizer.decode(batches.private.sentences[0][0])
    assert told.replace(" ", "") == "modalitycr,viewpa."


def test_an_unknown_column_has_no_part_in_what_metadata_say() -> None:
    encoder = TabularEncoder(MetadataSpec(width=8, buckets=4))
    one = encoder(torch.tensor([[2, 0], [2, 3]]))
    assert one.mask.tolist() == [[True, False], [True, True]]
    with torch.no_grad():
        encoder.vectors.weight[encoder.codes] += 1  # the vector of "unknown" in the second column
    again = encoder(torch.tensor([[2, 0], [2, 3]]))
    torch.testing.assert_close(again.pooled, one.pooled)
