"""Addresses, hospitals and home towns."""

import re
from collections.abc import Iterator

from client.ingest.deidentify.lexicon import ordinary
from client.ingest.deidentify.page import Page
from client.ingest.deidentify.spans import Kind, Span
from client.ingest.deidentify.vocabulary import words

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
    (?:\d{{1,4}}(?:[ \t]?(?:bis|ter))?,?[ \t]+)?
    \b(?i:rue|avenue|av\.|boulevard|bd|chemin|allée|impasse|quai|calle|avenida|avda\.?|plaza|paseo)[ \t]+
    (?:(?:de|du|des|del|la|las|los|l['’]|d['’])[ \t]*){{0,3}}{NAMED}(?:[ \t-]+(?:de[ \t]+)?{NAMED}){{0,3}}
    (?:,?[ \t]+(?:n[º°.][ \t]*)?\d{{1,4}})?
    """
)
GERMAN_STREET = re.compile(
    rf"""(?x)
    (?<![^\W_])[^\W\d_a-zß-öø-ÿ][\w-]{{2,30}}(?:straße|strasse|str\.|weg|platz|allee|gasse)
    [ \t]+\d{{1,4}}[a-z]?(?!\w)
    (?:,?\s+(?:D-)?\d{{5}}[ \t]+{NAMED})?
    """
)
NO_STREET = re.compile(
    r"(?i)\w*(?:luft|atem|gallen|harn|zugangs|speise|verdauungs|arbeits|liege|stell)(?:weg|platz)\b"
)
STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR"
    "|PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|DC"
)
POST = re.compile(
    rf"""(?x)
    (?<![\w-])(?: [A-Z]{{1,2}}\d[A-Z\d]?[ ]\d[ABD-HJLNP-UW-Z]{{2}} | D-\d{{5}}(?:[ ]{NAMED})?
      | (?:{NAMED}(?:[ ]{NAMED}){{0,2}},[ ]*)?(?:{STATES})[ ]\d{{5}}(?:-\d{{4}})? )(?!\w)
    | \b(?i:P\.?\s?O\.?\s?Box|Postfach)[ \t]+\d{{1,6}}
    | \b(?i:zip(?:[ ]code)?|postcode|plz|code[ ]postal|código[ ]postal)[ \t:]*
      (?P<code>[\w-]{{4,10}}(?:[ ]\d[A-Z]{{2}})?)
    """
)
"""British, German and American post codes, post boxes, and what is called a post code."""

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
    \b(?i: lives?\sin | living\sin | resident\sof | resid(?:es|ing)\sin
      | travel(?:l?ed|s)?\s(?:to|from) | born\sin
      | returned\sfrom | trip\sto | native\sof | wohnhaft\sin | habite\sà | domiciliée?\sà | originaire\sde
      | reside\sen | natural\sde )\s+
    (?P<place>{NAMED}(?:[ \t]{NAMED}){{0,3}}(?:,[ \t]?{NAMED})?)
    """
)
"""What people say of their towns."""

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
    yield from _addresses(page)
    yield from _institutions(page)
    for match in HOME.finditer(page.text):
        name = re.split(r"[\s,.-]+", match["place"])[0]
        if name.lower() not in ordinary() | COUNTRIES and not (
            name.isupper() and len(name) <= LONGEST_ABBREVIATION
        ):
            yield Span(match.start("place"), match.end("place"), Kind.PLACE)


def _addresses(page: Page) -> Iterator[Span]:
    text = page.text
    if any(word.folded in STREET_WORDS for word in page.words):
        for pattern in (ENGLISH_STREET, ROMANCE_STREET):
            yield from (Span(match.start(), match.end(), Kind.PLACE) for match in pattern.finditer(text))
    if not page.has_digits:
        return
    for match in GERMAN_STREET.finditer(text):
        if not NO_STREET.match(match[0]):
            yield Span(match.start(), match.end(), Kind.PLACE)
    for match in POST.finditer(text):
        yield Span(*match.span("code" if match["code"] else 0), Kind.PLACE)


def _institutions(page: Page) -> Iterator[Span]:
    for index, word in enumerate(page.words):
        if word.folded not in INSTITUTIONS:
            continue
        if match := INSTITUTION.match(page.text, word.start):
            yield from _named_before(page, index, match.end())
        if (match := AFTER_INSTITUTION.match(page.text, word.start)) and match[1].split()[
            0
        ].lower() not in ordinary():
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
            or (
                len(word.folded) > 1
                and word.folded not in ordinary() | COUNTRIES
                and not page.is_shouted(word)
            )
            or word.folded in ("st", "saint")
        )
    if sure:
        while page.words[first].folded in ("of", "s", "de", "the", "at", "in"):
            first += 1
        yield Span(page.words[first].start, end, Kind.PLACE)
