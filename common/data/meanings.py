"""What each sentence of a corpus means to a frozen encoder, found once for a store and kept beside its index.

Private as the reports are: it never leaves the store's folder. Shapes: n distinct sentences, D width.
"""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from common.files import whole_path
from common.model.report_encoder import ReportEncoder

Report = Sequence[str | None]
"""Sentences; None where there is none to be read."""

Vectors = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Meanings:
    """The vectors of all sentences, and which of them each report has."""

    vectors: Vectors
    """(n, D) rows of length one."""
    said: tuple[tuple[int, ...], ...]
    """For each report its sentences, as rows of `vectors`."""
    mirrored: tuple[tuple[int, ...], ...] | None
    """The same of the mirrored report, -1 where a sentence cannot be turned; None where nobody asked."""

    def of(self, row: int, sentences: Sequence[int], *, mirrored: bool) -> Tensor:
        """(D,) the mean of some sentences of report `row`, of length one; zeros if there are none."""
        report = self.said[row]
        if mirrored:
            assert self.mirrored is not None
            report = self.mirrored[row]
        vectors = torch.from_numpy(np.asarray(self.vectors[[report[i] for i in sentences]], dtype=np.float32))
        return F.normalize(vectors.sum(dim=0), dim=0)


def read_meanings(
    reports: Sequence[Report], mirrored: Sequence[Report] | None, encoder: ReportEncoder, folder: Path
) -> Meanings:
    """Encode every distinct sentence, unless `folder`, where the store lies, keeps the answer already."""
    texts = sorted({text for report in (*reports, *(mirrored or ())) for text in report if text is not None})
    place: dict[str | None, int] = {text: number for number, text in enumerate(texts)} | {None: -1}

    def placed(these: Sequence[Report]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(place[text] for text in report) for report in these)

    return Meanings(
        _kept_or_encoded(texts, encoder, folder),
        placed(reports),
        None if mirrored is None else placed(mirrored),
    )


def pool_meanings(parts: Sequence[Meanings]) -> Meanings:
    """The reports of all `parts`, in order."""
    starts = np.cumsum([0, *(len(part.vectors) for part in parts)]).tolist()

    def moved(of_part: Iterable[tuple[tuple[int, ...], ...] | None]) -> tuple[tuple[int, ...], ...] | None:
        known = [
            tuple(tuple(i + start if i >= 0 else i for i in report) for report in reports)
            for reports, start in zip(of_part, starts, strict=False)
            if reports is not None
        ]
        return tuple(report for reports in known for report in reports) if len(known) == len(parts) else None

    said = moved(part.said for part in parts)
    assert said is not None
    return Meanings(
        np.concatenate([part.vectors for part in parts]), said, moved(part.mirrored for part in parts)
    )


def _kept_or_encoded(texts: Sequence[str], encoder: ReportEncoder, folder: Path) -> Vectors:
    asked = hashlib.sha256(encoder.digest.encode())
    for text in texts:
        asked.update(hashlib.sha256(text.encode()).digest())
    kept = folder / f"meanings-{asked.hexdigest()[:32]}.npy"
    if kept.exists():
        found: Vectors = np.load(kept, mmap_mode="r")
        return found
    vectors = (
        encoder.vectors(texts).numpy().astype(np.float16) if texts else np.zeros((0, 1), dtype=np.float16)
    )
    with suppress(OSError), whole_path(kept) as beside, beside.open("wb") as file:  # a store may be read-only
        np.save(file, vectors)
    return vectors
