"""The text of a FHIR DiagnosticReport, from wherever in the resource it stands."""

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from client.ingest.rejected import Reason
from client.ingest.reports.encodings import decode_text
from client.ingest.reports.hypertext import plain_text
from client.ingest.reports.json_tree import Node, at, nodes, string, strings
from client.ingest.reports.report import MAX_TEXT_BYTES, in_sections, written
from common.text.sections import REPORT, Sections, section_named

Resolve = Callable[[Node], Node]
_MARKUP = frozenset({"text/html", "application/xhtml+xml"})


@dataclass(frozen=True)
class Text:
    """The words of a report, and their sections where the resource divides them; else {}."""

    words: str
    sections: Sections


def report_text(resource: Node, resolve: Resolve) -> Text | Reason:
    """Read the report: as it was presented, else composed, else results and conclusion, else the narrative.

    A conclusion that the presented form does not contain is its impression. Where there are no words, why:
    `EMPTY_REPORT`, or what is wrong with the presented form.
    """
    presented, trouble = _presented(resource, resolve)
    conclusion = "\n".join(strings(resource, "conclusion"))
    if presented:
        if _squeezed(conclusion) in _squeezed(presented):
            return Text(presented, {})
        return _sectioned([(REPORT, presented), ("impression", conclusion)])
    if composed := list(_composed(resource, resolve)):
        return _sectioned(composed)
    if results := list(_results(resource, resolve)):
        return _sectioned([*results, ("impression", conclusion)])
    words = conclusion or "\n".join(map(plain_text, strings(resource, "text", "div")))
    return Text(words, {}) if words else trouble


def _sectioned(parts: list[tuple[str, str]]) -> Text:
    sections = in_sections(parts)
    return Text(written(sections), sections)


def _squeezed(text: str) -> str:
    return " ".join(text.split()).casefold()


def _presented(resource: Node, resolve: Resolve) -> tuple[str, Reason]:
    """The first of the equivalent forms that can be read, plain text before HTML; else "" and why."""
    forms = sorted(nodes(resource, "presentedForm"), key=lambda form: _media_type(form) != "text/plain")
    trouble = Reason.EMPTY_REPORT
    for form in forms:
        text = _attached(form, resolve)
        if isinstance(text, Reason):
            trouble = text
        elif text.strip():
            return text, trouble
    return "", trouble


def _media_type(attachment: Node) -> str:
    return string(attachment, "contentType").split(";")[0].strip().lower()


def _attached(attachment: Node, resolve: Resolve) -> str | Reason:
    """Text of an attachment, in it or in a Binary that is here, or why it cannot be read."""
    binary = resolve({"reference": string(attachment, "url")})
    kind = _media_type(attachment) or _media_type(binary)
    data = string(attachment, "data") or string(binary, "data")
    if not data or not (kind.startswith("text/") or kind in _MARKUP) or kind == "text/rtf":
        return Reason.UNSUPPORTED_FORM
    if len(data) > 2 * MAX_TEXT_BYTES:
        return Reason.TOO_LONG
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError):
        return Reason.MALFORMED_REPORT
    text = _decoded(content, string(attachment, "contentType"))
    if text is None:
        return Reason.NOT_TEXT
    return plain_text(text) if kind in _MARKUP else text


def _decoded(content: bytes, content_type: str) -> str | None:
    """Decode by the declared character set, else by what the bytes look like."""
    declared = re.search(r"charset=\"?([\w.:-]+)", content_type, re.IGNORECASE)
    try:
        if declared and codecs.lookup(declared[1]).name != "utf-8":
            return content.decode(declared[1])
    except (LookupError, ValueError):
        pass
    return decode_text(content)


def _composed(resource: Node, resolve: Resolve) -> Iterator[tuple[str, str]]:
    """Sections of the Composition that R5 reports refer to."""
    for reference in nodes(resource, "composition"):
        for section in nodes(resolve(reference), "section"):
            title, text = string(section, "title"), plain_text(string(section, "text", "div"))
            name = section_named(title)
            yield name or REPORT, text if name or not title else f"{title}: {text}"


def _results(resource: Node, resolve: Resolve) -> Iterator[tuple[str, str]]:
    """Text of the observations and of their members, in order; under a header of ours, else findings."""
    waiting = list(nodes(resource, "result"))[::-1]
    seen: set[int] = set()
    while waiting:
        observation = resolve(waiting.pop())
        if id(observation) in seen:
            continue
        seen.add(id(observation))
        label = string(observation, "code", "text") or string(observation, "code", "coding", "display")
        name = section_named(label)
        for value in _values(observation):
            yield name or "findings", value if name or not label else f"{label}: {value}"
        waiting += list(nodes(observation, "hasMember"))[::-1]


def _values(observation: Node) -> Iterator[str]:
    for node in (observation, *nodes(observation, "component")):
        coded = strings(node, "valueCodeableConcept", "text") or strings(
            node, "valueCodeableConcept", "coding", "display"
        )
        values = [*strings(node, "valueString"), *coded[:1], *_quantities(node)]
        own = "" if node is observation else string(node, "code", "text")
        yield from (f"{own}: {value}" if own else value for value in values)
    yield from strings(observation, "note", "text")


def _quantities(node: Node) -> Iterator[str]:
    for quantity in nodes(node, "valueQuantity"):
        for value in at(quantity, "value"):
            if isinstance(value, int | float):
                unit = string(quantity, "unit") or string(quantity, "code")
                yield f"{value} {unit}".strip()
