"""Dates and times of day in the forms that reports use, and ages above 89.

A bare year stays, as do "3 months ago" and ages up to 89: they are medicine and tell nobody apart. A date
becomes a token and no offset: with offsets, one date known from elsewhere would give back all the others.
"""

import re
from collections.abc import Iterator

from client.ingest.deidentify.page import Page
from client.ingest.deidentify.spans import Span
from client.ingest.deidentify.vocabulary import words
from common.text.placeholders import Kind

MONTHS = words(
    """
    january february march april may june july august september october november december januar janner
    februar feber marz maerz mai juni juli oktober dezember janvier fevrier mars avril juin juillet aout
    septembre octobre novembre decembre enero febrero marzo abril mayo junio julio agosto septiembre
    setiembre octubre noviembre diciembre gennaio febbraio aprile maggio giugno luglio settembre ottobre
    dicembre
    """
)
"""English, German, French, Spanish, Italian; folded."""
SHORT_MONTHS = words(
    """
    jan feb mar apr jun jul aug sep sept oct nov dec mrz okt dez janv fevr avr juil ene abr ago dic
    """
)
WORDS_TOO = words("may march mars mai ago set dec mar sep jan jun nov")
"""Months that in small letters may be another word; those need a year."""
WEEKDAYS = words(
    """
    monday tuesday wednesday thursday friday saturday sunday mon tue tues wed thu thur thurs fri sat sun
    montag dienstag mittwoch donnerstag freitag samstag sonnabend sonntag lundi mardi mercredi jeudi vendredi
    samedi dimanche lunes martes miercoles jueves viernes sabado domingo
    """
)

YEAR = r"(?:(?:19|20)\d\d|['’]?\d\d)(?![\d:]|[.,]\d)"
AFTER_MONTH = re.compile(
    rf"""(?x)
    [.,]?[\s\-/]{{0,3}}
    (?: (?P<day>[0-3]?\d)(?!\d|[.:]\d)(?:st|nd|rd|th)?
        (?:\s?[-–/]\s?[0-3]?\d(?!\d)(?:st|nd|rd|th)?)?
        (?:[\s,.\-/]{{0,3}}(?:of\s|del?\s)?(?P<dayyear>{YEAR}))?
      | (?:of\s|del?\s)?(?P<year>(?:19|20)\d\d(?!\d)|['’]\d\d(?!\d))
    )
    """
)
"""Day, days or year after a month."""
BEFORE_MONTH = re.compile(
    r"""(?x)
    (?<![\d.,])
    (?:[0-3]?\d(?:st|nd|rd|th|er|\.)?(?:\s?(?:-|–|/|to|and|bis|au|al)\s?)?)?
    [0-3]?\d(?:st|nd|rd|th|er|º|\.)?(?:[ \t]of|[ \t]de|[ \t]d['’])?[\s\-/]{0,3}$
    """
)
"""Day or days before a month."""
ONLY_YEAR_AFTER = re.compile(rf"[.,]?[\s\-/]{{0,3}}(?:of\s|del?\s)?(?P<year>{YEAR})")
BEFORE_BARE_MONTH = re.compile(
    r"(?i)\b(?:in|since|until|till|from|last|early|late|mid|during|im|seit|ende|anfang|en|depuis|desde|dated?|of)"
    r"[ \t\n-]$"
)

NUMERIC = re.compile(
    r"""(?x)
    (?<!\d)(?<!\d[./-])
    (?: (?P<iso>(?:19|20)\d\d)\s?[-/._–]\s{0,2}(?P<m1>\d\d?)\s?[-/._–]\s{0,2}(?P<d1>\d\d?)(?:T(?=\d))?
      | (?P<a>\d\d?)(?P<s2>\s{0,2}[-/._–]\s{0,2})(?P<b>\d\d?)(?P<s3>\s{0,2}[-/._–]\s{0,2})
        (?P<y>(?:19|20)\d\d|\d\d)
      | (?P<compact>(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]))(?:[0-2]\d[0-5]\d(?:[0-5]\d)?)?
      | (?P<month>0?[1-9]|1[0-2])(?:[/.]|(?<=0[1-9])-|(?<=1[0-2])-)(?:19|20)\d\d
    )(?!\d|[/-]\d|[.,:]\d)
    """
)
SHORT = re.compile(
    r"""(?xi)
    \b(?: (?:on|dated?|as\s+of|since|until|till|le|el|day)[ \t\n:]+
          (?P<slash>[01]?\d/[0-3]?\d|[0-3]?\d/[01]?\d)
        | (?:am|vom|seit|bis|zum|dated?)[ \t\n]+(?P<dots>[0-3]?\d\.[ ]?[01]?\d\.)
    )(?![\w/]|[.,]\d|-\d)(?!\s+(?:strength|power|motor|grade|score|points?)\b)
    """
)
"""Without a year only after a word that dates: "on 3/14", "vom 3.5."; "4/5 strength" is no date."""
SHORT_WORDS = words("on date dated as since until till le el day am vom seit bis zum")
BEFORE_ITEM = re.compile(
    r"(?i)\b(?:ribs?|levels?|vertebrae|segments?|images?|slices?|figs?|figures?|series)\.?[ \t]*$"
)
BORN = re.compile(
    r"(?i)\b(?:born|geb\.|geboren|née?|nacid[oa]|dob|year of birth|yob|jahrgang)[ \t\n:]*"
    r"(?:in|en|am|im|le|el)?[ \t\n]*((?:19|20)\d\d)(?!\d)"
)
BORN_WORDS = words("born geb geboren ne nee nacido nacida dob year yob jahrgang")

CLOCK = re.compile(
    r"""(?x)
    (?<![\d.,:/])
    (?: (?P<hm>[0-2]?\d:[0-5]\d)(?P<s>:[0-5]\d(?:[.,]\d{1,6})?)?(?:Z|\s?[+-]\d\d:?\d\d(?!\d))?
      | (?P<dot>[0-2]?\d\.[0-5]\d)(?=\s?(?:Uhr|[aApP]\.?[mM]\b))
      | (?P<h>[0-2]?\d\s?h\s?[0-5]\d)(?!\w)
      | (?P<plain>[0-2]\d[0-5]\d)(?=\s?(?:hrs?\b|hours\b|Uhr\b))
      | (?P<hour>[01]?\d)(?=\s?(?:AM\b|PM\b|[ap]\.m\.|pm\b|Uhr\b)|am\b)
    )(?P<half>\s?(?:[aApP]\.[mM]\.|[AP]M\b|[ap]m\b|Uhr\b|hrs?\b|hours\b|h\b))?(?!\d)
    """
)
CLOCK_CUE = re.compile(r"(?i)(?:\b(?:at|um|à|las|time|alle|ore|gegen|vers|hora|uhrzeit)|@)[ \t\n:]*$")
CLOCK_FACE = re.compile(r"(?i)[\s-]*(?:o['’]?\s?clock|position|axis|radian|location|ratio|to\b)")
BREAST = re.compile(r"(?i)breast|mamm|nipple|areola|\bbrust")
BESIDE_DATE = 8
"""Characters between a date and a time that belongs to it: ", at "."""

OLD = re.compile(
    r"""(?xi)
    (?<![\d.,])(?P<age>9\d|1[0-2]\d)
    (?= [\s-]?(?:y(?:ea)?rs?|y/?o|yo|jahre?|jährige?[rsn]?|ans|años|anni)\b
        (?:[\s-]*(?:old|alt|of\s+age|de\s+edad))?(?![\s-]*(?:ago|later|history|follow)))
    """
)
AGED = re.compile(
    r"(?i)\b(?:aged?|alter|edad|âge)[ \t:]*(?:of[ \t])?(?P<age>9\d|1[0-2]\d)"
    r"(?!\d|[.,-]\d|\s?(?:%|days|weeks|months|mm|cm))"
)
AGE_WORDS = words("age aged alter edad")


def dates(page: Page) -> Iterator[Span]:
    """Dates, times of day, and ages above 89."""
    found = [*_dates_with_months(page)]
    if page.numbers:
        found += _numeric_dates(page)
        found += _times(page, found)
        for match in (*page.at_numbers(OLD), *page.at_words(AGE_WORDS, AGED)):
            found.append(Span(*match.span("age"), Kind.AGE))
    yield from found


def _dates_with_months(page: Page) -> Iterator[Span]:
    for index, word in enumerate(page.words):
        if (word.folded in MONTHS or word.folded in SHORT_MONTHS) and (span := _around_month(page, index)):
            yield span
            before = index - 1
            if (
                before >= 0
                and page.words[before].folded in WEEKDAYS
                and span.start - page.words[before].end <= 3
            ):
                yield Span(page.words[before].start, span.end, Kind.DATE)


def _around_month(page: Page, index: int) -> Span | None:
    """The date of which the word with this index is the month; None if it is no month here."""
    word = page.words[index]
    before = BEFORE_MONTH.search(page.before(word.start, 24))
    after = page.after(word.end, 28)
    match = ONLY_YEAR_AFTER.match(after) if before else AFTER_MONTH.match(after)
    if before and match is None:
        match = ONLY_YEAR_AFTER.match(after)
    has_year = match is not None and any(value for name, value in match.groupdict().items() if "year" in name)
    if word.folded in WORDS_TOO and not page.is_capitalised(word) and not has_year:
        return None
    if before is None and match is None:
        return _bare_month(page, index)
    start = word.start - len(before[0]) if before else word.start
    if before:
        start += len(before[0]) - len(before[0].lstrip())
    return Span(start, word.end + (match.end() if match else 0), Kind.DATE)


def _bare_month(page: Page, index: int) -> Span | None:
    """A month by itself, only where no other reading is left: "in March", "seit Mai"."""
    word = page.words[index]
    if (
        word.folded in MONTHS
        and page.is_capitalised(word)
        and BEFORE_BARE_MONTH.search(page.before(word.start, 12))
    ):
        return Span(word.start, word.end, Kind.DATE)
    return None


def _numeric_dates(page: Page) -> Iterator[Span]:
    for match in page.at_numbers(NUMERIC):
        if _is_date(match) and not _counts_items(page.text, match):
            yield Span(match.start(), match.end(), Kind.DATE)
    for match in page.at_words(SHORT_WORDS, SHORT):
        yield Span(*match.span("slash" if match["slash"] else "dots"), Kind.DATE)
    for match in page.at_words(BORN_WORDS, BORN):
        yield Span(*match.span(1), Kind.DATE)


def _is_date(match: re.Match[str]) -> bool:
    if match["compact"] or match["month"]:
        return True
    if match["iso"]:
        return _fits(int(match["m1"]), int(match["d1"]))
    one, two, year = match["a"], match["b"], match["y"]
    if match["s2"].strip() != match["s3"].strip():
        return False
    if len(year) == 2 and (" " in match["s2"] + match["s3"] or (match["s2"] in "-–_" and len(one + two) < 4)):
        return False  # "1 - 2 - 10" and "4-5-12" count
    return _fits(int(one), int(two)) or _fits(int(two), int(one))


def _fits(month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= 31


def _counts_items(text: str, match: re.Match[str]) -> bool:
    """Tell "ribs 10-11-12" from a date."""
    short = bool(match["y"]) and len(match["y"]) == 2
    return short and BEFORE_ITEM.search(text[max(0, match.start() - 16) : match.start()]) is not None


def _times(page: Page, found: list[Span]) -> Iterator[Span]:
    """Times that a date, "at" or "pm" marks as such; "3:00 position" and "1:10" are none."""
    edges = {span.end for span in found}, {span.start for span in found}
    text = page.text
    for match in page.at_numbers(CLOCK):
        sure = match["half"] or match["s"] or match["dot"] or match["plain"] or match["hour"]
        cue = CLOCK_CUE.search(text[max(0, match.start() - 12) : match.start()])
        if (sure or cue or _beside_date(match, edges)) and (match["half"] or not _on_clock_face(text, match)):
            yield Span(match.start(), match.end(), Kind.TIME)


def _on_clock_face(text: str, match: re.Match[str]) -> bool:
    """Tell a place in a breast ("mass at 12:00") from a time."""
    if CLOCK_FACE.match(text, match.end()):
        return True
    return BREAST.search(text[max(0, match.start() - 60) : match.end() + 60]) is not None


def _beside_date(match: re.Match[str], edges: tuple[set[int], set[int]]) -> bool:
    ends, starts = edges
    return any(
        match.start() - step in ends or match.end() + step in starts for step in range(BESIDE_DATE + 1)
    )
