import json
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from common.errors import InputRefusedError, IntegrityError
from common.imaging.marks import Marks
from common.imaging.preparation import Preparation
from common.store import (
    IMAGES,
    INDEX,
    LABELS,
    MANIFEST,
    MARKS,
    NO_IMAGE,
    Row,
    Store,
    write_labels,
    write_store,
)

SIZE = 16
PREPARATION = Preparation(image_size=SIZE, burned_in="keep")


def row(number: int, *, image: bool = True, split: str = "train", text: str = "clear") -> Row:
    return Row(
        instance=f"i{number}" if image else "",
        study=f"s{number}",
        patient=f"p{number}",
        image=np.full((1, SIZE, SIZE), number, np.uint8) if image else None,
        modality="CR",
        view="PA",
        split=split,  # type: ignore[arg-type]
        sections={"findings": text} if text else {},
    )


def stored(folder: Path, rows: list[Row]) -> Store:
    write_store(folder, name="lakeside", preparation=PREPARATION, rows=iter(rows))
    return Store(folder)


def test_a_folder_may_be_named_like_a_partition_of_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "ward=3").mkdir()
    store = stored(tmp_path / "ward=3" / "lakeside", [row(1)])
    write_labels(store.folder, pa.table({"row": pa.array([0], pa.int32()), "effusion": [True]}))
    labels = store.labels()
    assert len(store) == 1
    assert labels is not None
    assert labels.column_names == ["row", "effusion"]


rows_strategy = st.lists(
    st.builds(
        row,
        st.integers(0, 255),
        image=st.booleans(),
        split=st.sampled_from(["train", "validation", "test"]),
        text=st.text(st.characters(codec="utf-8")),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(rows=rows_strategy)
def test_what_is_written_is_read(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = stored(tmp_path_factory.mktemp("store"), rows)
    store.verify()
    assert len(store) == len(rows)
    assert list(store.column("study")) == [one.study for one in rows]
    assert store.sections() == [one.sections for one in rows]
    for one, image in zip(rows, store.column("image"), strict=True):
        assert (image == NO_IMAGE) == (one.image is None)
        if one.image is not None:
            assert_array_equal(store.images[image], one.image)


@settings(max_examples=25, deadline=None)
@given(rows=rows_strategy)
def test_every_row_is_in_exactly_one_split(rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> None:
    store = stored(tmp_path_factory.mktemp("store"), rows)
    together = np.concatenate([store.rows(split) for split in ("train", "validation", "test")])
    assert_array_equal(np.sort(together), np.arange(len(rows)))


def test_the_digest_is_that_of_the_content_alone(tmp_path: Path) -> None:
    first = stored(tmp_path / "a", [row(1), row(2)])
    assert stored(tmp_path / "b", [row(1), row(2)]).digest() == first.digest()
    assert stored(tmp_path / "c", [row(2), row(1)]).digest() != first.digest()
    assert stored(tmp_path / "d", [row(1), row(2, text="unclear")]).digest() != first.digest()


@pytest.mark.parametrize("name", [IMAGES, INDEX])
def test_a_flipped_byte_is_found(tmp_path: Path, name: str) -> None:
    store = stored(tmp_path, [row(1), row(2)])
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        store.verify()


def test_a_rewritten_store_forgets_its_labels(tmp_path: Path) -> None:
    store = stored(tmp_path, [row(1)])
    write_labels(tmp_path, pa.table({"row": pa.array([0], pa.int32()), "nodule": ["1"]}))
    assert store.labels() is not None
    assert stored(tmp_path, [row(2)]).labels() is None
    assert not (tmp_path / LABELS).exists()


def test_a_store_whose_writing_failed_is_no_store(tmp_path: Path) -> None:
    stored(tmp_path, [row(1)])
    wrong = row(2)
    with pytest.raises(InputRefusedError, match="expected"):
        write_store(
            tmp_path,
            name="lakeside",
            preparation=PREPARATION.model_copy(update={"image_size": SIZE + 1}),
            rows=[wrong],
        )
    with pytest.raises(InputRefusedError, match="is not a store"):
        Store(tmp_path)


def test_a_store_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, [row(1), row(2)])
    (tmp_path / IMAGES).write_bytes(b"\0" * SIZE)
    with pytest.raises(IntegrityError, match="cut short"):
        Store(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", "not json"])
def test_a_manifest_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    stored(tmp_path, [row(1)])
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(InputRefusedError, match="another version"):
        Store(tmp_path)


def test_an_unknown_manifest_key_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, [row(1)])
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"surplus": 1}))
    with pytest.raises(InputRefusedError, match="another version"):
        Store(tmp_path)


def test_an_index_that_is_damaged_or_absent_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, [row(1)])
    (tmp_path / INDEX).write_bytes(b"PAR1")
    with pytest.raises(InputRefusedError, match="cannot be read"):
        Store(tmp_path)
    (tmp_path / INDEX).unlink()
    with pytest.raises(InputRefusedError, match="cannot be read"):
        Store(tmp_path)


def test_a_store_of_reports_alone_opens(tmp_path: Path) -> None:
    store = stored(tmp_path, [row(1, image=False)])
    assert store.images.shape == (0, 1, SIZE, SIZE)
    assert store.column("image").tolist() == [NO_IMAGE]


def test_marks_frame_and_days_are_read_as_written(tmp_path: Path) -> None:
    marks = Marks(512, 400, 3, "file", "plane", True, "masked", 0.25)
    written = [replace(row(1), marks=marks, frame=2, days=-40), row(2, image=False)]
    store = stored(tmp_path, written)
    assert [field.name for field in MARKS] == [field.name for field in fields(Marks)]
    assert store.column("marks").tolist() == [asdict(marks), None]
    assert store.column("frame").tolist() == [2, NO_IMAGE]
    assert store.column("days").tolist() == [-40, None]
