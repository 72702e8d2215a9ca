"""The words that may leave a hospital when something is refused or fails, all of them.

An app words its errors from this list (`outward` in `common.errors`); the gate replaces any other line.
A name of a patient or a folder cannot be put into any of these lines: what varies is a number, or a word from
a list of our own.
"""

import builtins
import re

from common import errors
from common.errors import FederationError, WithheldError
from common.imaging.preparation import Preparation
from common.model.tower_folder import CONFIG, PREPROCESSOR, VOCABULARY_FILES, WEIGHTS
from common.project import MANIFEST, ONTOLOGY, ROSTER, SPEC, TOKENIZER
from common.secagg.abort import AbortError, Reason
from common.spec.objectives import ObjectivesSpec
from common.spec.quality import QualitySpec

SCRUBBED = "failure; the words stay in the hospital's log"

FIXED = frozenset(
    {
        "a training process died",
        "an operation does not repeat to the bit on this GPU",
        "approvals damaged",
        "audit log cannot be written",
        "audit log damaged",
        "clip table does not fit",
        "clock of this site was set back",
        "code not approved at this site",
        "delta above one in the number of patients",
        "fewer GPUs than processes",
        "fewer patients than the public size class",
        "ledger older than the hub remembers",
        "malformed message",
        "model changed unprotected",
        "model differs from its digest",
        "model of another size",
        "no C++ compiler for train.compile",
        "no identity at this site",
        "no privacy ledger",
        "no project approved at this site",
        "no sealing key at this site",
        "no secure aggregation in the approved project",
        "no training rows",
        "no valid project at this site",
        "no valid roster at this site",
        "node configuration incomplete",
        "node configuration names a project beside the approved one",
        "node configuration names another site",
        "privacy budget refused",
        "privacy ledger cannot be written",
        "privacy ledger damaged",
        "project bundle cannot be read",
        "project bundle damaged",
        "project bundle expired",
        "project differs from the approved one",
        "project revoked at this site",
        "public bank differs from the project's",
        "reply refused by the egress guard of this site",
        "roster has run out",
        "roster not approved",
        "roster not signed by every member",
        "round out of range",
        "site has joined no consortium",
        "site not in the project",
        "site not in the roster",
        "site not initialised",
        "site without a public size class",
        "the GPU has no bfloat16",
        "the app cannot be confined at this site",
        "the app cannot be loaded at this site",
        "the app took too long",
        "the app's answer cannot be read",
        "the app's process ended",
        "the state of the round is damaged",
        "this site takes part with secure aggregation only",
        "training rows without a patient identifier",
    }
)
"""Whole lines."""

_KINDS = {
    f"{kind.__module__}.{kind.__name__}": kind
    for kind in [*vars(errors).values(), AbortError]
    if isinstance(kind, type) and issubclass(kind, FederationError)
}
"""Classes of our own errors, as Flower names them."""


def _one_of(words: object) -> str:
    return "(?:" + "|".join(re.escape(str(word)) for word in words) + ")"  # type: ignore[attr-defined]


_DOCUMENT = _one_of(["project bundle", "approval", "join request", "kit", "roster"])
_SIGNER = _one_of(["this site", "this consortium's operator", "the operator that it names"])
_FILE = _one_of([MANIFEST, ONTOLOGY, ROSTER, SPEC, TOKENIZER])
_COPIED = "pretrained/(?:image|initial|reports|teacher|text)/" + _one_of(
    [CONFIG, PREPROCESSOR, WEIGHTS, *VOCABULARY_FILES]
)
_OBJECTIVE = _one_of(ObjectivesSpec.model_fields)
_RAISED_ELSEWHERE = (
    *("AcceleratorError", "OutOfMemoryError"),  # torch
    *("ArrowCapacityError", "ArrowIOError", "ArrowMemoryError", "ArrowNotImplementedError", "ArrowTypeError"),
    *("DatabaseError", "OperationalError"),  # sqlite3
    *("JSONDecodeError", "LinAlgError", "SafetensorError", "TimeoutExpired", "ValidationError"),
)
"""Exceptions of the libraries that an app runs with."""
_ERROR = _one_of(
    [
        *_RAISED_ELSEWHERE,
        *(
            name
            for name, kind in vars(builtins).items()
            if isinstance(kind, type) and issubclass(kind, BaseException)
        ),
    ]
)
"""Names, not a pattern: an app may give a class of its own any name, a patient's too."""

_SIZE = "[0-9]{1,5}x[0-9]{1,5}"

FORMS = [
    _one_of(Reason),
    f"{_DOCUMENT} not signed by {_SIGNER}",
    f"(?:no|damaged) {_DOCUMENT}(?: at this site)?",
    f"clock differs from the date of the {_DOCUMENT}",
    f"(?:{_FILE}|{_COPIED}) differs from the project manifest",
    f"store holds {_SIZE} images, not {_SIZE}",
    f"store was made with another data\\.images\\.{_one_of(Preparation.model_fields)}",
    f"store fails data\\.quality\\.{_one_of(QualitySpec.model_fields)}",
    "device '(?:cpu|cuda|mps)' is not there",
    r"training stopped at step [0-9]{1,9}: (?:the sum of the gradients|a gradient of OBJECTIVE|"
    r"the loss of OBJECTIVE(?:, OBJECTIVE)*) is not finite".replace("OBJECTIVE", _OBJECTIVE),
    f"{_ERROR}; hospital log, reference [0-9a-f]{{8}}",
]
"""Lines with a word or a number in them."""

_LINE = re.compile("|".join(f"(?:{form})" for form in FORMS))
_RAISED = re.compile(r"<class '(?P<kind>[\w.]+)'>:<'(?P<words>.*)'>", re.DOTALL)


def scrubbed(reason: str) -> str:
    """`reason`, as Flower words what an app raised, if every word of it may leave; a fixed line otherwise."""
    raised = _RAISED.fullmatch(reason)
    if raised and (kind := _KINDS.get(raised["kind"])) is not None and may_leave(raised["words"], kind):
        return reason
    return f"{WithheldError}:<'{SCRUBBED}'>"


def may_leave(words: str, kind: type[FederationError]) -> bool:
    """Whether `words` are among those that an error of this kind may tell another party."""
    return words in FIXED or words == kind.__name__ or _LINE.fullmatch(words) is not None
