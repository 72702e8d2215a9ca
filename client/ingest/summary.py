"""What a store holds, in numbers that a hospital can read before anything trains on it."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from client.ingest.account import Account, read_account
from client.ingest.rejected import count_rejected
from common.imaging.preparation import Preparation
from common.store import NO_IMAGE, Store
from common.text.sections import training_text

NOT_GIVEN = "not given"


class ReportLengths(BaseModel):
    """Words per report, over the rows that have one."""

    model_config = ConfigDict(frozen=True)

    reports: int
    shortest: int
    median: int
    longest: int


class Summary(BaseModel):
    """Counts of a store; no pseudonym, no text."""

    model_config = ConfigDict(frozen=True)

    name: str
    preparation: Preparation
    rows: int
    images: int
    pairs: int
    """Rows with both an image and a report."""
    patients: int
    rows_by_split: dict[str, int]
    patients_by_split: dict[str, int]
    rows_by_modality: dict[str, int]
    rows_by_view: dict[str, int]
    report_words: ReportLengths
    labels: list[str]
    rejected: dict[str, int]
    """Reason code -> files and report rows that are not in the store."""
    account: Account | None
    """Where every input of the ingest went; None where the store came without it."""
    digest: str


def summarise(folder: Path) -> Summary:
    """Count what is in the store `folder`.

    Raises:
        InputRefusedError: `folder` is not a store.
    """
    store = Store(folder)
    words = np.array([len(training_text(sections).split()) for sections in store.sections()], np.int64)
    has_image = store.column("image") != NO_IMAGE
    labels = store.labels()
    return Summary(
        name=store.name,
        preparation=store.manifest.preparation,
        rows=len(store),
        images=store.manifest.num_images,
        pairs=int((has_image & (words > 0)).sum()),
        patients=store.manifest.num_patients,
        rows_by_split=_counted(store.column("split")),
        patients_by_split=_counted(
            split for _, split in set(zip(store.column("patient"), store.column("split"), strict=True))
        ),
        rows_by_modality=_counted(store.column("modality")),
        rows_by_view=_counted(store.column("view")),
        report_words=_lengths(words[words > 0].tolist()),
        labels=[] if labels is None else [name for name in labels.column_names if name != "row"],
        rejected=count_rejected(folder),
        account=read_account(folder),
        digest=store.digest(),
    )


def _counted(values: Iterable[str]) -> dict[str, int]:
    """Value -> count, the most frequent first."""
    counts = Counter(value or NOT_GIVEN for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lengths(words: list[int]) -> ReportLengths:
    if not words:
        return ReportLengths(reports=0, shortest=0, median=0, longest=0)
    return ReportLengths(
        reports=len(words), shortest=min(words), median=sorted(words)[len(words) // 2], longest=max(words)
    )
