"""Documents that one party signs and another keeps: a JSON file, its digest, its Ed25519 signature."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from common.canonical import canonical
from common.errors import ConfigurationError, IntegrityError
from common.files import write_whole
from common.regular_file import read_regular
from common.secagg.abort import AbortError
from common.secagg.keys import Secret, sign, verify

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far into the future a document may be dated: clocks differ, but not by more."""

LARGEST_DOCUMENT = 1 << 20
"""Bytes; ours have some thousands."""

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
"""Also the name of a folder and of a Flower node."""
Moment = Annotated[
    AwareDatetime, AfterValidator(lambda moment: moment.astimezone(UTC).replace(microsecond=0))
]
"""UTC, whole seconds."""


class Signed(BaseModel):
    """What is signed is every key but the signature, in canonical JSON.

    Keys that a file does not have are not signed, so that a version which knows more keys still reads and
    verifies the files of this one; a key that this version does not know is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    KIND: ClassVar[str]
    """What people call it; part of what is signed, so that no document passes for one of another kind."""

    signature: Annotated[str, Field(pattern=r"^([0-9a-f]{128})?$")] = ""
    """Ed25519, or empty before signing."""

    def digest(self) -> str:
        """SHA-256 of what is signed, hex."""
        return hashlib.sha256(canonical(self._said(exclude={"signature"}))).hexdigest()

    def signed_by(self, key: Secret) -> Self:
        """With the signature of the holder of `key`."""
        return self.model_copy(update={"signature": sign(key, self._statement()).hex()})

    def require_signature(self, identity: str, *, signer: str) -> None:
        """Refuse a document that the holder of `identity` did not sign.

        Raises:
            IntegrityError: it was changed, or somebody else signed it.
        """
        try:
            verify(bytes.fromhex(identity), bytes.fromhex(self.signature), self._statement())
        except AbortError:
            raise IntegrityError(
                f"the {self.KIND} does not bear the signature of {signer}: it was changed, or is somebody "
                "else's; fetch it again from its author",
                outward=f"{self.KIND} not signed by {signer}",
            ) from None

    def to_bytes(self) -> bytes:
        """As it is kept and sent."""
        return json.dumps(self._said(), indent=2).encode() + b"\n"

    def save(self, path: Path, *, mode: int = 0o644) -> None:
        """Write it to `path`."""
        write_whole(path, self.to_bytes(), mode=mode)

    def _said(self, *, exclude: set[str] | None = None) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_unset=True, exclude=exclude)

    def _statement(self) -> tuple[str, str]:
        return (f"FedVLP {self.KIND}", self.digest())


Document = TypeVar("Document", bound=Signed)


def read_signed(path: Path, kind: type[Document]) -> Document:
    """The document in the file `path`; its signature is not checked yet.

    Raises:
        ConfigurationError: there is none that can be read, or a newer version made it.
        IntegrityError: it is cut short, or something else.
    """
    try:
        content = read_regular(path, at_most=LARGEST_DOCUMENT + 1)
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}; give the path of a {kind.KIND}",
            outward=f"no {kind.KIND} at this site",
        ) from None
    return parse_signed(content, kind, where=str(path))


def parse_signed(content: bytes, kind: type[Document], *, where: str) -> Document:
    """The document that `to_bytes` wrote; see `read_signed`."""
    _refuse_newer_format(content, kind, where)
    try:
        if len(content) > LARGEST_DOCUMENT:
            raise ValueError
        return kind.model_validate_json(content)
    except ValueError as error:
        what = _complaint(error) if isinstance(error, ValidationError) else "too long"
        raise IntegrityError(
            f"{where} is no whole {kind.KIND} ({what}); fetch it again from its author",
            outward=f"damaged {kind.KIND}",
        ) from None


def require_not_from_the_future(moment: datetime, *, what: str, now: datetime) -> None:
    """Refuse a date that this machine's clock has not reached.

    Raises:
        ConfigurationError: it lies more than `CLOCK_TOLERANCE` ahead.
    """
    if moment - now > CLOCK_TOLERANCE:
        minutes = round((moment - now).total_seconds() / 60)
        raise ConfigurationError(
            f"the {what} is dated {minutes} minutes ahead of this machine's clock ({now:%Y-%m-%d %H:%M} "
            "UTC); set the clock, or ask its author to set theirs",
            outward=f"clock differs from the date of the {what}",
        )


def _refuse_newer_format(content: bytes, kind: type[Signed], where: str) -> None:
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return
    found = said.get("format") if isinstance(said, dict) else None
    if isinstance(found, int) and found > 1:
        raise ConfigurationError(
            f"{where} is a {kind.KIND} of format {found}, this version reads format 1; upgrade FedVLP first"
        )


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else str(first["msg"])
