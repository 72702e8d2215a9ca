"""FHIR DiagnosticReport (R4, and R5 where its names differ) as NDJSON, as a Bundle or alone.

Source: hl7.org/fhir/R4/diagnosticreport.html and hl7.org/fhir/R5/diagnosticreport.html. Patients, studies,
media and observations that a report refers to are looked up in its Bundle, or in all NDJSON files read with
it: a bulk export has one file for each type.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from client.ingest.rejected import Reason
from client.ingest.reports.fhir_people import people
from client.ingest.reports.fhir_text import report_text
from client.ingest.reports.json_tree import Node, nodes, string, strings
from client.ingest.reports.report import (
    Copies,
    Found,
    Report,
    ReportFile,
    iso_date,
    language_tag,
    uid_in,
    unique,
)

MAX_LINE_BYTES = 1 << 26
"""Of one NDJSON line: a report may carry itself as PDF too."""
MAX_DOCUMENT_BYTES = 1 << 28
"""Of one JSON document, which is parsed whole."""

LINES = frozenset({".ndjson", ".jsonl"})
REPORT_TYPE = "DiagnosticReport"
CONTEXT = frozenset(
    {"Patient", "ImagingStudy", "ImagingSelection", "Media", "DocumentReference", "Observation", "Binary"}
    | {"ServiceRequest", "Composition", "Practitioner", "PractitionerRole", "Organization", "Encounter"}
)
"""Types that a report may refer to for its identity, its people or its text."""
WITHDRAWN = frozenset({"entered-in-error", "cancelled"})

_NOTHING: Node = {}
_IMAGE_NAME = re.compile(r"[^?#]+\.(?:dcm|jpe?g|png|tiff?|bmp)", re.IGNORECASE)
_UID_IN_URL = re.compile(r"(?:/instances/|objectUID=)([0-9.]+)")


Resource = tuple[str, Node, "Context"]
"""Where a resource stands, what it is, and what it may refer to."""


@dataclass
class Context:
    """The resources of a file that others refer to."""

    resources: dict[str, Node] = field(default_factory=dict)
    """By `Type/id` and by full URL."""

    def keep(self, resource: Node, full_url: str = "") -> None:
        """Make a resource known."""
        kind, number = string(resource, "resourceType"), string(resource, "id")
        if kind and number:
            self.resources[f"{kind}/{number}"] = resource
        if full_url:
            self.resources[full_url] = resource

    def resolver(self, owner: Node) -> Callable[[Node], Node]:
        """How to get from a reference within `owner` to its resource; {} where that is not here."""
        contained = {string(one, "id"): one for one in nodes(owner, "contained")}

        def resolve(reference: Node) -> Node:
            target = string(reference, "reference")
            if not target:
                return _NOTHING
            if target.startswith("#"):
                return contained.get(target[1:], _NOTHING)
            plain = target.split("/_history/")[0]
            return self.resources.get(plain) or self.resources.get("/".join(plain.split("/")[-2:]), _NOTHING)

        return resolve


def is_fhir(path: Path, start: bytes) -> bool:
    """Tell whether `path`, which begins with `start`, is JSON that holds FHIR resources."""
    if path.suffix.lower() in LINES:
        return True
    begins = start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    return begins and (path.suffix.lower() == ".json" or b'"resourceType"' in start)


def read_fhir(files: Sequence[ReportFile], found: Found) -> None:
    """Read FHIR files; of several versions of one report (the same id) the last counts."""
    lines = []
    for file in files:
        try:
            document = _document(file)
        except OSError:
            found.refuse(file.place, Reason.UNREADABLE)
            continue
        if document is None:
            lines.append(file)
        elif isinstance(document, Reason):
            found.refuse(file.place, document, _advice(file) if document is Reason.TOO_LONG else "")
        else:
            _take(_of_document(file.place, document), found, scope=file.place)
    _take(_of_lines(lines, found), found, scope="")


def _advice(file: ReportFile) -> str:
    return (
        f"{file.path.name} is one JSON document of more than {MAX_DOCUMENT_BYTES >> 20} MiB; "
        "export it as NDJSON, one report on each line"
    )


def _take(resources: Iterable[Resource], found: Found, *, scope: str) -> None:
    """Read the reports among the resources of one scope, in which an id is given once."""
    for place, resource, context in resources:
        kind = string(resource, "resourceType")
        if kind == REPORT_TYPE:
            report = _read(place, resource, context)
            copies = _versions(resource, scope)
            if isinstance(report, Reason):
                found.refuse(place, report, copies=copies)
            else:
                found.add(report, copies)
        elif kind not in CONTEXT:
            found.refuse(place, Reason.NOT_A_REPORT)


def _versions(resource: Node, scope: str) -> Copies | None:
    number = string(resource, "id")
    return Copies(json.dumps([scope, number]), string(resource, "meta", "lastUpdated")) if number else None


def _of_document(place: str, value: object) -> list[Resource]:
    """The resources of one Bundle, which know of one another only."""
    context = Context()
    opened = list(_opened(place, value, context))
    return [(where, resource, context) for where, resource in opened]


def _document(file: ReportFile) -> object | Reason | None:
    """Parse the file as one JSON value; None where it is rather one on each line."""
    file.path.open("rb").close()
    if file.path.suffix.lower() in LINES:
        return None
    if file.path.stat().st_size > MAX_DOCUMENT_BYTES:
        with file.path.open("rb") as opened:
            first = _parse(opened.readline(MAX_LINE_BYTES))
        if isinstance(first, dict):
            return None
        return Reason.TOO_LONG
    content = file.path.read_bytes()
    value = _parse(content)
    if isinstance(value, Reason) and isinstance(_parse(content.lstrip().split(b"\n", 1)[0]), dict):
        return None
    return value


def _opened(place: str, value: object, context: Context) -> Iterator[tuple[str, Node]]:
    """Take Bundles and lists apart, whatever their depth, and tell the context what is in them."""
    waiting: list[tuple[str, object, str]] = [(place, value, "")]
    while waiting:
        where, one, full_url = waiting.pop()
        if isinstance(one, list):
            waiting += [(f"{where}#{number}", item, "") for number, item in enumerate(one, start=1)][::-1]
        elif isinstance(one, dict) and string(one, "resourceType") == "Bundle":
            entries = enumerate(nodes(one, "entry"), start=1)
            waiting += [
                (f"{where}#{number}", entry.get("resource"), string(entry, "fullUrl"))
                for number, entry in entries
            ][::-1]
        else:
            resource = one if isinstance(one, dict) else {}
            context.keep(resource, full_url)
            yield where, resource


def _of_lines(files: Sequence[ReportFile], found: Found) -> Iterator[Resource]:
    """Read NDJSON files twice, each line parsed once: what reports may refer to, then the reports."""
    context, marker = Context(), f'"{REPORT_TYPE}"'.encode()
    for with_reports in (False, True):
        for place, line in (numbered for file in files for numbered in _lines(file)):
            if (line is not None and marker in line) is not with_reports:
                continue
            value = Reason.TOO_LONG if line is None else _parse(line)
            if isinstance(value, Reason):
                found.refuse(place, value)
            elif isinstance(value, dict) and string(value, "resourceType") != "Bundle":
                if string(value, "resourceType") != REPORT_TYPE:
                    context.keep(value)
                yield place, value, context
            else:
                _take(_of_document(place, value), found, scope=place)


def _lines(file: ReportFile) -> Iterator[tuple[str, bytes | None]]:
    """The lines that are not blank, each with its place; None for one beyond all measure."""
    with file.path.open("rb") as opened:
        number = 0
        while line := opened.readline(MAX_LINE_BYTES):
            number += 1
            whole = line.endswith(b"\n") or len(line) < MAX_LINE_BYTES
            rest = line
            while rest and not whole and not rest.endswith(b"\n"):
                rest = opened.readline(MAX_LINE_BYTES)
            if line.strip():
                yield f"{file.place}:{number}", line if whole else None


def _parse(content: bytes) -> object | Reason:
    try:
        value: object = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    except RecursionError:
        return Reason.TOO_DEEP
    except ValueError:
        return Reason.MALFORMED_REPORT
    return value


def _read(place: str, resource: Node, context: Context) -> Report | Reason:
    if string(resource, "status") in WITHDRAWN:
        return Reason.WITHDRAWN
    resolve = context.resolver(resource)
    text = report_text(resource, resolve)
    if isinstance(text, Reason):
        return text
    accessions = unique(_accessions(resource, resolve))
    return Report(
        place=place,
        accession=next(iter(accessions), ""),
        patient_id=_patient(resource, resolve),
        instance_uids=unique(_instances(resource, resolve)),
        text=text.words,
        further_accessions=accessions[1:],
        study_uids=unique(_studies(resource, resolve)),
        file_names=unique(_file_names(resource, resolve)),
        date=next(filter(None, map(iso_date, _dates(resource))), ""),
        language=language_tag(string(resource, "language")),
        sections=text.sections,
        identifiers=people(resource, resolve),
    )


def _dates(resource: Node) -> list[str]:
    return [
        *strings(resource, "effectiveDateTime"),
        *strings(resource, "effectivePeriod", "start"),
        *strings(resource, "issued"),
    ]


def _patient(resource: Node, resolve: Callable[[Node], Node]) -> str:
    """The medical record number, else any number of the patient; a server's own id is none."""
    for subject in nodes(resource, "subject"):
        identifiers = [*nodes(subject, "identifier"), *nodes(resolve(subject), "identifier")]
        records = [one for one in identifiers if "MR" in strings(one, "type", "coding", "code")]
        for identifier in [*records, *identifiers]:
            if number := string(identifier, "value"):
                return number
    return ""


def _accessions(resource: Node, resolve: Callable[[Node], Node]) -> Iterator[str]:
    """Accession numbers of the report, its orders and its studies; failing these, its only number."""
    own = list(nodes(resource, "identifier"))
    candidates = [*own]
    for reference in [*nodes(resource, "basedOn"), *_study_references(resource)]:
        candidates += [*nodes(reference, "identifier"), *nodes(resolve(reference), "identifier")]
    numbers = [string(one, "value") for one in candidates if _is_accession(one)]
    if not numbers and len(own) == 1 and not strings(own[0], "type", "coding", "code"):
        numbers = [string(own[0], "value")]
    yield from numbers


def _is_accession(identifier: Node) -> bool:
    words = [*strings(identifier, "type", "text"), string(identifier, "system")]
    return "ACSN" in strings(identifier, "type", "coding", "code") or any(
        "accession" in word.lower() for word in words
    )


def _study_references(resource: Node) -> list[Node]:
    """`imagingStudy` of R4 is `study` in R5, which may also name it as supporting information."""
    return [
        *nodes(resource, "imagingStudy"),
        *nodes(resource, "study"),
        *nodes(resource, "supportingInfo", "reference"),
    ]


def _studies(resource: Node, resolve: Callable[[Node], Node]) -> Iterator[str]:
    for reference in _study_references(resource):
        target = resolve(reference)
        kind = string(target, "resourceType")
        if kind in ("", "ImagingStudy"):
            values = [*strings(reference, "identifier", "value"), *strings(target, "identifier", "value")]
            yield from map(uid_in, [*values, string(reference, "reference")])
        elif kind == "ImagingSelection":
            yield uid_in(string(target, "studyUid"))


def _images(resource: Node, resolve: Callable[[Node], Node]) -> Iterator[tuple[Node, Node]]:
    """References to images, and what they refer to."""
    for link in nodes(resource, "media", "link"):
        yield link, resolve(link)


def _instances(resource: Node, resolve: Callable[[Node], Node]) -> Iterator[str]:
    for link, target in _images(resource, resolve):
        named = [*strings(link, "identifier", "value"), *strings(target, "identifier", "value")]
        yield from map(uid_in, [*named, string(link, "reference")])
        for url in _urls(target):
            yield from map(uid_in, _UID_IN_URL.findall(url))
    for reference in nodes(resource, "supportingInfo", "reference"):
        target = resolve(reference)
        if string(target, "resourceType") == "ImagingSelection":
            yield from map(uid_in, strings(target, "instance", "uid"))


def _urls(target: Node) -> list[str]:
    """Where an image lies: `content` is an attachment in Media, and holds some in DocumentReference."""
    attachments = [*nodes(target, "content"), *nodes(target, "content", "attachment")]
    return [url for one in attachments for url in (*strings(one, "url"), *strings(one, "title"))]


def _file_names(resource: Node, resolve: Callable[[Node], Node]) -> Iterator[str]:
    for link, target in _images(resource, resolve):
        for url in [*_urls(target), *strings(link, "display"), *strings(link, "reference")]:
            if match := _IMAGE_NAME.match(url):
                yield match[0].removeprefix("file://")
