"""A hospital's store: pre-resized uint8 images in a memory map beside a Parquet index.

    store.json      what this is: format, name, how images were prepared, counts, SHA-256 of the files below
    images.u8       (num_images, C, S, S) uint8, rows in index order
    index.parquet   one row per image (or per report without an image); see `SCHEMA`
    labels.parquet  optional, ground truth for evaluation only: `row` and one column per label

`store.json` is written last, so a folder without it is not a store. Nothing here is a header identifier:
`instance`, `study` and `patient` are keyed pseudonyms made by the hospital.
"""

import hashlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from common.errors import InputRefusedError, IntegrityError
from common.files import sha256_of, whole_file, write_whole
from common.imaging.marks import Marks
from common.imaging.preparation import Preparation
from common.regular_file import read_regular, require_regular

Split = Literal["train", "validation", "test"]
Images = npt.NDArray[np.uint8]

MANIFEST, IMAGES, INDEX, LABELS = "store.json", "images.u8", "index.parquet", "labels.parquet"

INDEX_ROWS = 1 << 11
"""Rows of the index that are written at a time."""

NO_IMAGE = -1
"""Value of `image` and of `frame` in a row whose report has no image."""

MARKS = pa.struct(
    [
        pa.field("source_rows", pa.int32()),
        pa.field("source_columns", pa.int32()),
        pa.field("source_frames", pa.int32()),
        pa.field("window", pa.string()),
        pa.field("orientation", pa.string()),
        pa.field("turned", pa.bool_()),
        pa.field("burned_in", pa.string()),
        pa.field("padding_share", pa.float32()),
    ]
)
"""`common.imaging.marks.Marks`, field by field."""

SCHEMA = pa.schema(
    [
        pa.field("instance", pa.string()),  # pseudonym of the SOP instance; "" without an image
        pa.field("study", pa.string()),
        pa.field("patient", pa.string()),
        pa.field("image", pa.int32()),  # row of images.u8, or NO_IMAGE
        pa.field("frame", pa.int32()),  # number of the frame in its file, from 0, or NO_IMAGE
        pa.field("days", pa.int32()),  # from the patient's first study to this one; null when unknown
        pa.field("modality", pa.string()),  # DICOM Modality (CR, CT, MR, US, ...); "" when unknown
        pa.field("view", pa.string()),  # DICOM ViewPosition (PA, AP, LATERAL, ...); "" when unknown
        pa.field("split", pa.string()),  # train, validation or test; one patient is in one split only
        pa.field("sections", pa.map_(pa.string(), pa.string())),  # {"findings": ...}; {} without a report
        # {"findings": [0, 2]}: sentences of `split_sentences`, from 0, that compare with an earlier study
        pa.field("change", pa.map_(pa.string(), pa.list_(pa.int32()))),
        pa.field("marks", MARKS),  # what reading the image noticed; null without an image
    ]
)


class StoreManifest(BaseModel):
    """What `store.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[3]
    name: str
    preparation: Preparation
    channels: int
    """C, as the preparation says; written out for readers that only want to map the file."""
    num_rows: int
    num_images: int
    num_patients: int
    sha256: dict[str, str]
    """File name -> hex digest, for images.u8 and index.parquet."""

    @model_validator(mode="after")
    def _channels_of_the_preparation(self) -> Self:
        if self.channels != self.preparation.channels:
            raise ValueError("channels differ from those of the preparation")
        return self

    def digest(self) -> str:
        """One SHA-256 for the whole content: the same images, reports and splits give the same value."""
        listed = "".join(f"{name}:{self.sha256[name]}\n" for name in sorted(self.sha256))
        return hashlib.sha256(listed.encode()).hexdigest()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, S, S)."""
        return self.channels, self.preparation.image_size, self.preparation.image_size


@dataclass(frozen=True)
class Row:
    """One image with its report; either may be missing, not both."""

    instance: str
    study: str
    patient: str
    image: Images | None
    """(C, S, S) uint8."""
    modality: str
    view: str
    split: Split
    sections: dict[str, str]
    frame: int = 0
    """Number of the frame in its file, from 0."""
    days: int | None = None
    """From the patient's first study to this one; None when unknown."""
    change: dict[str, list[int]] = field(default_factory=dict)
    """Section -> its sentences that compare with an earlier study."""
    marks: Marks | None = None


def write_store(folder: Path, *, name: str, preparation: Preparation, rows: Iterable[Row]) -> StoreManifest:
    """Write `rows`, in their order, as the store `folder`; an older store there is replaced.

    Memory: one image and some thousand rows of the index, whatever the number of rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / LABELS).unlink(missing_ok=True)
    patients = _Distinct()
    num_rows = num_images = 0
    shape = (preparation.channels, preparation.image_size, preparation.image_size)
    with (
        whole_file(folder / IMAGES) as images,
        whole_file(folder / INDEX) as index,
        pq.ParquetWriter(index, SCHEMA, compression="zstd") as writer,
    ):
        entries: list[dict[str, object]] = []
        for row in rows:
            if row.image is not None:
                _require_shape(row.image, shape)
                images.write(row.image.tobytes())
            entries.append(_index_entry(row, num_images))
            patients.add(row.patient)
            num_rows, num_images = num_rows + 1, num_images + (row.image is not None)
            if len(entries) == INDEX_ROWS:
                writer.write_table(pa.Table.from_pylist(entries, schema=SCHEMA))
                entries = []
        if entries or not num_rows:
            writer.write_table(pa.Table.from_pylist(entries, schema=SCHEMA))
    manifest = StoreManifest(
        format=3,
        name=name,
        preparation=preparation,
        channels=preparation.channels,
        num_rows=num_rows,
        num_images=num_images,
        num_patients=len(patients),
        sha256={file_name: sha256_of(folder / file_name) for file_name in (IMAGES, INDEX)},
    )
    write_whole(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    return manifest


def _index_entry(row: Row, num_images: int) -> dict[str, object]:
    return {
        "instance": row.instance,
        "study": row.study,
        "patient": row.patient,
        "image": NO_IMAGE if row.image is None else num_images,
        "frame": NO_IMAGE if row.image is None else row.frame,
        "days": row.days,
        "modality": row.modality,
        "view": row.view,
        "split": row.split,
        "sections": list(row.sections.items()),
        "change": list(row.change.items()),
        "marks": None if row.marks is None else asdict(row.marks),
    }


class _Distinct:
    """Counts different strings in 8 bytes each; two of a million are taken for one once in 10^7 stores."""

    def __init__(self) -> None:
        self._digests = array("Q")

    def add(self, text: str) -> None:
        digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
        self._digests.append(int.from_bytes(digest))

    def __len__(self) -> int:
        return len(np.unique(np.frombuffer(self._digests, np.uint64)))


def write_labels(folder: Path, labels: pa.Table) -> None:
    """Keep ground truth beside the store; column `row` (int32) points into the index."""
    with whole_file(folder / LABELS) as file:
        pq.write_table(labels, file, compression="zstd")


class Store:
    """A store opened for reading; images stay on disc and are mapped, not loaded."""

    def __init__(self, folder: Path) -> None:
        """Open `folder`.

        Raises:
            InputRefusedError: `folder` is not a store.
        """
        self.folder = folder
        self.manifest = read_manifest(folder)
        shape = (self.manifest.num_images, *self.manifest.image_shape)
        try:
            require_regular(folder / IMAGES)
            expected = int(np.prod(shape))
            if (folder / IMAGES).stat().st_size != expected:
                raise IntegrityError(f"store {self.manifest.name}: {IMAGES} is cut short; ingest again")
            self.images: Images = (  # (num_images, C, S, S)
                np.memmap(folder / IMAGES, dtype=np.uint8, mode="r", shape=shape)
                if expected
                else np.zeros(shape, np.uint8)
            )
            self.index = read_parquet(folder / INDEX)
        except (OSError, pa.ArrowInvalid):
            raise InputRefusedError(
                f"store {self.manifest.name}: {IMAGES} or {INDEX} cannot be read; ingest again"
            ) from None
        if not self.index.schema.equals(SCHEMA):
            raise InputRefusedError(
                f"store {self.manifest.name}: {INDEX} was written by another version; ingest again"
            )

    @property
    def name(self) -> str:
        """The hospital's name, as given to ingest."""
        return self.manifest.name

    def __len__(self) -> int:
        return self.manifest.num_rows

    def verify(self) -> None:
        """Read both files once and compare their digests with the manifest.

        Raises:
            IntegrityError: a byte of the images or of the index changed since ingest.
        """
        for name, expected in self.manifest.sha256.items():
            if sha256_of(self.folder / name) != expected:
                raise IntegrityError(f"store {self.name}: {name} differs from its manifest; ingest again")

    def digest(self) -> str:
        """See `StoreManifest.digest`."""
        return self.manifest.digest()

    def rows(self, split: Split) -> npt.NDArray[np.int64]:
        """(n,) ascending index rows of `split`."""
        return np.flatnonzero(self.column("split") == split)

    def column(self, name: str) -> npt.NDArray[np.object_]:
        """(num_rows,) values of one index column."""
        return np.array(self.index.column(name).to_pylist(), dtype=object)

    def sections(self) -> list[dict[str, str]]:
        """Report sections by index row; {} where there is no report."""
        return [dict(row) for row in self.index.column("sections").to_pylist()]

    def labels(self) -> pa.Table | None:
        """Ground truth for evaluation, or None; training never calls this.

        Raises:
            InputRefusedError: the file cannot be read.
        """
        path = self.folder / LABELS
        try:
            return read_parquet(path) if path.exists() else None
        except (OSError, pa.ArrowInvalid):
            raise InputRefusedError(
                f"store {self.name}: {LABELS} cannot be read; join the labels again"
            ) from None


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The one file `path`, or some columns of it.

    Folders above it that are named KEY=VALUE mean nothing, as they would in one of Arrow's data sets.
    """
    require_regular(path)
    with pq.ParquetFile(path) as file:
        return file.read(columns, use_threads=False)


def read_manifest(folder: Path) -> StoreManifest:
    """What a store says of itself; its rows are not read.

    Raises:
        InputRefusedError: `folder` is not a store.
    """
    try:
        return StoreManifest.model_validate_json(read_regular(folder / MANIFEST))
    except FileNotFoundError:
        raise InputRefusedError(
            f"{folder} is not a store (no {MANIFEST}); make one with `fedvlp-site ingest`"
        ) from None
    except OSError as error:
        raise InputRefusedError(
            f"{folder / MANIFEST}: {error.strerror}; give a folder that `fedvlp-site ingest` made"
        ) from None
    except ValidationError:
        raise InputRefusedError(
            f"{folder}: {MANIFEST} was written by another version or by hand; ingest again"
        ) from None


def _require_shape(image: Images, shape: tuple[int, int, int]) -> None:
    if image.shape != shape or image.dtype != np.uint8:
        raise InputRefusedError(f"image of shape {image.shape} {image.dtype}, expected {shape} uint8")
