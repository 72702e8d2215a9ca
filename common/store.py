"""A hospital's store: pre-resized uint8 images in a memory map beside a Parquet index.

    store.json      what this is: format, name, image size, counts, SHA-256 of the two files below
    images.u8       (num_images, S, S) uint8, rows in index order
    index.parquet   one row per image (or per report without an image); see `SCHEMA`
    labels.parquet  optional, ground truth for evaluation only: `row` and one column per label

`store.json` is written last, so a folder without it is not a store. Nothing here is a header identifier:
`instance`, `study` and `patient` are keyed pseudonyms made by the hospital.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from common.errors import InputRefusedError, IntegrityError
from common.files import sha256_of, whole_file, write_whole

Split = Literal["train", "validation", "test"]
Images = npt.NDArray[np.uint8]

MANIFEST, IMAGES, INDEX, LABELS = "store.json", "images.u8", "index.parquet", "labels.parquet"

NO_IMAGE = -1
"""Value of `image` in a row whose report has no image."""

SCHEMA = pa.schema(
    [
        pa.field("instance", pa.string()),  # pseudonym of the SOP instance; "" without an image
        pa.field("study", pa.string()),
        pa.field("patient", pa.string()),
        pa.field("image", pa.int32()),  # row of images.u8, or NO_IMAGE
        pa.field("modality", pa.string()),  # DICOM Modality (CR, CT, MR, US, ...); "" when unknown
        pa.field("view", pa.string()),  # DICOM ViewPosition (PA, AP, LATERAL, ...); "" when unknown
        pa.field("split", pa.string()),  # train, validation or test; one patient is in one split only
        pa.field("sections", pa.map_(pa.string(), pa.string())),  # {"findings": ...}; {} without a report
    ]
)


class StoreManifest(BaseModel):
    """What `store.json` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    name: str
    image_size: PositiveInt
    num_rows: int
    num_images: int
    num_patients: int
    sha256: dict[str, str]
    """File name -> hex digest, for images.u8 and index.parquet."""


@dataclass(frozen=True)
class Row:
    """One image with its report; either may be missing, not both."""

    instance: str
    study: str
    patient: str
    image: Images | None
    """(S, S) uint8."""
    modality: str
    view: str
    split: Split
    sections: dict[str, str]


def write_store(folder: Path, *, name: str, image_size: int, rows: Iterable[Row]) -> StoreManifest:
    """Write `rows`, in their order, as the store `folder`; an older store there is replaced.

    Memory: one image and the index, whatever the number of rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    (folder / LABELS).unlink(missing_ok=True)
    index: list[dict[str, object]] = []
    num_images = 0
    with whole_file(folder / IMAGES) as file:
        for row in rows:
            if row.image is not None:
                _require_square(row.image, image_size)
                file.write(row.image.tobytes())
            index.append(
                {
                    "instance": row.instance,
                    "study": row.study,
                    "patient": row.patient,
                    "image": NO_IMAGE if row.image is None else num_images,
                    "modality": row.modality,
                    "view": row.view,
                    "split": row.split,
                    "sections": list(row.sections.items()),
                }
            )
            num_images += row.image is not None
    with whole_file(folder / INDEX) as file:
        pq.write_table(pa.Table.from_pylist(index, schema=SCHEMA), file, compression="zstd")
    manifest = StoreManifest(
        format=1,
        name=name,
        image_size=image_size,
        num_rows=len(index),
        num_images=num_images,
        num_patients=len({row["patient"] for row in index}),
        sha256={file_name: sha256_of(folder / file_name) for file_name in (IMAGES, INDEX)},
    )
    write_whole(folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
    return manifest


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
        self.manifest = _read_manifest(folder)
        size = self.manifest.image_size
        shape = (self.manifest.num_images, size, size)
        try:
            expected = int(np.prod(shape))
            if (folder / IMAGES).stat().st_size != expected:
                raise IntegrityError(f"store {self.manifest.name}: {IMAGES} is cut short; ingest again")
            self.images: Images = (
                np.memmap(folder / IMAGES, dtype=np.uint8, mode="r", shape=shape)
                if expected
                else np.zeros(shape, np.uint8)
            )
            self.index: pa.Table = pq.read_table(folder / INDEX)
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
        """One SHA-256 for the whole content: the same images, reports and splits give the same value."""
        listed = "".join(f"{name}:{self.manifest.sha256[name]}\n" for name in sorted(self.manifest.sha256))
        return hashlib.sha256(listed.encode()).hexdigest()

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
        """Ground truth for evaluation, or None; training never calls this."""
        path = self.folder / LABELS
        return pq.read_table(path) if path.exists() else None


def _read_manifest(folder: Path) -> StoreManifest:
    try:
        return StoreManifest.model_validate_json((folder / MANIFEST).read_bytes())
    except OSError:
        raise InputRefusedError(
            f"{folder} is not a store (no {MANIFEST}); make one with `fedvlp-site ingest`"
        ) from None
    except ValidationError:
        raise InputRefusedError(
            f"{folder}: {MANIFEST} was written by another version or by hand; ingest again"
        ) from None


def _require_square(image: Images, size: int) -> None:
    if image.shape != (size, size) or image.dtype != np.uint8:
        raise InputRefusedError(
            f"image of shape {image.shape} {image.dtype}, expected ({size}, {size}) uint8"
        )
