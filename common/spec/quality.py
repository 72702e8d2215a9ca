"""`[data.quality]`: what a store must be to be trained on."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt

from common.spec.section import Section, Share


class QualitySpec(Section):
    """What a store must be for its rows to be trained on; a site whose store is not refuses, exit code 3.

    Each default stops what is broken and lets pass what is merely small or unusual; see
    `client.ingest.quality`. A figure that does not exist (the pairing rate of images alone) is not judged.
    """

    min_decoded_share: Share = 0.9
    """DICOM files whose pixels are in the store: a job that can read one image of ten thousand must not go
    unnoticed."""
    min_pairing_rate: Share = 0.5
    """Rows with image and report, where there are both: a wrong column of accession numbers pairs next to
    nothing."""
    min_pairs: NonNegativeInt = 0
    """Image-report pairs; 0 lets sites of images or of reports alone take part."""
    max_cross_split_patients: Literal[0] = 0
    """Patients in two splits; not adjustable: evaluation would ask about people it trained on."""
    max_blank_share: Share = 0.05
    """Images of one grey, or whose content fills less than a fifth of the square."""
    max_position_suspect_share: Share = 0.1
    """Radiographs that seem inverted or turned: a few are false alarms, a tenth is a fault of the export."""
    max_duplicate_share: Share = 0.2
    """Images that repeat another pixel by pixel: they count twice in every step."""
    max_other_patient_share: Share = 0.05
    """Pictures that another patient has too: two people never have the same, so these are mixed up, and
    contrastive learning would push them apart."""
    max_leaked_share: Share = 0.1
    """Held-out images of which training sees a twin: evaluation would measure memory."""
    max_empty_report_share: Share = 0.1
    """Reports without findings, impression or other text: an export that leaves the text out."""
    max_template_share: Share = 0.5
    """Reports that are one form, values aside: image and text would have nothing to tell each other. Half of
    a ward's studies may well be normal and say so in the same words."""
    languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("en",)
    """Languages of the reports, ISO 639-1: the vocabulary comes from public text in these."""
    max_foreign_share: Share = 0.1
    """Reports in any other language; those too short to tell do not count."""
    max_identifier_suspect_share: Share = 0.15
    """Reports that may still name somebody, by a second look that is generous. Of real reports it suspects 34
    to 47 % before de-identification, and 0 to 8 % after it: places and firms. It stops a store whose reports
    were not de-identified; single names are for people to find on the page."""
