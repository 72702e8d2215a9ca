"""The reports of a store: which repeat each other, in which language, how long, and who may be named in them.

A report counts once however many images of its study it stands at.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from client.ingest.deidentify import Identifiers, Span, suspects
from client.ingest.quality.language import language_of
from common.text.sections import training_text

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_BETWEEN = re.compile(r"[^\w#]+")


@dataclass(frozen=True)
class Report:
    """One report of one study."""

    row: int
    """Where it stands first."""
    patient: str
    sections: Mapping[str, str]

    @cached_property
    def text(self) -> str:
        """What training reads."""
        return training_text(self.sections)

    @cached_property
    def whole(self) -> str:
        """What is stored."""
        return "\n".join(self.sections.values())


def reports_of(
    studies: Sequence[str], patients: Sequence[str], sections: Sequence[Mapping[str, str]]
) -> list[Report]:
    """Each report once, in order of the rows; rows without a report are left out.

    Args:
        studies: by row.
        patients: by row.
        sections: by row; {} without a report.
    """
    seen: dict[tuple[str, tuple[tuple[str, str], ...]], Report] = {}
    for row, (study, patient, parts) in enumerate(zip(studies, patients, sections, strict=True)):
        if parts:
            seen.setdefault((study, tuple(parts.items())), Report(row, patient, parts))
    return list(seen.values())


def normalised(text: str) -> str:
    """`text` without case, punctuation and values, so that a form filled in differently is the same form."""
    return _BETWEEN.sub(" ", _NUMBER.sub("#", text.casefold())).strip()


@dataclass(frozen=True)
class Repeats:
    """How often reports say the same."""

    exact: int
    """Reports beyond the first of each text."""
    normalised: int
    """The same, of each normalised text."""
    of_other_patients: int
    """Of these, those that repeat another patient's."""
    template: tuple[int, ...]
    """Rows of the reports that are the most frequent normalised text; () where none comes twice."""


def repeats(reports: Sequence[Report]) -> Repeats:
    """Count them; empty reports are not texts."""
    spoken = [report for report in reports if report.text.strip()]
    forms: defaultdict[str, list[Report]] = defaultdict(list)
    for report in spoken:
        forms[normalised(report.text)].append(report)
    most = max(forms.values(), key=len, default=[])
    return Repeats(
        exact=len(spoken) - len({report.text for report in spoken}),
        normalised=len(spoken) - len(forms),
        of_other_patients=sum(len({report.patient for report in same}) - 1 for same in forms.values()),
        template=tuple(report.row for report in most) if len(most) > 1 else (),
    )


def languages(reports: Sequence[Report]) -> dict[int, str]:
    """Row -> language of the report, of those that say anything."""
    told: dict[str, str] = {}
    found = {}
    for report in reports:
        if report.text.strip():
            if report.text not in told:
                told[report.text] = language_of(report.text)
            found[report.row] = told[report.text]
    return found


def residual(reports: Sequence[Report]) -> dict[int, list[Span]]:
    """Row -> what may still name somebody in its report; the site's headers are not at hand any more."""
    told: dict[str, list[Span]] = {}
    found = {}
    for report in reports:
        if report.whole not in told:
            told[report.whole] = suspects(report.whole, Identifiers())
        if told[report.whole]:
            found[report.row] = told[report.whole]
    return found


def word_counts(reports: Sequence[Report]) -> Counter[int]:
    """Number of words -> number of reports, of what training reads."""
    return Counter(len(report.text.split()) for report in reports)
