"""Telephone numbers, addresses on the net, and identifiers: what is made of digits and is no measurement."""

import re
from collections.abc import Iterator

from client.ingest.deidentify.page import Page
from client.ingest.deidentify.spans import Span
from client.ingest.deidentify.vocabulary import words
from common.text.placeholders import Kind

UNITS = (
    r"(?:[cmµ]?m[23³²]?|HU|[mµk]?g|[mdµu]?[lL]|IU|U|units?|cells?|copies|platelets|[kMG]Bq|mCi|ms|kVp?|mAs?|Hz|mmHg"
    r"|bpm|%|per|x\s?10)(?![^\W_])"
)
"""After a number: it is a measurement."""

EMAIL = re.compile(
    r"[\w.+%'-]{1,64}\s{0,2}(?:@|\(at\)|\[at\])\s{0,2}[\w-]{1,63}(?:\s?\.\s{0,2}[\w-]{1,63}){0,6}"
)
EMAIL_MARK = re.compile(r"@|[(\[]at[)\]]")
LONGEST_MAILBOX = 66

LINK = re.compile(r"(?i)(?<![^\W_])(?:(?:https?|ftp)\s?:\s?//|www\.)[^\s<>\"]{1,4000}")
TOP_LEVELS = words("com org net edu gov info io example invalid")
DOMAIN_BEFORE = re.compile(r"(?<![\w.@-])[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.$")
PATH_AFTER = re.compile(r"(?:/[^\s<>\"]{0,4000})?")

PHONE = re.compile(
    rf"""(?x)
    (?: (?<=\+)\d{{1,3}}(?:[\s./()-]{{0,3}}\d){{6,14}}
      | (?<![\w.,+-])
        (?: (?:1[\s.-])?\(?\d{{3}}\)?[\s./-]{{1,3}}\d{{3}}[\s.-]{{1,3}}\d{{4}}
          | \d{{3}}-\s?\d{{4}}(?!-|\s?{UNITS})
          | 0\d{{1,5}}\)?(?:[\s./-]{{1,3}}\d{{2,8}}){{1,5}} )
    )(?!\d|[.,]\d)(?:\s?(?:x|ext\.?|extension)\s?\d{{1,6}})?
    """
)
"""From its first digit on: international, American with and without area code, with a leading zero."""
FEWEST_PHONE_DIGITS = 7
PHONE_WORDS = words(
    """
    tel telephone phone fon mobile cell fax pager beeper bleep ext extension handy mobil telefon telefono
    rufnummer durchwahl tlf call calling contact reached page paged poste
    """
)
PHONE_CUED = re.compile(
    r"(?i)\w+[ \t.:#]*(?:(?:me|us|back|number|no|nr|num|is|at|on|under|with|unter|au|al)\b[ \t.:#]*){0,3}"
    r"(?P<number>\+?\(?\d(?:[\s().\-/]{0,3}\d){2,17})(?!\d)"
)

ID_WORDS = words(
    """
    mrn mr ssn id ids pid nhs mpi npi accession acc record patientennummer fallnummer auftragsnummer pat fall
    versichertennummer dossier ipp nip nhc expediente dni nie cip historia case order visit encounter chart
    account acct policy insurance exam study request requisition specimen number numero nummer
    """
)
WEAK_ID_WORDS = words(
    """
    mr case order visit encounter chart exam study request specimen number record pat fall acc
    """
)
"""These also stand before counts; they need "number", "#" or a colon."""
ID_CUED = re.compile(
    r"""(?xi)
    \w+\.?-?
    (?P<mark>[ \t]*(?:(?:number|num|no|nr|id|nummer|numéro|n[°º]|de|is)\b\.?[ \t]*|[#:=.][ \t]*){0,4}
       \n?[ \t]*)
    (?P<number>(?-i:[A-Z]{0,5})[-.\ ]?\d(?:[./-]?[A-Z0-9]|[ ]\d){2,30})(?![A-Z0-9])
    """
)

LONG_NUMBER = re.compile(rf"(?<!\d)(?<!\d[.,])\d{{6,}}(?!\d)(?!\s?(?:/\s?)?{UNITS})")
GROUPED = re.compile(
    r"(?<![\w.,-])(?:\d{3}-\d{2}-\d{4}|\d{3,4}(?:[ -]\d{3,4}){2,4}|\d{2,3}(?:\.\d{3}){2,3}[-/]\d{1,2})"
    r"(?![\w-]|[.,]\d)"
)
"""Social security numbers, health numbers in groups, Swiss, Spanish and Brazilian ones with dots."""
DOTTED = re.compile(r"(?<![\w.])\d{1,10}(?:\.\d{1,64}){3,}(?![^\W_])")
FEWEST_UID_DIGITS = 8

LONGEST_CODE = 200
CODE = re.compile(rf"(?<![\w-])[\w-]{{6,{LONGEST_CODE}}}(?![\w-])")
MEASURE = re.compile(
    rf"(?i)(?:\d+(?:x\d+)+(?:mm|cm)?|\d{{1,6}}{UNITS}|g\d+p\d+\w{{0,6}}|(?:[ctls]\d{{1,2}}-?){{2,6}}|\d{{1,4}}-\d{{1,4}}"
    r"|(?:19|20)\d\d-[a-z]+|[a-z]+-(?:19|20)\d\d|p?t\d\w?n\d\w?m\d\w?)"
)
FEWEST_CODE_DIGITS = 5


def numbers(page: Page) -> Iterator[Span]:
    """Everything that reaches or numbers a person."""
    yield from _on_the_net(page)
    if page.numbers:
        yield from _phones(page)
        yield from _identifiers(page)


def _on_the_net(page: Page) -> Iterator[Span]:
    text = page.text
    reached = 0
    for mark in EMAIL_MARK.finditer(text):
        begin = max(reached, mark.start() - LONGEST_MAILBOX)
        if match := _last_ending(EMAIL, text, begin, mark):
            reached = match.end()
            yield Span(match.start(), match.end(), Kind.EMAIL)
    if "www" in text or "://" in text or "WWW" in text or ": //" in text:
        yield from (_link(text, match.start(), match.end()) for match in LINK.finditer(text))
    for word in page.words:
        if word.folded in TOP_LEVELS and (before := DOMAIN_BEFORE.search(page.before(word.start, 100))):
            path = PATH_AFTER.match(text, word.end)
            yield _link(text, word.start - len(before[0]), path.end() if path else word.end)


def _link(text: str, start: int, end: int) -> Span:
    """Without the punctuation of the sentence."""
    return Span(start, start + len(text[start:end].rstrip(".,;:!?)]'")), Kind.LINK)


def _last_ending(
    pattern: re.Pattern[str], text: str, begin: int, mark: re.Match[str]
) -> re.Match[str] | None:
    """The address around `mark`, begun at the first place from `begin` on where one can."""
    mailbox = re.search(r"[\w.+%'-]{1,64}\s{0,2}$", text[begin : mark.start()])
    return pattern.match(text, begin + mailbox.start()) if mailbox else None


def _phones(page: Page) -> Iterator[Span]:
    for match in page.at_numbers(PHONE):
        if sum(letter.isdigit() for letter in match[0]) >= FEWEST_PHONE_DIGITS and not _is_range(match[0]):
            opened = page.before(match.start(), 1) in ("+", "(")
            yield Span(match.start() - opened, match.end(), Kind.PHONE)
    for word in page.words:
        if word.folded in PHONE_WORDS and (cued := PHONE_CUED.match(page.text, word.start)):
            fewest = (
                3 if word.folded.startswith(("ext", "page", "bleep", "beep", "tel", "phone", "fax")) else 4
            )
            if sum(letter.isdigit() for letter in cued["number"]) >= fewest:
                yield Span(*cued.span("number"), Kind.PHONE)


def _is_range(number: str) -> bool:
    """Tell "150-1000" from a telephone number."""
    return re.fullmatch(r"\d{3}-\s?\d{2}00", number) is not None


def _identifiers(page: Page) -> Iterator[Span]:
    for pattern in (LONG_NUMBER, GROUPED):
        yield from (Span(match.start(), match.end(), Kind.ID) for match in page.at_numbers(pattern))
    for match in page.at_numbers(DOTTED):
        if sum(letter.isdigit() for letter in match[0]) >= FEWEST_UID_DIGITS:
            yield Span(match.start(), match.end(), Kind.ID)
    yield from _codes(page)
    yield from _cued_identifiers(page)


def _codes(page: Page) -> Iterator[Span]:
    text, reached = page.text, 0
    for start in page.numbers:
        if start < reached:
            continue
        begin = start
        while begin > max(reached, start - LONGEST_CODE) and (
            text[begin - 1].isalnum() or text[begin - 1] in "-_"
        ):
            begin -= 1
        if match := CODE.match(text, begin):
            reached = match.end()
            if is_code(match[0]):
                yield Span(begin, reached, Kind.ID)


def is_code(token: str) -> bool:
    """Tell an identifier ("A0112B5D545", "S-2021-12345") from "T10-T11", "20x42x42mm" and "mRNA-1273"."""
    digits = sum(letter.isdigit() for letter in token)
    if digits < FEWEST_CODE_DIGITS - 1 or MEASURE.fullmatch(token):
        return False
    runs = re.findall(r"\d+|[^\W\d_]+", token)
    if "-" not in token and "_" not in token:
        return (digits >= FEWEST_CODE_DIGITS and len(token) > digits) or (digits >= 4 and len(runs) >= 5)
    return digits > FEWEST_CODE_DIGITS and max(map(len, re.findall(r"\d+", token))) >= 4


def _cued_identifiers(page: Page) -> Iterator[Span]:
    for word in page.words:
        if word.folded not in ID_WORDS:
            continue
        match = ID_CUED.match(page.text, word.start)
        if match is None or (word.folded in WEAK_ID_WORDS and not match["mark"].strip(" \t\n.-")):
            continue
        fewest = 4 if word.folded in WEAK_ID_WORDS else 3
        if sum(letter.isdigit() for letter in match["number"]) >= fewest:
            yield Span(*match.span("number"), Kind.ID)
