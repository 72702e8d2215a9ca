"""What is measured of a store: counts for people and for the gate; no text, no pseudonym."""

from pydantic import BaseModel, ConfigDict, NonNegativeInt

RECORD, PAGE = "quality.json", "quality.html"
"""Files beside a store: these figures, and what people see of them."""
NOT_GIVEN = "not given"
"""Stands for an empty value in a distribution."""

Distribution = dict[str, NonNegativeInt]
"""Value -> count, the most frequent first."""

Rows = tuple[NonNegativeInt, ...]
"""Rows of the store's index."""


class Figures(BaseModel):
    """A frozen table of figures."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stages(Figures):
    """Where everything went: from files to pairs. None where the store was made without that account."""

    files_seen: NonNegativeInt | None
    files_decoded: NonNegativeInt | None
    """Files whose pixels are in the store."""
    files_opened: NonNegativeInt | None
    """Files that were DICOM images or tried to be."""
    reports_read: NonNegativeInt | None
    reports_paired: NonNegativeInt | None
    images: NonNegativeInt
    reports: NonNegativeInt
    """Each counts once, however many images it has."""
    pairs: NonNegativeInt
    """Rows with an image and a report."""
    rows: NonNegativeInt
    patients: NonNegativeInt
    rejected: Distribution
    """Reason code -> files and report rows that are not in the store."""

    scrubbed: Distribution
    """Kind of identifier -> how many de-identification took out of the reports."""

    @property
    def pairing_rate(self) -> float | None:
        """Share of the rows with both; None where only one was given, so that nothing was to be paired."""
        return self.pairs / self.rows if self.images and self.reports else None

    @property
    def decoded_share(self) -> float | None:
        """Share of the DICOM files that are in the store."""
        if self.files_decoded is None or not self.files_opened:
            return None
        return self.files_decoded / self.files_opened


class Duplicates(Figures):
    """Images that come more than once; the first of each is no duplicate."""

    same_pixels: NonNegativeInt
    same_pixels_other_patient: NonNegativeInt
    """Of these, the copies at another patient."""
    same_picture: NonNegativeInt
    """The same picture, whether pixel by pixel or exported another way; of one patient."""
    same_picture_other_patient: NonNegativeInt
    held_out: NonNegativeInt
    """Images of validation and test."""
    leaked: Rows
    """Of these, images of which training sees a twin."""
    across_patients: tuple[tuple[NonNegativeInt, NonNegativeInt], ...]
    """For each picture of several patients two rows that show it."""


class Images(Figures):
    """Images that cannot teach anything, or teach wrongly."""

    blank: Rows
    """Of one grey."""
    small: Rows
    """Whose content fills less than a fifth of the square, or whose file has but a few pixels."""
    text_in_pixels: Rows
    """With text in the pixels, found or announced by the header, that was left in."""
    radiographs: NonNegativeInt
    """Images that were looked at for their position."""
    positions: dict[str, Rows]
    """How a radiograph seems to be (inverted, turned, ...) -> rows."""


class Texts(Figures):
    """What the reports are."""

    reports: NonNegativeInt
    empty: Rows
    """Reports without anything to train on."""
    words: dict[int, NonNegativeInt]
    """Number of words -> reports, ascending."""
    repeated: NonNegativeInt
    """Reports beyond the first of each text."""
    repeated_form: NonNegativeInt
    """The same without case, punctuation and numbers."""
    template: Rows
    """Reports that are the most frequent such form."""
    languages: Distribution
    language_rows: dict[str, Rows]
    """Of every language but the most frequent: language -> rows."""
    identifier_suspects: dict[str, Rows]
    """Kind (NAME, DATE, ...) -> rows whose report has a suspect."""

    @property
    def suspicious_reports(self) -> int:
        """Reports with a suspect of any kind."""
        return len({row for rows in self.identifier_suspects.values() for row in rows})

    @property
    def template_share(self) -> float:
        """Of all reports, those that are one form; 0 where none repeats."""
        return len(self.template) / self.reports if self.reports else 0.0


class Spread(Figures):
    """How the rows are spread."""

    modality: Distribution
    view: Distribution
    split: Distribution
    patients: Distribution
    """Split -> patients."""
    entities: dict[str, tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt]]
    """Finding or device -> reports that say it is present, uncertain, absent; the most frequent first."""
    patients_in_two_splits: Rows
    """The first row of each."""


class Quality(Figures):
    """A whole store, measured."""

    name: str
    digest: str
    """Of the store."""
    stages: Stages
    images: Images
    duplicates: Duplicates
    texts: Texts
    spread: Spread
