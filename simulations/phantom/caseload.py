"""Which patients come to a hospital, when, and with what: the plan from which studies are made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np

from simulations.phantom.anatomy import Body
from simulations.phantom.findings import NAMES, Findings, Name, draw_finding
from simulations.phantom.hospital import BANK, Hospital
from simulations.phantom.randomness import digest, stream

_FAMILY_NAMES = (
    "ALDERWICK", "BRANNAGH", "CASTELLO", "DUNMORE", "ESKELAND", "FAIRWEATHER", "GROENEVELD", "HALVORSEN",
    "ISHERWOOD", "JANSSENS", "KOVALENKO", "LINDQVIST", "MARCHETTI", "NAKAHARA", "OKONKWO", "PETROSYAN",
    "QUINLAN", "ROSENBAUM", "SZYMANSKI", "TREVANION", "UGARTE", "VASQUEZ", "WOLFENDEN", "ZIMMERLI",
)  # fmt: skip
_GIVEN_NAMES = {
    "F": ("Agnes", "Beatriz", "Chidi", "Dagny", "Elena", "Fumiko", "Greta", "Hana", "Ingrid", "Jamila"),
    "M": ("Anton", "Bram", "Cyril", "Dmitri", "Emeka", "Fergus", "Goran", "Hideo", "Ivar", "Jorge"),
}
_FIRST_DAY = date(2015, 1, 5)
_NUM_DAYS = 3200
_RETURNING_SHARE = 0.15
_SECOND_IMAGE_SHARE = 0.10


@dataclass(frozen=True)
class Patient:
    """An invented person; `key` is what their anatomy is drawn from."""

    key: str
    identifier: str
    name: str
    """DICOM form, empty in the public bank."""
    birth_date: date | None
    """Absent in the public bank."""
    sex: str
    age: int
    """Years at the first study."""


@dataclass(frozen=True)
class Study:
    """One examination: one image, sometimes two, and one report."""

    folder: str
    """The hospital, or the public bank, that keeps it."""
    hospital: Hospital
    """Whose scanner and wording it has."""
    seed: int
    number: int
    """Place in the caseload; with the seed and the folder it fixes everything that is drawn."""
    patient: Patient
    day: date
    is_follow_up: bool
    views: tuple[str, ...]
    findings: Findings

    @property
    def age(self) -> int:
        """Years on the day of the study."""
        born = self.patient.birth_date
        if born is None:
            return self.patient.age
        had_birthday = (self.day.month, self.day.day) >= (born.month, born.day)
        return self.day.year - born.year - (not had_birthday)

    @property
    def accession(self) -> str:
        """Unlike any other study's."""
        return "P" + digest(self.seed, self.folder, self.number, "accession").hex()[:10].upper()

    @property
    def uid(self) -> str:
        """Study instance UID."""
        return _uid(self.seed, self.folder, self.number, "study")

    @property
    def series_uid(self) -> str:
        """Series instance UID."""
        return _uid(self.seed, self.folder, self.number, "series")

    @property
    def instance_uids(self) -> tuple[str, ...]:
        """SOP instance UIDs, one per view."""
        numbers = range(len(self.views))
        return tuple(_uid(self.seed, self.folder, self.number, "instance", number) for number in numbers)

    def stream(self, *purpose: str | int) -> np.random.Generator:
        """Chance for `purpose` in this study."""
        return stream(self.seed, self.folder, self.number, *purpose)

    def body(self) -> Body:
        """The patient's anatomy, the same in each of their studies."""
        return Body.draw(
            stream(self.seed, self.folder, self.patient.key, "body"),
            sex=self.patient.sex,
            age=self.patient.age,
        )


def caseload(hospital: Hospital, *, seed: int) -> list[Study]:
    """Every study of `hospital`, by patient; each finding occurs, and about as often as its prevalence."""
    chance = stream(seed, hospital.name, "caseload")
    cases = _cases(hospital.num_studies, hospital.normal_share, hospital.prevalence, chance)
    return _studies(hospital.name, [hospital] * len(cases), cases, seed=seed, chance=chance)


def bank_caseload(hospitals: Sequence[Hospital], num_studies: int, *, seed: int) -> list[Study]:
    """Studies of the public bank: people of no hospital, scanners and wordings of all, findings balanced.

    Scanner and wording are drawn apart, so that in the bank, unlike at a hospital, neither tells the other.
    """
    chance = stream(seed, BANK, "caseload")
    cases = _cases(num_studies, 0.22, dict.fromkeys(NAMES, 0.27), chance)
    scanners = [hospitals[index % len(hospitals)] for index in chance.permutation(num_studies)]
    wordings = [hospitals[index % len(hospitals)] for index in chance.permutation(num_studies)]
    sources = [
        replace(scanner, style=wording.style) for scanner, wording in zip(scanners, wordings, strict=True)
    ]
    return _studies(BANK, sources, cases, seed=seed, chance=chance)


def _cases(
    count: int, normal_share: float, prevalence: Mapping[Name, float], chance: np.random.Generator
) -> list[Findings]:
    """What each study shows, by quota rather than by coin, so that small hospitals have every finding."""
    abnormal = chance.permutation(count)[: max(count - round(normal_share * count), min(count, 1))]
    present: list[list[Name]] = [[] for _ in range(count)]
    for name in NAMES:
        quota = min(len(abnormal), max(2, round(prevalence[name] * len(abnormal))))
        for study in chance.permutation(abnormal)[:quota]:
            present[int(study)].append(name)
    shares = np.array([prevalence[name] for name in NAMES])
    for study in abnormal:
        if not present[int(study)]:
            present[int(study)].append(NAMES[int(chance.choice(len(NAMES), p=shares / shares.sum()))])
    return [{name: draw_finding(name, chance) for name in names} for names in present]


def _studies(
    folder: str,
    sources: Sequence[Hospital],
    cases: Sequence[Findings],
    *,
    seed: int,
    chance: np.random.Generator,
) -> list[Study]:
    studies: list[Study] = []
    patients = 0
    while len(studies) < len(cases):
        patient = _patient(folder, patients, seed, chance)
        patients += 1
        day = _FIRST_DAY + timedelta(days=int(chance.integers(_NUM_DAYS - 400)))
        source = sources[len(studies)]
        for visit in range(2 if chance.random() < _RETURNING_SHARE else 1):
            if len(studies) == len(cases):
                break
            studies.append(
                Study(
                    folder=folder,
                    hospital=source,
                    seed=seed,
                    number=len(studies),
                    patient=patient,
                    day=day,
                    is_follow_up=visit > 0,
                    views=_views(source, chance),
                    findings=cases[len(studies)],
                )
            )
            day += timedelta(days=int(chance.integers(2, 370)))
    return studies


def _patient(folder: str, number: int, seed: int, chance: np.random.Generator) -> Patient:
    sex = "F" if chance.random() < 0.5 else "M"
    age = int(np.clip(chance.normal(58, 17), 18, 89))
    born = date(2015 - age, 1, 1) + timedelta(days=int(chance.integers(365)))
    family = _FAMILY_NAMES[int(chance.integers(len(_FAMILY_NAMES)))]
    given = _GIVEN_NAMES[sex][int(chance.integers(10))]
    first = int.from_bytes(digest(seed, folder, "identifiers")[:6], "big")
    identifier = str(1_000_000 + (first + 7919 * number) % 9_000_000)
    bank = folder == BANK
    return Patient(
        key=f"patient-{number}",
        identifier=f"PB{number:06d}" if bank else identifier,
        name="" if bank else f"{family}^{given}",
        birth_date=None if bank else born,
        sex=sex,
        age=age,
    )


def _views(hospital: Hospital, chance: np.random.Generator) -> tuple[str, ...]:
    first = "AP" if chance.random() < hospital.bedside_share else "PA"
    return (first, "AP") if chance.random() < _SECOND_IMAGE_SHARE else (first,)


def _uid(seed: int, *purpose: str | int) -> str:
    """A UID of the arc 2.25, as for a version 8 UUID. Source: DICOM PS3.5, B.2; RFC 9562, section 5.8."""
    value = int.from_bytes(digest(seed, *purpose)[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{value}"
