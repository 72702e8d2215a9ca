from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tiny import IMAGE_SIZE, PREPARATION, tiny_store

from common.data.corpus import pool, read_corpus
from common.errors import InputRefusedError
from common.project import Project
from common.store import NO_IMAGE, Row, Store, write_store


@pytest.fixture
def mixed(tmp_path: Path) -> Store:
    """A study of two images, one report without an image, one image without a report."""

    def row(study: str, grey: int | None, report: str) -> Row:
        image = None if grey is None else np.full((1, IMAGE_SIZE, IMAGE_SIZE), grey, np.uint8)
        sections = {"findings": report} if report else {}
        return Row(f"i{grey}", study, study, image, "CR", "", "train", sections)

    rows = [row("b", 1, "Clear."), row("a", None, "Effusion."), row("b", 2, "Clear."), row("c", 3, "")]
    write_store(tmp_path / "mixed", name="mixed", preparation=PREPARATION, rows=rows)
    return Store(tmp_path / "mixed")


def test_a_split_gives_its_rows_in_order(project: Project, stores: dict[str, Store]) -> None:
    store = stores["east"]
    for split in ("train", "validation", "test"):
        corpus = read_corpus(store, split, project.tokenizer, preparation=PREPARATION)
        assert len(corpus) == len(store.rows(split)) > 0
        assert_array_equal(corpus.images(np.arange(len(corpus))), store.images[store.rows(split)])
    assert len(read_corpus(store, None, project.tokenizer, preparation=PREPARATION)) == len(store)


def test_reports_become_sentences_of_word_pieces(project: Project, stores: dict[str, Store]) -> None:
    corpus = read_corpus(stores["east"], "train", project.tokenizer, preparation=PREPARATION)
    for row, report in zip(stores["east"].rows("train"), corpus.sentences, strict=True):
        words = project.tokenizer.decode([piece for sentence in report for piece in sentence])
        written = stores["east"].sections()[row]["findings"].lower()
        assert words.replace(" ", "") == written.replace(" ", "")
        assert len(report) == written.count(".")


def test_rows_that_lack_an_image_or_a_report_say_so(project: Project, mixed: Store) -> None:
    corpus = read_corpus(mixed, "train", project.tokenizer, preparation=PREPARATION)
    assert corpus.place.tolist() == [0, NO_IMAGE, 1, 2]
    assert corpus.has_image.tolist() == [True, False, True, True]
    assert [len(report) for report in corpus.sentences] == [1, 1, 1, 0]
    assert corpus.images(np.array([3, 1, 0]))[:, 0, 0, 0].tolist() == [3, 0, 1]


def test_images_of_one_study_share_its_number(project: Project, mixed: Store) -> None:
    study = read_corpus(mixed, "train", project.tokenizer, preparation=PREPARATION).study
    assert study[0] == study[2]
    assert len(np.unique(study)) == 3


def test_a_pool_is_all_rows_in_order_with_studies_kept_apart(
    project: Project, stores: dict[str, Store], mixed: Store
) -> None:
    parts = [
        read_corpus(store, "train", project.tokenizer, preparation=PREPARATION)
        for store in (stores["east"], mixed, stores["east"])
    ]
    pooled = pool(parts)
    assert len(pooled) == sum(len(part) for part in parts)
    assert pooled.sentences == tuple(report for part in parts for report in part.sentences)
    assert len(np.unique(pooled.study)) == sum(len(np.unique(part.study)) for part in parts)
    expected = np.concatenate([part.images(np.arange(len(part))) for part in parts])
    assert_array_equal(pooled.images(np.arange(len(pooled))), expected)
    assert_array_equal(pooled.has_image, np.concatenate([part.has_image for part in parts]))


def test_pools_can_be_pooled(project: Project, mixed: Store) -> None:
    part = read_corpus(mixed, "train", project.tokenizer, preparation=PREPARATION)
    nested, flat = pool([pool([part, part]), part]), pool([part, part, part])
    assert_array_equal(nested.images(np.arange(12)), flat.images(np.arange(12)))
    assert len(np.unique(nested.study)) == len(np.unique(flat.study)) == 9


def test_a_store_of_another_image_size_is_refused_with_both_sizes(project: Project, tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "north", size=24)
    with pytest.raises(InputRefusedError, match=r"24x24 images, but model\.image_size is 16") as caught:
        read_corpus(store, "train", project.tokenizer, preparation=PREPARATION)
    assert caught.value.outward == "store holds 24x24 images, not 16x16"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": 4}, r"data\.images\.frames = 1, but the spec says 4"),
        ({"burned_in": "mask"}, r'data\.images\.burned_in = "keep", but the spec says "mask"'),
        ({"ct_windows": ("lung", "bone")}, r'ct_windows = \[\], but the spec says \["lung", "bone"\]'),
    ],
)
def test_a_store_prepared_otherwise_is_refused(
    project: Project, stores: dict[str, Store], change: dict[str, object], words: str
) -> None:
    asked = PREPARATION.model_copy(update=change)
    with pytest.raises(InputRefusedError, match=words) as caught:
        read_corpus(stores["east"], "train", project.tokenizer, preparation=asked)
    assert "east" not in str(caught.value.outward)


def test_a_sentence_is_kept_up_to_its_bound(project: Project, tmp_path: Path) -> None:
    endless = Row("i", "s", "p", None, "", "", "train", {"findings": "lung " * 2000})
    write_store(tmp_path / "long", name="long", preparation=PREPARATION, rows=[endless])
    corpus = read_corpus(Store(tmp_path / "long"), "train", project.tokenizer, preparation=PREPARATION)
    assert len(corpus.sentences[0]) == 1
    assert len(corpus.sentences[0][0]) == 512
