"""A line of the audit log: what happened, its number, and the digests that chain it to the line before."""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.canonical import canonical
from common.signed import Hex32

GENESIS = "0" * 64
"""What the first line follows."""


class Event(BaseModel):
    """What happened; no words of patients, reports or folders."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: Literal["ASKED", "ANSWERED", "LEFT", "REFUSED", "DISCARDED", "RECOVERED"]
    stage: str = ""
    """Type of the hub's message, such as train.share."""
    run: int | None = None
    """Flower's number of the run."""
    round: int | None = None
    attempt: int | None = None
    """Both as the hub's message says."""
    reason: str | None = None
    """Of REFUSED: the words that the hub was told, and all that left. Of DISCARDED, a round of secure
    aggregation that was forgotten unfinished: how far it had come; nobody was told."""
    size: int | None = None
    sha256: Hex32 | None = None
    """Bytes and digest of what the app answered (ANSWERED), of what the gate let out (LEFT), both as
    `client.departure` counts them, or of half a line (RECOVERED)."""


class Line(Event):
    """An event in its place."""

    number: Annotated[int, Field(ge=1)]
    time: str
    """UTC."""
    previous: Hex32
    """Digest of the line before."""
    digest: Hex32
    """SHA-256 of all the rest of this line."""

    def to_bytes(self) -> bytes:
        """As it stands in the file."""
        return canonical(self.model_dump(exclude_none=True)) + b"\n"


class Head(BaseModel):
    """Where a log ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: Annotated[int, Field(ge=0)] = 0
    digest: Hex32 = GENESIS
    end: Annotated[int, Field(ge=0)] = 0
    """Bytes of the log up to here."""

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return canonical(self.model_dump()) + b"\n"


def line_after(head: Head, event: Event) -> Line:
    """The line of `event` that follows `head`, at this moment."""
    said = event.model_dump(exclude_none=True) | {
        "number": head.number + 1,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "previous": head.digest,
    }
    return Line(**said, digest=hashlib.sha256(canonical(said)).hexdigest())


def whole_line(text: bytes) -> Line | None:
    """The line that `to_bytes` wrote; None if `text` is not exactly one."""
    try:
        line = Line.model_validate_json(text)
    except ValidationError:
        return None
    said = line.model_dump(exclude_none=True, exclude={"digest"})
    matches = hashlib.sha256(canonical(said)).hexdigest() == line.digest
    return line if matches and line.to_bytes() == text else None
