"""What announces a person in a report: titles, and the words before a name in a letterhead or a signature."""

import re

from client.ingest.deidentify.page import Page, fold
from client.ingest.deidentify.vocabulary import words

TITLES = words(
    """
    Mr mr Mister mister MR. Mrs mrs MRS Ms ms MS. Miss miss MISS Mx Dr dr DR. Drs Doctor doctor DOCTOR Prof
    prof PROF Professor professor PROFESSOR Herr herr HERR Herrn herrn HERRN Hr HR. Frau frau FRAU Frl
    Oberarzt Oberärztin Chefarzt Chefärztin Assistenzarzt Monsieur monsieur MONSIEUR Madame madame MADAME Mme
    mme MME Mlle Mademoiselle Docteur docteur DOCTEUR Dre Professeur Señor señor SEÑOR Señora señora SEÑORA
    Senor Senora Sr SR. Sra sra SRA Srta Doctora doctora Dra dra DRA Don Doña doña Sig Signora Signor Dott
    Dottoressa Nurse
    """
)
"""As they are written; where a modality or a disease looks the same ("MR", "DR", "MS") the stop decides."""

TITLE_WORDS = frozenset(fold(title.rstrip(".")) for title in TITLES) | {"m", "fr"}
"""The same, folded: where to look."""

TITLE_ENDS = re.compile(r"\.?(?: ?(?:med|ssa|ra|habil|rer|nat|dent)\.)* ?\n? ?")
"""What may stand between a title and the name."""

FRENCH = words("le les une est des du avec pas aux sur sans chez monsieur patient")
"""Words that a French report uses; "M." is a title there and "Morbus" or "musculus" elsewhere."""

CUES = re.compile(
    r"""(?xi)
    (?:dictated|dictating|signed|transcribed|typed|read|reviewed|reported|verified|approved|interpreted|performed
       |authenticated|authored|finalized|finalised|entered|requested|ordered|referred|seen|supervised|edited
       |attested|prepared|written|examined|operated)
       (?:\s+(?:and|&|/)\s+\w+)?(?:\s+(?:electronically|digitally))?\s+by\b[\s:]*
    | (?:discussed|reviewed|spoke|spoken|conferred|communicated)\s+(?:\w+\s+){0,4}?(?:with|to)\b[\s:]*
    | (?:notified|informed|telephoned|paged|contacted|attn
       |(?:called|relayed|conveyed|reported)\s+to)\b[\s:.]*
    | (?:diktiert|befundet|unterschrieben|unterzeichnet|vidiert|gezeichnet|freigegeben|geschrieben|erstellt
       |angefordert|überwiesen|besprochen)\s+(?:von|durch|mit)\b[\s:]*
    | gez\.[\s:]*
    | (?:signé|dicté|lu|validé|relu|rédigé|interprété|transcrit|adressé|demandé|vérifié)e?
       \s+par\b(?:\s+le\b)?[\s:]*
    | (?:firmado|dictado|transcrito|validado|revisado|informado|redactado|solicitado|verificado|realizado)
       \s+por\b(?:\s+(?:el|la)\b)?[\s:]*
    | (?<=/)s/\s*
    """
)
"""Verbs before the name of whoever wrote, read or was told."""

CUE_WORDS = words(
    """
    dictated dictating signed transcribed typed read reviewed reported verified approved interpreted
    performed authenticated authored finalized finalised entered requested ordered referred seen supervised
    edited attested prepared written examined operated discussed spoke spoken conferred communicated notified
    informed telephoned paged contacted called relayed conveyed attn diktiert befundet unterschrieben
    unterzeichnet vidiert gezeichnet freigegeben geschrieben erstellt angefordert uberwiesen besprochen gez
    signe signee dicte dictee lu lue valide validee relu relue redige redigee interprete interpretee
    transcrit transcrite adresse adressee demande demandee verifie verifiee firmado dictado transcrito
    validado revisado informado redactado solicitado verificado realizado s
    """
)
"""First words of `CUES`, folded: where to look."""

FIELDS = re.compile(
    r"""(?xi)
    (?: patient(?:['’]?s)?(?:\s*/?\s*(?:full\s+)?name)? | pt\.?(?:\s+name)?
      | name(?:\s*\([^)\n]{1,20}\))?
      | (?:full|last|first|middle|family|given|maiden)\s+name | (?:sur|for)ename
      | (?:referring|attending|ordering|requesting|reading|reporting|interpreting|performing
         |primary(?:\s+care)?
         |admitting|consulting)\s+(?:physician|doctor|clinician|provider|radiologist|md)(?:\(s\))?(?:\s+name)?
      | radiologist | physician | technologist | transcriptionist | sonographer | surgeon | resident | fellow
      | attending | signature | provider | (?:electronic(?:ally)?\s+)?signed | dictated | transcribed
      | attention | cc
      | patientin? | nachname | vorname | familienname | überweiser | zuweiser | befunder | radiologe
      | unterschrift | untersucher | einsender | (?:nom|prénom)(?:\s+(?:du|de\s+la)\s+patiente?)? | patiente
      | médecin(?:\s+(?:traitant|référent|demandeur))? | radiologue | prescripteur
      | paciente | nombre(?:\s+del?\s+paciente)? | apellidos? | médico(?:\s+(?:solicitante|responsable))?
      | radiólogo | firma
    )[ \t]*:[ \t]*
    """
)
"""Labels of a form before a name."""

FIELD_WORDS = words(
    """
    patient patients pt full last first middle family given maiden name surname forename referring attending
    ordering requesting reading reporting interpreting performing primary admitting consulting radiologist
    physician technologist transcriptionist sonographer surgeon resident fellow signature provider electronic
    electronically signed dictated transcribed attention cc patientin nachname vorname familienname
    uberweiser zuweiser befunder radiologe unterschrift untersucher einsender nom prenom patiente medecin
    radiologue prescripteur paciente nombre apellido apellidos medico radiologo firma
    """
)
"""First words of `FIELDS`, folded: where to look."""


def title_before(page: Page, index: int) -> bool:
    """Tell whether the word with this index follows a title: "Mr Long", "Dr. White", "Frau Klein"."""
    return index > 0 and title_end(page, index - 1) == page.words[index].start


def title_end(page: Page, index: int) -> int | None:
    """Where the name after the title with this index begins; None if the word is no title."""
    word = page.words[index]
    form = page.written(word)
    if form in ("M", "Fr"):
        return _short_title_end(page, index)
    dotted = page.text[word.end : word.end + 1] == "."
    if form not in TITLES and not (dotted and form + "." in TITLES):
        return None
    if form == "Don" and page.opens_sentence(word):
        return None
    match = TITLE_ENDS.match(page.text, word.end)
    return match.end() if match and match.end() > word.end else None


def _short_title_end(page: Page, index: int) -> int | None:
    """A letter or two, a title only with a full stop, and in the company that makes it one."""
    word = page.words[index]
    match = re.compile(r"\.[ \t]").match(page.text, word.end)
    if match is None:
        return None
    near = page.words[max(0, index - 12) : index + 12]
    if page.written(word) == "Fr":  # Frau; after a number it is French gauge
        return None if re.search(r"\d\s*$", page.before(word.start, 4)) else match.end()
    is_french = sum(other.folded in FRENCH for other in near) >= 2
    return match.end() if page.written(word) == "M" and is_french else None
