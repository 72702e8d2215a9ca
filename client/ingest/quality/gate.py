"""The gate: figures of a store against the spec's thresholds; what fails them is not trained on."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import computed_field

from client.ingest.quality.figures import Figures, Quality
from client.ingest.quality.language import UNDECIDED
from client.ingest.quality.record import judged
from common.errors import InputRefusedError
from common.spec.quality import QualitySpec
from common.store import Store


class Check(Figures):
    """One figure beside its threshold."""

    key: str
    """Of the threshold in `[data.quality]`."""
    figure: str
    """What is measured."""
    value: float
    threshold: float
    advice: str
    share: bool = True
    """Whether the value is a share, or else a count."""

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own idiom
    @property
    def passed(self) -> bool:
        """Whether the figure is on the right side of its threshold."""
        return self.value >= self.threshold if self.key.startswith("min_") else self.value <= self.threshold

    @property
    def heading(self) -> str:
        """What is measured, as a heading."""
        return self.figure[:1].upper() + self.figure[1:]

    @property
    def bound(self) -> str:
        """What is allowed, as a person reads it."""
        side = "at least" if self.key.startswith("min_") else "at most"
        return "none" if side == "at most" and not self.threshold else f"{side} {self.told[1]}"

    @property
    def told(self) -> tuple[str, str]:
        """Value and threshold as a person reads them."""
        return self._written(self.value), self._written(self.threshold)

    def _written(self, number: float) -> str:
        return f"{100 * number:.3g} %" if self.share else f"{number:,.0f}"


class Judgement(Figures):
    """What `fedvlp-site quality --json` prints."""

    fit: bool
    """Whether the site would train on this store."""
    checks: list[Check]
    quality: Quality


def judge(store: Store, thresholds: QualitySpec) -> Judgement:
    """Measure, or look up, and compare; see `record.judged`."""
    quality = judged(store)
    found = checks(quality, thresholds)
    return Judgement(fit=all(check.passed for check in found), checks=found, quality=quality)


def require_quality(store: Store, thresholds: QualitySpec) -> None:
    """Refuse a store that fails a threshold; measured once, see `record.judged`.

    Args:
        store: verified, so that it is what its manifest says.
        thresholds: the spec's `[data.quality]`.

    Raises:
        InputRefusedError: a figure fails; the line names the first, its value, its threshold and what to do.
    """
    refuse_failed(judge(store, thresholds))


def refuse_failed(judgement: Judgement) -> None:
    """Refuse the store that was judged if a check failed; see `require_quality`."""
    if judgement.fit:
        return
    first, *others = [check for check in judgement.checks if not check.passed]
    value, threshold = first.told
    more = f" (and {len(others)} more: {', '.join(check.key for check in others)})" if others else ""
    raise InputRefusedError(
        f"store {judgement.quality.name} is not fit to train on: {first.figure}: {value}, "
        f"data.quality.{first.key} = {threshold}{more}; {first.advice}",
        outward=f"store fails data.quality.{first.key}",
    )


def checks(quality: Quality, thresholds: QualitySpec) -> list[Check]:
    """Every figure that has a threshold, along the data's way; what cannot be judged is left out."""
    found = ((rule, rule.value(quality, thresholds)) for rule in RULES)
    return [
        Check(
            key=rule.key,
            figure=rule.figure.format(languages=", ".join(thresholds.languages)),
            value=value,
            threshold=getattr(thresholds, rule.key),
            advice=rule.advice,
            share=rule.share,
        )
        for rule, value in found
        if value is not None
    ]


@dataclass(frozen=True)
class Rule:
    """A figure, and the threshold of `[data.quality]` that it is held against."""

    key: str
    figure: str
    value: Callable[[Quality, QualitySpec], float | None]
    """The figure; None where there is nothing to judge."""
    advice: str
    share: bool = True


def _of(number: int, whole: int) -> float | None:
    return number / whole if whole else None


def _foreign(quality: Quality, most: QualitySpec) -> float | None:
    counts = quality.texts.languages.items()
    foreign = sum(number for language, number in counts if language not in (*most.languages, UNDECIDED))
    return _of(foreign, quality.texts.reports)


LOOK = "look at them in quality.html, mend their headers or leave them out, and ingest again"
RULES = (
    Rule(
        "min_decoded_share",
        "DICOM files that came into the store",
        lambda quality, _: quality.stages.decoded_share,
        "look up the reasons in rejected.parquet, mend them and ingest again",
    ),
    Rule(
        "min_pairing_rate",
        "rows with both an image and a report",
        lambda quality, _: quality.stages.pairing_rate,
        "check the report files' accession numbers and --map, and ingest again",
    ),
    Rule(
        "min_pairs",
        "image-report pairs",
        lambda quality, _: quality.stages.pairs,
        "ingest more studies",
        share=False,
    ),
    Rule(
        "max_cross_split_patients",
        "patients in two splits",
        lambda quality, _: len(quality.spread.patients_in_two_splits),
        "this store was not made by ingest; ingest again",
        share=False,
    ),
    Rule(
        "max_blank_share",
        "images that show nothing or almost nothing",
        lambda quality, _: _of(len(quality.images.blank) + len(quality.images.small), quality.stages.images),
        LOOK,
    ),
    Rule(
        "max_position_suspect_share",
        "radiographs that seem inverted or turned",
        lambda quality, _: _of(sum(map(len, quality.images.positions.values())), quality.images.radiographs),
        LOOK,
    ),
    Rule(
        "max_duplicate_share",
        "images that repeat another pixel by pixel",
        lambda quality, _: _of(quality.duplicates.same_pixels, quality.stages.images),
        "take the copies out of the image folder and ingest again",
    ),
    Rule(
        "max_other_patient_share",
        "pictures that another patient has too",
        lambda quality, _: _of(quality.duplicates.same_picture_other_patient, quality.stages.images),
        "find out in quality.html whose they are, and ingest again",
    ),
    Rule(
        "max_leaked_share",
        "held-out images that training sees under another patient",
        lambda quality, _: _of(len(quality.duplicates.leaked), quality.duplicates.held_out),
        "give such patients one patient ID, and ingest again",
    ),
    Rule(
        "max_empty_report_share",
        "reports without anything to train on",
        lambda quality, _: _of(len(quality.texts.empty), quality.texts.reports),
        "check that findings and impression are exported, and ingest again",
    ),
    Rule(
        "max_template_share",
        "reports that are one and the same form",
        lambda quality, _: quality.texts.template_share if quality.texts.reports else None,
        "export the radiologists' words, not the form, and ingest again",
    ),
    Rule(
        "max_foreign_share",
        "reports in another language than {languages}",
        _foreign,
        "leave them out, or ask the operator to name the language in data.quality.languages",
    ),
    Rule(
        "max_identifier_suspect_share",
        "reports that may still name somebody",
        lambda quality, _: _of(quality.texts.suspicious_reports, quality.texts.reports),
        "look at them in quality.html and ingest again with de-identification",
    ),
)
"""Along the data's way: files and pairs, images, reports."""
