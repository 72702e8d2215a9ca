"""Which identifiers are of one person: a table that the site keeps, for the unit of privacy is the person.

HOME/patient-links.csv   patient_id,person: an identifier, and the identifier that its person is known by

One person has several where hospitals merged, or where somebody was admitted without papers. All of them get
the pseudonym of `person`, so they are one patient in split, sampling, clipping and days.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client.ingest.images.header import Header, Patient
from client.ingest.reports import read_rows
from common.errors import InputRefusedError

LINKS = "patient-links.csv"
IDENTIFIER, PERSON = "patient_id", "person"


@dataclass(frozen=True)
class Links:
    """Identifier -> the one that its person is known by, itself included; others stand for themselves."""

    lead: Mapping[str, str] = field(default_factory=dict)

    def lead_of(self, patient_id: str) -> str:
        """What the person with this identifier is known by."""
        return self.lead.get(patient_id, patient_id)

    def person(self, patient: Patient) -> Patient:
        """Who this is; whoever gave out a linked identifier is of no account."""
        return (self.lead[patient[0]], "") if patient[0] in self.lead else patient

    def require_clear(self, images: Iterable[Header]) -> None:
        """Refuse a linked identifier that two issuers gave out: nobody can say which person was meant.

        Raises:
            InputRefusedError: with the number of such identifiers, and none of them.
        """
        issuers: dict[str, set[str]] = {}
        for image in images:
            if image.patient_id in self.lead:
                issuers.setdefault(image.patient_id, set()).add(image.issuer)
        vague = sum(len(each) > 1 for each in issuers.values())
        if vague:
            raise InputRefusedError(
                f"{vague} identifiers in the table of linked patients were given out by several issuers, so "
                "it does not say whose they are: make them unique, or ingest each issuer's images apart"
            )


NOT_LINKED = Links()


def read_links(path: Path) -> Links:
    """Read a CSV file with columns `patient_id` and `person`; a person's own identifier needs no line.

    Raises:
        ConfigurationError: no such file, or a column is missing.
        InputRefusedError: an identifier is given to two persons, or a line lacks one of the two.
    """
    lead: dict[str, str] = {}
    for line, row in read_rows(path, (IDENTIFIER, PERSON)):
        identifier, person = ("", "") if row is None else (row[IDENTIFIER].strip(), row[PERSON].strip())
        if not identifier or not person:
            raise InputRefusedError(
                f"{path}, line {line}: needs a {IDENTIFIER} and a {PERSON}; mend it and ingest again"
            )
        for one in (identifier, person):
            if lead.setdefault(one, person) != person:
                raise InputRefusedError(
                    f"{path}, line {line}: an identifier is linked to two persons; "
                    f"give all identifiers of one person the same {PERSON}, and ingest again"
                )
    return Links(lead)
