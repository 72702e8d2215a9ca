"""The sections of a radiology report, and its sentences."""

import re
from collections.abc import Iterable, Mapping

Sections = dict[str, str]
"""Section name -> text, in the order of the report."""

REPORT = "report"
"""The section of a report without headers."""
PREAMBLE = "preamble"
"""What stands before the first header: often letterhead, so training reads it last."""

HEADERS: dict[str, str] = {
    "findings": r"(?:radiographic |imaging |ct |mri? |chest )?findings?",
    "impression": r"(?:final )?impressions?|conclusions?|opinion|summary"
    r"|findings? ?(?:and|/|&) ?impressions?",
    "indication": r"(?:clinical )?indications?(?: for (?:exam(?:ination)?|study))?"
    r"|(?:(?:past |present )?medical |clinical |patient )?history"
    r"|clinical (?:information|details|data)|reason for (?:the )?(?:exam(?:ination)?|study)",
    "technique": r"(?:imaging )?techniques?",
    "comparison": r"comparisons?(?: stud(?:y|ies))?|prior stud(?:y|ies)",
    "recommendation": r"recommendations?(?:\(s\))?",
    "notification": r"notifications?(?:\(s\))?",
    "addendum": r"addend(?:um|a)",
}
"""Section -> the words before its colon, as a pattern; the sections themselves are the keys."""

MARGIN = 40
"""Characters before a word in which `parse_sections` looks for the start of its line."""

TRAINED = ("findings", "impression", REPORT)
"""What training reads, in this order."""

_HEADER = re.compile(
    rf"(?<![\w-])({'|'.join(f'(?:{words})' for words in HEADERS.values())})[ \t]*:", re.IGNORECASE
)
_NAMES = [(name, re.compile(words, re.IGNORECASE)) for name, words in HEADERS.items()]


def parse_sections(report: str) -> Sections:
    """Split a report at its headers; no word but the headers themselves is lost.

    A header is one of `HEADERS` and a colon, in any case at the start of a line or sentence, in capitals
    anywhere. A section that comes twice is joined; one without text is left out. A report without headers is
    `{"report": text}`, a blank one `{}`.
    """
    found = _headers(report)
    if not found:
        return merge_sections([{REPORT: report}])
    parts = [{PREAMBLE: report[: found[0][1]]}]
    ends = [start for _, start, _ in found[1:]] + [len(report)]
    parts += [{name: report[after:end]} for (name, _, after), end in zip(found, ends, strict=True)]
    return merge_sections(parts)


def _headers(report: str) -> list[tuple[str, int, int]]:
    """Section name, start of the header and end of its colon, for each header."""
    found = []
    for match in _HEADER.finditer(report):
        if match[1].isupper() or _opens(report[max(0, match.start() - MARGIN) : match.start()]):
            name = next(name for name, pattern in _NAMES if pattern.fullmatch(match[1]))
            found.append((name, match.start(), match.end()))
    return found


def _opens(before: str) -> bool:
    """Tell whether a line or a sentence begins after `before`."""
    return before.rstrip(" \t").endswith(("\n", "\r", ".", ";", "!", "?")) or not before.strip()


def merge_sections(reports: Iterable[Mapping[str, str]]) -> Sections:
    """Join the sections of several reports, each section's texts in the order given, on their own lines."""
    merged: dict[str, list[str]] = {}
    for sections in reports:
        for name, text in sections.items():
            if text.strip():
                merged.setdefault(name, []).append(text.strip())
    return {name: "\n".join(texts) for name, texts in merged.items()}


def training_text(sections: Mapping[str, str]) -> str:
    """Return what training reads: findings, then impression, then the text of a report without headers.

    Only where all three are absent does it fall back to every other section, in the report's order. "" for
    an image without a report.
    """
    chosen = [sections[name] for name in TRAINED if sections.get(name)]
    return "\n".join(chosen or [text for text in sections.values() if text])


_BREAK = re.compile(
    # Each alternative starts where a run starts, so that a report of dots or line breaks stays linear.
    r"(?<![.!?])[.!?]+[\"')\]]*\s+|\n[ \t\r]*\n\s*|\n(?=[ \t]*(?:\d{1,2}[.)]|[-*•])\s)"
)
_ABBREVIATED = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|prof|st|vs|approx|resp|cf|e\.g|i\.e|et al|[a-z])\.$", re.IGNORECASE
)
_NUMBER_FOLLOWS = re.compile(r"(?:^|[\s(])(?:no|nr|fig|figs|vol|ref)\.$", re.IGNORECASE)
LONGEST_ABBREVIATION = 16
"""Characters before a full stop that decide whether it ends a sentence."""
_LIST_NUMBER = re.compile(r"^\s*\(?\d{1,2}[.)]$")
_LIST_MARK = re.compile(r"^\s*(?:\(?\d{1,2}[.)]|[-*•])\s+")


def split_sentences(text: str) -> list[str]:
    """Split at sentence ends, blank lines and list items; list marks go, every other word stays.

    "2.5 cm", "Dr. Lee", "No. 3", "e.g." and a list's "1." end no sentence; a line break within a sentence is
    a blank.
    """
    sentences, start = [], 0
    for match in _BREAK.finditer(text):
        ending = text[max(start, match.start() - LONGEST_ABBREVIATION) : match.end()].rstrip()
        following = text[match.end() : match.end() + 1]
        if match[0][0] != "\n" and not _ends_sentence(ending, following):
            continue
        sentences.append(text[start : match.end()])
        start = match.end()
    sentences.append(text[start:])
    plain = (" ".join(_LIST_MARK.sub("", sentence).split()) for sentence in sentences)
    return [sentence for sentence in plain if sentence]


def _ends_sentence(ending: str, following: str) -> bool:
    if _LIST_NUMBER.match(ending) or _ABBREVIATED.search(ending):
        return False
    return not (following.isdigit() and _NUMBER_FOLLOWS.search(ending))
