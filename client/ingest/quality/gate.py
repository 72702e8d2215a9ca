"""The gate: figures of a store against the spec's thresholds; what fails them is not trained on."""

from collections.abc import Iterator

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
    return [*_stages(quality, thresholds), *_images(quality, thresholds), *_texts(quality, thresholds)]


def _stages(quality: Quality, least: QualitySpec) -> Iterator[Check]:
    stages = quality.stages
    if stages.decoded_share is not None:
        yield Check(
            key="min_decoded_share",
            figure="DICOM files that came into the store",
            value=stages.decoded_share,
            threshold=least.min_decoded_share,
            advice="look up the reasons in rejected.parquet, mend them and ingest again",
        )
    if stages.pairing_rate is not None:
        yield Check(
            key="min_pairing_rate",
            figure="rows with both an image and a report",
            value=stages.pairing_rate,
            threshold=least.min_pairing_rate,
            advice="check the report files' accession numbers and --map, and ingest again",
        )
    yield Check(
        key="min_pairs",
        figure="image-report pairs",
        value=stages.pairs,
        threshold=least.min_pairs,
        advice="ingest more studies",
        share=False,
    )
    yield Check(
        key="max_cross_split_patients",
        figure="patients in two splits",
        value=len(quality.spread.patients_in_two_splits),
        threshold=least.max_cross_split_patients,
        advice="this store was not made by ingest; ingest again",
        share=False,
    )


def _images(quality: Quality, most: QualitySpec) -> Iterator[Check]:
    images, duplicates = quality.images, quality.duplicates
    number = quality.stages.images
    if not number:
        return
    look = "look at them in quality.html, mend their headers or leave them out, and ingest again"
    yield Check(
        key="max_blank_share",
        figure="images that show nothing or almost nothing",
        value=(len(images.blank) + len(images.small)) / number,
        threshold=most.max_blank_share,
        advice=look,
    )
    if images.radiographs:
        yield Check(
            key="max_position_suspect_share",
            figure="radiographs that seem inverted or turned",
            value=sum(map(len, images.positions.values())) / images.radiographs,
            threshold=most.max_position_suspect_share,
            advice=look,
        )
    yield Check(
        key="max_duplicate_share",
        figure="images that repeat another pixel by pixel",
        value=duplicates.same_pixels / number,
        threshold=most.max_duplicate_share,
        advice="take the copies out of the image folder and ingest again",
    )
    yield Check(
        key="max_other_patient_share",
        figure="pictures that another patient has too",
        value=duplicates.same_picture_other_patient / number,
        threshold=most.max_other_patient_share,
        advice="find out in quality.html whose they are, and ingest again",
    )
    if duplicates.held_out:
        yield Check(
            key="max_leaked_share",
            figure="held-out images that training sees under another patient",
            value=len(duplicates.leaked) / duplicates.held_out,
            threshold=most.max_leaked_share,
            advice="give such patients one patient ID, and ingest again",
        )


def _texts(quality: Quality, most: QualitySpec) -> Iterator[Check]:
    texts = quality.texts
    if not texts.reports:
        return
    yield Check(
        key="max_empty_report_share",
        figure="reports without anything to train on",
        value=len(texts.empty) / texts.reports,
        threshold=most.max_empty_report_share,
        advice="check that findings and impression are exported, and ingest again",
    )
    yield Check(
        key="max_template_share",
        figure="reports that are one and the same form",
        value=texts.template_share,
        threshold=most.max_template_share,
        advice="export the radiologists' words, not the form, and ingest again",
    )
    foreign = sum(
        number for language, number in texts.languages.items() if language not in (*most.languages, UNDECIDED)
    )
    yield Check(
        key="max_foreign_share",
        figure=f"reports in another language than {', '.join(most.languages)}",
        value=foreign / texts.reports,
        threshold=most.max_foreign_share,
        advice="leave them out, or ask the operator to name the language in data.quality.languages",
    )
    yield Check(
        key="max_identifier_suspect_share",
        figure="reports that may still name somebody",
        value=texts.suspicious_reports / texts.reports,
        threshold=most.max_identifier_suspect_share,
        advice="look at them in quality.html and ingest again with de-identification",
    )
