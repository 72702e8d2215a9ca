"""Addresses, hospitals and home towns."""

import re
from collections.abc import Iterator

from client.ingest.deidentify.lexicon import ordinary
from client.ingest.deidentify.page import Page, fold
from client.ingest.deidentify.spans import Span
from client.ingest.deidentify.vocabulary import words
from common.text.placeholders import Kind

NAMED = r"[^\W\d_a-zß-öø-ÿ][\w'’-]{1,30}"
"""A word with a capital."""

STREET_WORDS = words(
    """
    street st avenue ave road rd boulevard blvd lane drive highway hwy parkway terrace square suite apt
    apartment rue chemin allee impasse quai calle avenida avda plaza paseo carrera box
    """
)
ENGLISH_STREET = re.compile(
    rf"""(?x)
    (?<![\w.,/-])\d{{1,5}}[A-Za-z]?,?[ \t]+(?:[NSEW]\.?[ \t]+)?(?:{NAMED}[ \t]+){{1,3}}
    (?:Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Drive|Highway|Hwy|Parkway|Terrace|Square)(?![^\W_])\.?
    (?:,?[ \t]*(?:Suite|Apt\.?|Apartment|Floor|\#)[ \t]*\w{{1,6}})?
    """
)
ROMANCE_STREET = re.compile(
    rf"""(?x)
    (?i:rue|avenue|av\.|boulevard|bd|chemin|allée|impasse|quai|calle|avenida|avda\.?|plaza|paseo)[ \t]+
    (?:(?:de|du|des|del|la|las|los|l['’]|d['’])[ \t]*){{0,3}}{NAMED}(?:[ \t-]+(?:de[ \t]+)?{NAMED}){{0,3}}
    (?:,?[ \t]+(?:n[º°.][ \t]*)?\d{{1,4}})?
    """
)
HOUSE_BEFORE = re.compile(r"(?<!\d)\d{1,4}(?:[ \t]?(?:bis|ter))?,?[ \t]+$")
GERMAN_STREET = re.compile(
    rf"""(?x)
    [^\W\d_a-zß-öø-ÿ][\w-]{{2,30}}(?:straße|strasse|str\.|weg|platz|allee|gasse)
    [ \t]+\d{{1,4}}[a-z]?(?!\w)
    (?:,?\s+(?:D-)?\d{{5}}[ \t]+{NAMED})?
    """
)
GERMAN_ENDINGS = ("strasse", "str", "weg", "platz", "allee", "gasse")
NO_STREET = re.compile(
    r"(?i)\w*(?:luft|atem|gallen|harn|zugangs|speise|verdauungs|arbeits|liege|stell)(?:weg|platz)\b"
)
STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR"
    "|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
)
BRITISH_CODE = re.compile(r"\d[A-Z\d]?[ ]\d[ABD-HJLNP-UW-Z]{2}(?!\w)")
BRITISH_AREA = re.compile(r"(?<![\w-])[A-Z]{1,2}$")
FIVE_DIGITS = re.compile(rf"\d{{5}}(?!\d)(?:-\d{{4}}(?!\w)|(?<=D-.....)[ ]{NAMED})?")
BEFORE_FIVE = re.compile(rf"(?<![\w-])(?:D-|(?:{NAMED}(?:[ ]{NAMED}){{0,2}},[ ]*)?(?:{STATES})[ ])$")
POST_WORDS = words("po p postfach zip postcode plz code codigo")
POST = re.compile(
    r"(?i)(?:(?:P\.?\s?O\.?\s?Box|Postfach)[ \t]+\d{1,6}"
    r"|(?:zip(?:[ ]code)?|postcode|plz|code[ ]postal|código[ ]postal)[ \t:]*"
    r"(?P<code>[\w-]{4,10}(?:[ ]\d[A-Z]{2})?))"
)
"""Post boxes, and what is called a post code."""

INSTITUTIONS = words(
    """
    hospital hospitals clinic infirmary medical klinik klinikum krankenhaus universitatsklinikum hopital
    clinique clinica sanatorium charite
    """
)
INSTITUTION = re.compile(
    r"(?:Hospitals?|Clinic|Infirmary|Sanatorium|Klinik|Klinikum|Krankenhaus"
    r"|Medical[ \t\n]+(?:Center|Centre|School|College)"
    r"|HOSPITAL|CLINIC|INFIRMARY|KLINIKUM|KRANKENHAUS|MEDICAL CENT(?:ER|RE))(?![^\W_])"
)
AFTER_INSTITUTION = re.compile(
    rf"""(?x)
    (?:Universitätsklinikum|Klinikum|Krankenhaus|Klinik|Hôpital|Clinique|Hospital|Clínica|Charité)[ \t]+
    (?:(?:de|del|du|des|la|of|am|der|St\.)[ \t]+){{0,3}}({NAMED}(?:[ \t-]{NAMED}){{0,2}})
    """
)
LONGEST_INSTITUTION = 5

HOME = re.compile(
    rf"""(?x)
    (?i: lives?\sin | living\sin | resident\sof | resid(?:es|ing)\sin
      | travel(?:l?ed|s)?\s(?:to|from) | born\sin
      | returned\sfrom | trip\sto | native\sof | wohnhaft\sin | habite\sà | domiciliée?\sà | originaire\sde
      | reside\sen | natural\sde )\s+
    (?P<place>{NAMED}(?:[ \t]{NAMED}){{0,3}}(?:,[ \t]?{NAMED})?)
    """
)
"""What people say of their towns."""
HOME_WORDS = words(
    """
    live lives living
    resident resides residing travel travels traveled travelled travelling born returned trip
    native wohnhaft habite domicilie domiciliee originaire reside natural
    """
)

LONGEST_ABBREVIATION = 3
COUNTRIES = words(
    """
    afghanistan africa albania algeria america american angola argentina armenia asia australia austria
    bangladesh belgium bolivia bosnia brazil bulgaria cambodia cameroon canada chile china colombia congo
    croatia cuba cyprus czechia denmark ecuador egypt england eritrea estonia ethiopia europe finland france
    gambia georgia germany ghana greece guatemala guinea haiti honduras hungary iceland india indonesia iran
    iraq ireland israel italy jamaica japan jordan kenya korea kosovo laos latvia lebanon libya lithuania
    luxembourg malawi malaysia mali malta mexico moldova mongolia morocco mozambique myanmar nepal
    netherlands nicaragua niger nigeria norway pakistan panama paraguay peru philippines poland portugal
    romania russia rwanda scotland senegal serbia sierra singapore slovakia slovenia somalia spain sudan
    sweden switzerland syria taiwan tanzania thailand togo tunisia turkey uganda ukraine uruguay usa
    venezuela vietnam wales yemen zambia zimbabwe
    """
)
"""Countries stay: travel is medicine, and only what is smaller than a state tells people apart."""


def places(page: Page) -> Iterator[Span]:
    """Streets, post codes, named hospitals, and towns that people come from."""
    yield from _streets(page)
    if page.numbers:
        yield from _post_codes(page)
    yield from _institutions(page)
    for match in page.at_words(HOME_WORDS, HOME):
        name = re.split(r"[\s,.-]+", match["place"])[0]
        if not _is_known_word(name) and not (name.isupper() and len(name) <= LONGEST_ABBREVIATION):
            yield Span(match.start("place"), match.end("place"), Kind.PLACE)


def _is_known_word(name: str) -> bool:
    folded = fold(name)
    return folded in ordinary() or folded in COUNTRIES


def _streets(page: Page) -> Iterator[Span]:
    for match in page.at_words(STREET_WORDS, ROMANCE_STREET):
        house = HOUSE_BEFORE.search(page.before(match.start(), 12))
        yield Span(match.start() - (len(house[0]) if house else 0), match.end(), Kind.PLACE)
    if not page.numbers:
        return
    if any(word.folded in STREET_WORDS for word in page.words):
        yield from (Span(match.start(), match.end(), Kind.PLACE) for match in page.at_numbers(ENGLISH_STREET))
    for word in page.words:
        if word.folded.endswith(GERMAN_ENDINGS) and not NO_STREET.fullmatch(word.folded):
            street = GERMAN_STREET.match(page.text, word.start)
            if street:
                yield Span(street.start(), street.end(), Kind.PLACE)


def _post_codes(page: Page) -> Iterator[Span]:
    for match in page.at_numbers(BRITISH_CODE):
        if area := BRITISH_AREA.search(page.before(match.start(), 3)):
            yield Span(match.start() - len(area[0]), match.end(), Kind.PLACE)
    for match in page.at_numbers(FIVE_DIGITS):
        if town := BEFORE_FIVE.search(page.before(match.start(), 100)):
            yield Span(match.start() - len(town[0]), match.end(), Kind.PLACE)
    for match in page.at_words(POST_WORDS, POST):
        yield Span(*match.span("code" if match["code"] else 0), Kind.PLACE)


def _institutions(page: Page) -> Iterator[Span]:
    for index, word in enumerate(page.words):
        if word.folded not in INSTITUTIONS:
            continue
        if match := INSTITUTION.match(page.text, word.start):
            yield from _named_before(page, index, match.end())
        match = AFTER_INSTITUTION.match(page.text, word.start)
        if match and not _is_known_word(match[1].split()[0]):
            yield Span(match.start(), match.end(), Kind.PLACE)


def _named_before(page: Page, index: int, end: int) -> Iterator[Span]:
    """The words with capitals before "Hospital", if one of them is a name: "St. Mary's Hospital"."""
    first, sure = index, False
    while first > 0 and index - first < LONGEST_INSTITUTION:
        gap = page.gap(first - 1, first)
        word = page.words[first - 1]
        if not re.fullmatch(r"[ \t]+|\.[ \t]|['’?]|-|[ \t]*\n[ \t]*", gap) or not (
            page.is_capitalised(word) or word.folded in ("of", "s", "de")
        ):
            break
        first -= 1
        sure = (
            sure
            or (len(word.folded) > 1 and not _is_known_word(word.folded) and not page.is_shouted(word))
            or word.folded in ("st", "saint")
        )
    if sure:
        while page.words[first].folded in ("of", "s", "de", "the", "at", "in"):
            first += 1
        yield Span(page.words[first].start, end, Kind.PLACE)
