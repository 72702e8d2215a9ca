"""The language of a report, told by its small words.

Reports are short and telegraphic ("No effusion."), so the lists hold, beside the small words of each
language, the few that every radiologist writes. A word counts for each language that has it, and weighs less
the more languages share it.

Compared with py3langid 0.4, lingua 2.1 and langdetect 1.0.9 on 957 real English reports: these called 13, 15
and 22 of them another language, this one none and 43 undecided, in 0.08 ms a report against 0.2, 3.5 and 6.3.
Of 4,905 real English reports it calls none another language, and 125 undecided. Nineteen sentences in the six
other languages: this one and lingua told 18, the others all.
"""

import re
import unicodedata
from collections import Counter

UNDECIDED = "undecided"
"""Too few words that tell: numbers, abbreviations, anatomy in Latin."""
OTHER_SCRIPT = "other script"
"""Most letters are not Latin."""

CLEAR_LEAD = 1.25
"""By what factor the best language must be ahead of the next."""
LEAST_WEIGHT = 0.9
"""What the words found must weigh together; one word that no other list has weighs 1."""

_LISTS = {
    "en": """
        the of and is are was were with without no not there has have been this that which from for at on as
        by to be or but in an it its seen noted right left both normal unchanged within limits evidence
        clear mild moderate severe small large increased decreased lung lungs heart chest pleural effusion
        findings impression patient history year old male female showing shows image images bone soft tissue
        stable since prior likely consistent suspicious acute upper lower lobe lobes wall fluid mass lesion
        scan view views non visible aspect note low high density masses lesions enhancing enhancement contrast
        signal intensity weighted
    """,
    "de": """
        der die das und ist sind war mit ohne kein keine keinen nicht es hat wurde dieser welche von für bei
        auf als zu oder aber im am zum zur ein eine einer des dem den nach links rechts beidseits
        unauffällig regelrecht normal nachweis hinweis leicht mäßig deutlich klein groß lunge lungen herz
        thorax pleuraerguss erguss befund beurteilung patient verdacht aufnahme knochen weichteile
        unverändert zeigt sich sowie keinerlei linken rechten linke rechte beide seitig
    """,
    "fr": """
        le la les des du et est sont avec sans pas de il elle ce cette qui dans pour sur au aux en une un
        par ou mais droite droit gauche normal normale absence épanchement poumon poumons coeur cœur thorax
        pleural résultats conclusion patient aspect osseux os image images légère léger modéré important
        taille visible retrouve note stable depuis examen signe
    """,
    "es": """
        el la los las del y es son con sin no se ha este esta que en para por al un una o pero derecho
        derecha izquierdo izquierda normal normales derrame pleural pulmón pulmones corazón tórax hallazgos
        impresión paciente evidencia leve moderado estudio imagen aumento tamaño conservado conservada
        observa observan aprecia sugiere ambos bases lesión
    """,
    "it": """
        il lo la i gli le del della dei delle e è sono con senza non si ha questo questa che nel nella nei
        per al alla un una o ma destra destro sinistra sinistro normale limiti versamento pleurico polmone
        polmoni cuore torace reperti conclusioni paziente evidenza lieve moderato esame immagine di da sede
        ombra cardiaca regolare regolari assenza dimensioni
    """,
    "nl": """
        de het een en is zijn was met zonder geen niet er heeft dit deze die van voor bij op als te of maar
        in aan rechts links beiderzijds normaal normale afwijkingen pleuravocht long longen hart thorax
        bevindingen conclusie patiënt aanwijzingen lichte matige opname bot weke delen onveranderd
    """,
    "pt": """
        o a os as do da dos das e é são com sem não se há este esta que no na nos nas para por ao um uma ou
        mas direito direita esquerdo esquerda normal normais derrame pleural pulmão pulmões coração tórax
        achados impressão paciente evidência leve moderado exame imagem aumento de em dimensões preservado
        preservada observa sinais alterações ambos
    """,
}

LANGUAGES = tuple(_LISTS)
"""Codes of the languages that are told apart, ISO 639-1; the same as the section headers are known in."""

_WORDS = {language: frozenset(words.split()) for language, words in _LISTS.items()}
_SHARED = Counter(word for words in _WORDS.values() for word in words)
_TOKEN = re.compile(r"[^\W\d_]{2,}")
"""Words; a single letter names a line, a figure or a side."""


def language_of(text: str) -> str:
    """One of LANGUAGES, UNDECIDED or OTHER_SCRIPT."""
    words = _TOKEN.findall(unicodedata.normalize("NFC", text.casefold()))
    if _mostly_other_script(words):
        return OTHER_SCRIPT
    counts = Counter(words)
    weights = {
        language: sum(counts[word] / _SHARED[word] for word in counts.keys() & known)
        for language, known in _WORDS.items()
    }
    best, second = sorted(weights, key=lambda language: -weights[language])[:2]
    if weights[best] < LEAST_WEIGHT or weights[best] < CLEAR_LEAD * weights[second]:
        return UNDECIDED
    return best


def _mostly_other_script(words: list[str]) -> bool:
    letters = [letter for word in words for letter in word]
    other = sum(letter > "\u024f" for letter in letters)
    return other * 2 > len(letters)
