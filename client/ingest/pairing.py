"""Which report belongs to which image.

A report belongs to the instances it names; if it names none, to all images of its accession number, failing
that of its study UIDs, failing that to the image files it names. It never crosses patients. Where more than
`MAX_REPORTS` come to one image, what they name it by stands for no study, and none of them counts as its own.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from client.ingest.images.header import Header, Patient
from client.ingest.links import NOT_LINKED, Links
from client.ingest.rejected import Reason
from client.ingest.reports import ImageRecord, Report, Shelf

MAX_COPIES = 8
"""Files that one record may mean (a picture kept in several formats); more, and its name is too vague."""
MAX_REPORTS = 32
"""Of one image: a study has a report, a preliminary one, some addenda."""

MOST_REMEMBERED = 4096
"""Answers that are kept, for reports that ask the same."""

NOBODY: Patient = ("", "")


def of_study(number: str) -> Patient:
    """The patient who is known by one study alone."""
    return "", f"of study {number}"


@dataclass(frozen=True)
class Pairing:
    """The reports with images; of every other one the shelf says that it is alone, or refused."""

    reports_of: tuple[tuple[int, ...], ...]
    """For each image its reports, in the order they came."""

    @property
    def num_paired(self) -> int:
        """Reports with at least one image."""
        return len({number for numbers in self.reports_of for number in numbers})


def pair(
    images: Sequence[Header],
    reports: Shelf,
    *,
    files: Sequence[str] = (),
    nameless_by_study: bool = False,
    links: Links = NOT_LINKED,
) -> Pairing:
    """Bring images and reports together; the shelf learns whose each report is, or why it is refused.

    A report that names instances of which none is here stays without an image: its accession's other images
    have reports of their own. A report with a `patient_id` is refused where its images say otherwise. Reports
    that name their instances are counted against `MAX_REPORTS` apart from those that do not.

    Memory: that of the images, whatever the number of reports.

    Args:
        images: the headers of all images.
        reports: all reports.
        files: path of each image's file in its folder; without it no report is paired by file name.
        nameless_by_study: take a report without an image or a patient as its accession's; else it is refused.
        links: which identifiers are of one person; the images' are linked already.
    """
    index = _Index(images, files, links)
    named, vague = _Matches(len(images)), _Matches(len(images))
    for number, report in reports.reports():
        found = index.find(report)
        patient = links.person((report.patient_id, index.issuer(report.patient_id)))
        if not report.patient_id and nameless_by_study and report.accession:
            patient = of_study(report.accession)
        if isinstance(found, Reason):
            reports.refuse(number, found)
        elif found:
            if not (named if report.instance_uids else vague).add(number, found):
                reports.refuse(number, Reason.TOO_MANY_REPORTS)
        elif patient == NOBODY:
            reports.refuse(number, Reason.NO_PATIENT)
        else:
            reports.belongs(number, patient, alone=True)
    for number in sorted(named.crowd() | vague.crowd()):
        reports.refuse(number, Reason.TOO_MANY_REPORTS)
    reports_of = tuple(tuple(sorted(both)) for both in map(chain, named.uncrowded(), vague.uncrowded()))
    owners = {number: image.patient for image, own in zip(images, reports_of, strict=True) for number in own}
    for number, patient in owners.items():
        reports.belongs(number, patient, alone=False)
    return Pairing(reports_of)


class _Matches:
    """Which reports are of which image. None is counted beyond the bound: a million of one are soon known."""

    def __init__(self, num_images: int) -> None:
        self._reports_of: list[list[int]] = [[] for _ in range(num_images)]

    def add(self, number: int, images: Sequence[int]) -> bool:
        """Take a report of these images; False if one of them has more than `MAX_REPORTS`."""
        if any(len(self._reports_of[image]) > MAX_REPORTS for image in images):
            return False
        for image in images:
            self._reports_of[image].append(number)
        return True

    def crowd(self) -> set[int]:
        """The reports that share an image with more than `MAX_REPORTS`."""
        return {number for numbers in self._reports_of if len(numbers) > MAX_REPORTS for number in numbers}

    def uncrowded(self) -> Iterator[list[int]]:
        """For each image its reports, without those of `crowd`."""
        crowd = self.crowd()
        return ([number for number in numbers if number not in crowd] for numbers in self._reports_of)


def identify(
    images: Sequence[Header], records: Iterable[ImageRecord], *, files: Sequence[str]
) -> list[Header]:
    """Fill in what a data set's tables say of images whose own files do not say whose they are.

    A header that names its patient stays as it is, and so does one of which the tables say two things, or
    only by a name that many files have.

    Args:
        images: the headers of all images; `patient_id` is "" where the file does not say it.
        records: what the tables say.
        files: path of each image's file in its folder.
    """
    names = FileNames(files)
    claims: defaultdict[int, dict[tuple[str, str], ImageRecord]] = defaultdict(dict)
    for record in records:
        matches = names.find(record.file_name)
        for match in matches if len(matches) <= MAX_COPIES else ():
            claims[match].setdefault((record.patient_id, record.accession), record)
    identified = list(images)
    for number, said in claims.items():
        image = images[number]
        if not image.patient_id and len(said) == 1:
            (record,) = said.values()
            identified[number] = replace(
                image,
                patient_id=record.patient_id,
                accession=image.accession or record.accession,
                view=image.view or record.view,
            )
    return identified


class _Node:
    """The files whose paths end in the same parts, by the part before."""

    __slots__ = ("before", "ends")

    def __init__(self) -> None:
        self.before: dict[str, _Node] = {}
        self.ends: list[int] = []
        """Files that have no part before."""


class FileNames:
    """Finds image files by the names that reports and tables give them."""

    def __init__(self, files: Sequence[str]) -> None:
        """Index `files`, paths relative to one folder."""
        self._last = [(_parts(file) or [""])[-1] for file in files]
        self._root = _Node()
        self._found: dict[str, list[int]] = {}
        for number, file in enumerate(files):
            node = self._root
            for part in _from_the_end(file):
                node = node.before.setdefault(part, _Node())
            node.ends.append(number)

    def find(self, name: str) -> list[int]:
        """The files that `name` means, by number; several if it is not enough to tell them apart.

        Suffixes may differ or be absent. As many of the last folders as both give must agree, so that
        `train/patient1/view1.jpg` means `patient1/view1.png` and not `patient2/view1.png`; of several, those
        that agree in most parts, and among these those with the very suffix.
        """
        if len(self._found) >= MOST_REMEMBERED:
            self._found.clear()
        if name not in self._found:
            found, last = self._search(_from_the_end(name)), (_parts(name) or [""])[-1]
            exact = [number for number in found if self._last[number] == last]
            self._found[name] = exact or found
        return self._found[name]

    def _search(self, wanted: tuple[str, ...]) -> list[int]:
        node, ended = self._root, list[int]()
        for part in wanted:
            if (before := node.before.get(part)) is None:
                return ended
            node, ended = before, before.ends or ended
        return sorted(_all_under(node)) if wanted else []


def _all_under(node: _Node) -> list[int]:
    numbers, waiting = [], [node]
    while waiting:
        one = waiting.pop()
        numbers += one.ends
        waiting += one.before.values()
    return numbers


def _from_the_end(name: str) -> tuple[str, ...]:
    """The parts of a path, the file's name without its suffix first."""
    *folders, last = _parts(name) or [""]
    return (_stem(last), *reversed(folders)) if last else ()


def _parts(name: str) -> list[str]:
    return [part for part in re.split(r"[/\\]+", name.strip()) if part not in ("", ".")]


def _stem(name: str) -> str:
    """The name without the suffix of an image, if it has one."""
    return re.sub(r"(?<=.)\.(?:dcm|dicom|jpe?g|png|tiff?|bmp)$", "", name, flags=re.IGNORECASE)


class _Index:
    """The images by everything that a report may name them by."""

    def __init__(self, images: Sequence[Header], files: Sequence[str], links: Links) -> None:
        self._images, self._lead = images, links.lead_of
        self._names = FileNames(files)
        self._answers: dict[tuple[object, ...], list[int] | Reason] = {}
        self._by_instance: defaultdict[str, list[int]] = defaultdict(list)
        self._by_accession: defaultdict[str, list[int]] = defaultdict(list)
        self._by_study: defaultdict[str, list[int]] = defaultdict(list)
        self._issuers: defaultdict[str, set[str]] = defaultdict(set)
        for number, image in enumerate(images):
            self._by_instance[image.instance_uid].append(number)
            self._by_accession[image.accession].append(number)
            self._by_study[image.study_uid].append(number)
            self._issuers[image.patient_id].add(image.issuer)
        self._by_accession.pop("", None)
        self._by_study.pop("", None)

    def find(self, report: Report) -> list[int] | Reason:
        """The images of a report; none if they are not here, a reason if they cannot be its own."""
        if report.instance_uids:
            return self._judged(report)
        # Where one number stands for a whole archive, all its reports ask the same.
        numbers = (report.accession, *report.further_accessions)
        known = any(number in self._by_accession for number in numbers)
        known = known or any(uid in self._by_study for uid in report.study_uids)
        names = () if known else report.file_names
        key = (numbers, report.study_uids, names, report.patient_id)
        if len(self._answers) >= MOST_REMEMBERED:
            self._answers.clear()
        if key not in self._answers:
            self._answers[key] = self._judged(report)
        return self._answers[key]

    def _judged(self, report: Report) -> list[int] | Reason:
        found = self._of(report)
        return found if isinstance(found, Reason) else self._conflict(report, found) or found

    def _of(self, report: Report) -> list[int] | Reason:
        if report.instance_uids:
            return [number for uid in report.instance_uids for number in self._by_instance.get(uid, ())]
        for by, names in (
            (self._by_accession, (report.accession, *report.further_accessions)),
            (self._by_study, report.study_uids),
        ):
            found = sorted({number for name in names for number in by.get(name, ())})
            if found:
                return self._of_patient(report.patient_id, found)
        return self._named(report.file_names)

    def _of_patient(self, patient_id: str, candidates: list[int]) -> list[int]:
        """Keep the images of the report's patient, or all of them where there are none of that patient."""
        wanted = self._lead(patient_id)
        own = [image for image in candidates if self._lead(self._images[image].patient_id) == wanted]
        return own or candidates

    def _named(self, names: Iterable[str]) -> list[int] | Reason:
        found: dict[int, None] = {}
        for name in names:
            matches = self._names.find(name)
            if any(self._study(number) != self._study(matches[0]) for number in matches):
                return Reason.AMBIGUOUS_IMAGE
            found |= dict.fromkeys(matches)
        return sorted(found)

    def _study(self, number: int) -> tuple[Patient, str]:
        image = self._images[number]
        return image.patient, image.accession or image.study_uid or image.instance_uid

    def issuer(self, patient_id: str) -> str:
        """Who gave out this patient's number, by its images; "" where there are none."""
        return next(iter(self._issuers.get(patient_id, ())), "") if patient_id else ""

    def _conflict(self, report: Report, found: Sequence[int]) -> Reason | None:
        """Why a report cannot be of these images' patient, or None if it can."""
        patients = {self._images[number].patient for number in found}
        if report.patient_id and any(
            number not in ("", self._lead(report.patient_id)) for number, _ in patients
        ):
            return Reason.OTHER_PATIENT
        if len(patients) > 1:
            return Reason.SEVERAL_PATIENTS
        if not patients and report.patient_id and len(self._issuers.get(report.patient_id, ())) > 1:
            return Reason.SEVERAL_PATIENTS
        return None
