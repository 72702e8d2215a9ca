"""The sections of a radiology report, and its sentences."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

Sections = dict[str, str]
"""Section name -> text, in the order of the report."""

REPORT = "report"
"""The section of a report without headers."""
PREAMBLE = "preamble"
"""What stands before the first header: often letterhead, so training reads it last."""

HEADERS: dict[str, dict[str, str]] = {
    "findings": {
        "en": r"(?:radiographic |imaging |ct |mri? |chest )?findings?",
        "de": r"befunde?|befundbeschreibung",
        "fr": r"r[ée]sultats?|constatations?|description",
        "es": r"hallazgos?(?: radiol[óo]gicos)?|descripci[óo]n",
        "it": r"repert[oi]|referto|descrizione",
        "nl": r"bevinding(?:en)?|verslag",
        "pt": r"achados?(?: radiol[óo]gicos)?|descri[çc][ãa]o|relat[óo]rio",
    },
    "impression": {
        "en": r"(?:final )?impressions?|conclusions?|opinion|summary|findings? ?(?:and|/|&) ?impressions?",
        "de": r"beurteilung|zusammenfassung|befund und beurteilung",
        "fr": r"synth[èe]se|au total|interpr[ée]tation",
        "es": r"impresi[óo]n(?: diagn[óo]stica)?|conclusi[óo]n(?:es)?|juicio diagn[óo]stico",
        "it": r"conclusion[ei]|impression[ei](?: diagnostic[ae])?",
        "nl": r"conclusies?|beoordeling|samenvatting",
        "pt": r"impress[ãa]o(?: diagn[óo]stica)?|conclus(?:[ãa]o|[õo]es)|opini[ãa]o",
    },
    "indication": {
        "en": r"(?:clinical )?indications?(?: for (?:exam(?:ination)?|study|procedure))?"
        r"|(?:(?:past |present )?medical |clinical |patient )?history|reason for (?:the )?procedure"
        r"|clinical (?:information|details|data)|reason for (?:the )?(?:exam(?:ination)?|study)",
        "de": r"(?:rechtfertigende |klinische )?indikation|klinische (?:angaben|fragestellung|informationen)"
        r"|(?:klinik und )?fragestellung|anamnese",
        "fr": r"renseignements? cliniques?|motif(?: de l['’]examen)?|contexte(?: clinique)?"
        r"|ant[ée]c[ée]dents",
        "es": r"indicaci[óo]n(?:es)?(?: cl[íi]nicas?)?|datos cl[íi]nicos"
        r"|motivo(?: del? (?:la )?(?:estudio|consulta|exploraci[óo]n))?|antecedentes"
        r"|historia cl[íi]nica|informaci[óo]n cl[íi]nica",
        "it": r"quesito (?:clinico|diagnostico)|indicazion[ei](?: clinic(?:a|he))?|anamnesi|notizie cliniche",
        "nl": r"indicatie|vraagstelling|klinische (?:gegevens|informatie|vraagstelling)|anamnese",
        "pt": r"indica[çc](?:[ãa]o|[õo]es)(?: cl[íi]nicas?)?|dados cl[íi]nicos|hist[óo]ria cl[íi]nica"
        r"|informa[çc](?:[ãa]o|[õo]es) cl[íi]nicas?",
    },
    "examination": {
        "en": r"(?:type of )?exam(?:ination)?s?|(?:current )?procedure(?: description| performed)?|study",
        "de": r"(?:art der )?untersuchung(?:en|sart)?",
        "fr": r"(?:type d['’])?examens?",
        "es": r"examen|exploraci[óo]n|(?:tipo de )?estudio|procedimiento",
        "it": r"(?:tipo di )?esame",
        "nl": r"(?:type )?onderzoek",
        "pt": r"(?:tipo de )?exame|procedimento",
    },
    "technique": {
        "en": r"(?:imaging )?techniques?",
        "de": r"(?:untersuchungs)?technik|methodik|methode",
        "fr": r"protocole",
        "es": r"t[ée]cnica(?: del? (?:estudio|examen))?|protocolo",
        "it": r"tecnica(?: (?:d['’])?esame)?|metodica",
        "nl": r"(?:onderzoeks)?techniek",
        "pt": r"t[ée]cnica(?: do exame)?|metodologia",
    },
    "comparison": {
        "en": r"comparisons?(?: stud(?:y|ies)| exams?)?"
        r"|(?:prior|previous) (?:stud(?:y|ies)|exam(?:ination)?s?|procedure descriptions?)",
        "de": r"vergleich(?:suntersuchung(?:en)?|saufnahmen?)?|vor(?:untersuchung(?:en)?|aufnahmen?)",
        "fr": r"comparaisons?|comparatifs?|examens? ant[ée]rieurs?|ant[ée]riorit[ée]s?",
        "es": r"comparaci[óo]n|estudios? (?:previos?|anterior(?:es)?|comparativos?)",
        "it": r"confront[oi]|esam[ei] precedent[ei]|precedenti",
        "nl": r"vergelijking(?:smateriaal)?|(?:eerdere?|vorige?) onderzoek(?:en)?",
        "pt": r"compara[çc][ãa]o|(?:exames?|estudos?) (?:anterior(?:es)?|pr[ée]vios?)",
    },
    "recommendation": {
        "en": r"recommendations?(?:\(s\))?",
        "de": r"empfehlung(?:en)?|prozedere|procedere",
        "fr": r"recommandations?|conduite [àa] tenir",
        "es": r"recomendaci(?:[óo]n|ones)",
        "it": r"raccomandazion[ei]|consigli",
        "nl": r"aanbeveling(?:en)?|advies",
        "pt": r"recomenda[çc](?:[ãa]o|[õo]es)",
    },
    "notification": {"en": r"notifications?(?:\(s\))?|communications?"},
    "addendum": {
        "en": r"addend(?:um|a)",
        "de": r"nachtrag|erg[äa]nzung",
        "fr": r"compl[ée]ment",
        "es": r"adenda|anexo",
        "pt": r"adendo",
    },
}
"""Section -> language -> the words before its colon, as a pattern; the sections themselves are the keys.

Words that two languages share stand once, under the first.
"""

MARGIN = 40
"""Characters before a word in which `parse_sections` looks for the start of its line."""

MOST_WORDS = 6
"""Of a header; "reason for the examination" has four."""

TRAINED = ("findings", "impression", REPORT)
"""What training reads, in this order."""

_WORDS = {
    name: "|".join(words.values()).replace(" ?", r"[\t\x20]*").replace(" ", r"[\t\x20]+")
    for name, words in HEADERS.items()
}


@cache  # on first use: training reads sections that ingest has found, and compiling takes 25 ms
def _header() -> re.Pattern[str]:
    words = "|".join(f"(?:{words})" for words in _WORDS.values())
    return re.compile(
        rf"(?<![\w-])(?P<words>{words})[ \t]*:|^[ \t]*(?P<line>{words})[ \t]*\r?$",
        re.IGNORECASE | re.MULTILINE,
    )


@cache
def _names() -> list[tuple[str, re.Pattern[str]]]:
    return [(name, re.compile(words, re.IGNORECASE)) for name, words in _WORDS.items()]


def section_named(header: str) -> str | None:
    """Return the section that `header`, with or without its colon, opens; None if it is no header we know."""
    words = header.strip().removesuffix(":").rstrip()
    return next((name for name, pattern in _names() if pattern.fullmatch(words)), None)


def parse_sections(report: str) -> Sections:
    """Split a report at its headers; no word but the headers themselves is lost.

    A header is one of `HEADERS` and a colon, in any case at the start of a line or sentence, in capitals
    anywhere; or one of them alone on its line, with a capital. A section that comes twice is joined; one
    without text is left out. A report without headers is `{"report": text}`, a blank one `{}`.
    """
    found = _headers(report)
    if not found:
        return merge_sections([{REPORT: report}])
    parts = [{PREAMBLE: report[: found[0][1]]}]
    ends = [start for _, start, _ in found[1:]] + [len(report)]
    parts += [{name: report[after:end]} for (name, _, after), end in zip(found, ends, strict=True)]
    return merge_sections(parts)


def _headers(report: str) -> list[tuple[str, int, int]]:
    """Section name, start of the header and its end, for each header."""
    found = []
    for match in _header_matches(report):
        words = match["words"] or match["line"]
        before = report[max(0, match.start() - MARGIN) : match.start()]
        if words.isupper() or (words[0].isupper() if match["line"] else _opens(before)):
            name = section_named(words)
            assert name is not None
            found.append((name, match.start(), match.end()))
    return found


def _header_matches(report: str) -> Iterator[re.Match[str]]:
    """Headers, where there can be one: up to a line's last colon, or on a line of few words."""
    start = 0
    for line in report.split("\n"):
        end = start + line.rfind(":") + 1
        if end == start and len(line.split(maxsplit=MOST_WORDS)) <= MOST_WORDS:
            end = start + len(line)
        yield from _header().finditer(report, start, end)
        start += len(line) + 1


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
    return "\n".join(trained_sections(sections))


def trained_sections(sections: Mapping[str, str]) -> list[str]:
    """Return the sections that `training_text` joins, each by itself."""
    chosen = [sections[name] for name in TRAINED if sections.get(name)]
    return chosen or [text for text in sections.values() if text]


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


CHANGE: dict[str, str] = {
    "en": r"unchanged"
    r"|(?:no|without) (?:significant |appreciable |relevant |definite |acute )?(?:interval )?changes?"
    r"|interval(?:ly)? (?:increase|decrease|change|develop|resol|improve|worsen|progress|enlarge|remov|place"
    r"|growth|appearance|clearing)\w*"
    r"|(?<!hemodynamically )(?<!haemodynamically )(?<!clinically )stable"
    r"|(?:as )?compared? (?:to|with)|(?:in|by) comparison (?:to|with)|relative to (?:the )?(?:prior|previous)"
    r"|(?:since|from|than|as|versus) (?:the |a |his |her )?(?:most recent |recent )?"
    r"(?:prior|previous|preceding|earlier|before)|previously(?! (?:healthy|well|treated))"
    r"|(?:prior|previous|earlier|comparison) (?:chest )?"
    r"(?:stud|exam|radiograph|film|scan|image|imaging|x-?ray|ct|mri?|ultrasound)\w*"
    r"|again|re-?demonstrat\w+|persist(?:s|ed|ent|ently|ing|ence)|remain(?:s|ed|ing)?"
    r"|no longer (?:seen|present|visible|identified)|in the interval|(?:more|less) conspicuous"
    r"|(?:has|have|had) (?:slightly |mildly |markedly |significantly |partially |completely |now )?"
    r"(?:increased|decreased|enlarged|cleared|developed|changed)"
    r"|(?:improv|worsen|resolv|enlarg|progress|increas|decreas)ing"
    r"|(?:worsened|resolved|improved|progressed|regressed|progression|regression|resolution|improvement|worsening)"
    r"|(?:increas|decreas)(?:ed|e|ing) (?:in (?:size|number|extent)|since|from|compared)"
    r"|(?:larger|smaller|more prominent|less prominent|better|worse) (?:than|since|compared)"
    r"|new(?:ly)?(?! (?:york|zealand|orleans|jersey|england))",
    "de": r"(?:weitgehend |im wesentlichen )?unver[äa]ndert\w*"
    r"|im vergleich (?:zu[mr]?|mit|dazu)|verglichen mit"
    r"|(?:gegen[üu]ber|seit|zu) de[rmn] (?:letzten |letztem )?vor\w+"
    r"|vor(?:aufnahmen?|untersuchung(?:en)?|befund\w*|bestehend\w*|beschrieben\w*|bekannt\w*)"
    r"|(?:gr[öo](?:ß|ss)en)?(?:pro|re)gredient\w*|(?:gr[öo](?:ß|ss)en)?konstant\w*|r[üu]ckl[äa]ufig\w*"
    r"|(?:zu|ab)(?:genommen\w*|nehmend\w*|nahme)|neu (?:aufgetreten\w*|abgrenzbar\w*|nachweisbar\w*)"
    r"|neu aufgetretene\w*|neue[rsmn]?(?= \w)|weiterhin|nach wie vor|persistierend\w*"
    r"|befund(?:besserung|verschlechterung)|regress|progress|im verlauf"
    r"|nicht mehr (?:nachweisbar|abgrenzbar)",
    "fr": r"inchang[ée]e?s?|sans (?:changement|modification|[ée]volution)\w*|stabilit[ée]|par rapport [àa]"
    r"|par rapport au|compar(?:[ée]e?s?|ativement) (?:[àa]|au|aux|avec)|en comparaison (?:avec|de|du)"
    r"|(?:examen|clich[ée]|scanner|radiographie|contr[ôo]le)s? (?:ant[ée]rieur|pr[ée]c[ée]dent)\w*"
    r"|(?:apparition|disparition|majoration|r[ée]gression|aggravation|am[ée]lioration) d[eu'’]\w*"
    r"|persistan(?:ce|te?s?)|(?:a|ont) (?:augment|diminu|disparu|r[ée]gress|progress)\w*"
    r"|nouve(?:au|aux|lle|lles)|toujours (?:visible|pr[ée]sente?)s?",
    "es": r"sin cambios?|no (?:se (?:aprecian|observan|identifican) )?cambios|estables?|estabilidad"
    r"|(?:con )?respecto (?:al?|del?)|en comparaci[óo]n con|compara(?:do|da|dos|das|ndo|tivamente) con"
    r"|(?:estudio|radiograf[íi]a|rx|tac|tc|control|examen|exploraci[óo]n)e?s? "
    r"(?:previ[oa]|anterior|pasad[oa])\w*|ya (?:conocid[oa]|visible|presente|descrit[oa])s?"
    r"|persist(?:e|en|encia|entes?)|progresi[óo]n|empeoramiento|mejor[íi]a|resoluci[óo]n|reabsorci[óo]n"
    r"|(?:ha|han) (?:aumentado|disminuido|mejorado|empeorado|desaparecido|progresado)"
    r"|nuev[oa]s?|de nueva aparici[óo]n",
    "it": r"invariat[oaie]|immodificat[oaie]|rispetto (?:al?|all[oae]?|ai|agli|alle)|in confronto (?:a|con)"
    r"|(?:esame|controllo|radiogramma|indagine) precedente|precedente (?:esame|controllo|indagine)"
    r"|stabil[ei]|(?:comparsa|scomparsa|incremento|riduzione|risoluzione|regressione|progressione) d\w+"
    r"|persist(?:e|ono|enza|ente|enti)|(?:aumentat|ridott|regredit|migliorat|peggiorat)[oaie]"
    r"|di nuova (?:comparsa|insorgenza)|gi[àa] (?:not[oaie]|segnalat[oaie])|nuov[oaie]",
    "nl": r"(?:on(?:veranderd|gewijzigd))e?|in vergelijking met|vergeleken met|ten opzichte van|t\.o\.v\."
    r"|(?:vorige?|eerdere?|voorgaande?) (?:onderzoek|opname|foto|ct|mri)\w*|(?:toe|af)(?:genomen|name)"
    r"|stabiele?|persisterende?|nieuwe?|nog steeds|niet meer (?:zichtbaar|aantoonbaar)|bekende?",
    "pt": r"inalterad[oa]s?"
    r"|sem altera[çc][õo]es (?:significativas |evolutivas )?(?:em rela[çc][ãa]o|evolutivas)"
    r"|em rela[çc][ãa]o (?:ao?|aos|[àa]s?) (?:exame|estudo|radiografia|tomografia)\w*"
    r"|em compara[çc][ãa]o (?:com|ao?|[àa])|comparad[oa]s? (?:com|ao?|[àa])|est[áa]ve(?:l|is)"
    r"|(?:exame|estudo|radiografia|tomografia|controle)s? (?:anterior|pr[ée]vi[oa])\w*"
    r"|(?:surgimento|aparecimento|aumento|redu[çc][ãa]o|regress[ãa]o|progress[ãa]o|resolu[çc][ãa]o) d[oae]s?"
    r"|persist(?:e|em|[êe]ncia|entes?)|nov[oa]s?",
}
"""Language -> what is said of a change, or of none, against an earlier study; a pattern.

Words that two languages share stand once, under the first ("stable" is French too).
"""

NO_CHANGE: dict[str, str] = {
    "en": r"(?:no|without) (?:available )?(?:prior|previous|comparison|earlier)s?|none available"
    r"|(?:prior|previous)[^.]{0,60} (?:not|un) ?available"
    r"|to (?:ensure|document|confirm|assess for|evaluate for|exclude) (?:complete |interval )?"
    r"(?:resolution|clearing|improvement|progression|stability|persistence)"
    r"|if [\w ]{0,40}(?:persist|worsen|remain)s?",
    "de": r"keine? vor(?:aufnahmen?|untersuchung(?:en)?|befunde?)|ohne vor(?:aufnahmen?|untersuchung(?:en)?)",
    "fr": r"(?:pas d['’]|aucun |sans |absence d['’])(?:examen |clich[ée] )?(?:ant[ée]rieur|comparati)\w*",
    "es": r"(?:no (?:se )?(?:dispon\w+|hay|existen)|sin) (?:de )?(?:estudios?|radiograf[íi]as?) "
    r"(?:previ|anterior)\w+",
    "it": r"(?:non (?:sono )?disponibili|assenza di|senza) (?:esami )?precedenti",
    "nl": r"(?:geen|zonder) (?:vorige?|eerdere?|oude?) (?:onderzoek|opname|foto)\w*",
    "pt": r"(?:sem|n[ãa]o h[áa]) (?:exames?|estudos?) (?:anteriores|pr[ée]vios)",
}
"""Language -> what sounds like change and is none: no earlier study, or advice for a later one; a pattern."""


@cache
def _change() -> re.Pattern[str]:
    return _phrases(CHANGE)


@cache
def _no_change() -> re.Pattern[str]:
    return _phrases(NO_CHANGE)


def _phrases(table: Mapping[str, str]) -> re.Pattern[str]:
    words = "|".join(f"(?:{phrases})" for phrases in table.values())
    return re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE)


def speaks_of_change(sentence: str) -> bool:
    """Tell whether a sentence compares with an earlier study, which one image cannot show.

    True of "unchanged", "interval increase" and "new since", false of "no prior study". By phrases, in the
    languages of `CHANGE`; blanks between words may be any.
    """
    plain = " ".join(sentence.split())
    # Most sentences are done with the first look.
    return _change().search(plain) is not None and _change().search(_no_change().sub(" ", plain)) is not None


def mark_change(text: str) -> list[tuple[str, bool]]:
    """Split `text` as `split_sentences` does and say of each sentence whether it speaks of change."""
    return [(sentence, speaks_of_change(sentence)) for sentence in split_sentences(text)]
