"""Keyed pseudonyms for patients, studies and instances, and the split that follows from them.

A pseudonym is the start of an HMAC under the site's secret: the same patient gets the same one in every later
ingest, nobody without the secret can compute or undo it, and two hospitals never share one.
"""

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigurationError
from common.regular_file import read_regular
from common.store import Split

KEY_FILE = "pseudonym.key"
SECRET_BYTES = 32
PSEUDONYM_DIGITS = 16


class Pseudonyms:
    """The names under which a store knows patients, studies and instances: 16 hex digits each."""

    def __init__(self, secret: bytes) -> None:
        """Use the site's `secret` of 32 bytes."""
        self._secret = secret

    def patient(self, patient_id: str, issuer: str) -> str:
        """One person: PatientID and IssuerOfPatientID ("" where absent)."""
        return self._name("patient", patient_id, issuer)

    def study(self, kind: str, *numbers: str) -> str:
        """One study; `kind` says what the numbers are, such as an accession number or a study UID."""
        return self._name("study", kind, *numbers)

    def instance(self, instance_uid: str) -> str:
        """One SOP instance."""
        return self._name("instance", instance_uid)

    def key(self, purpose: str) -> bytes:
        """32 bytes for one purpose, which tell nothing about the secret or any other key."""
        return hmac.new(self._secret, f"fedvlp key 1: {purpose}".encode(), hashlib.sha256).digest()

    def _name(self, *identity: str) -> str:
        # JSON keeps ("a", "bc") apart from ("ab", "c"); the first entry separates the domains.
        message = json.dumps(["fedvlp pseudonym 1", *identity]).encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]


def open_pseudonyms(home: Path, *, create: bool) -> Pseudonyms:
    """Read the site's secret from `home`, or make it on first use if `create`.

    Raises:
        ConfigurationError: no secret yet, a damaged one, or one that others may read.
    """
    path = home / KEY_FILE
    try:
        if create and not path.exists():
            _make_secret(path)
        mode, secret = path.stat().st_mode, read_regular(path)
    except FileNotFoundError:
        raise ConfigurationError(f"{path} does not exist; give the --home that was used for ingest") from None
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; give a --home you may write to") from None
    if len(secret) != SECRET_BYTES:
        raise ConfigurationError(
            f"{path} has {len(secret)} bytes instead of {SECRET_BYTES}; restore it from your backup, "
            "or remove it and ingest every store again"
        )
    if mode & 0o077:
        raise ConfigurationError(f"{path} can be read by others; run `chmod 600` on it")
    return Pseudonyms(secret)


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class Shares:
    """How much of the patients goes where; the rest is the test split."""

    train: float = 0.7
    validation: float = 0.1

    def __post_init__(self) -> None:
        if not (self.train > 0 and self.validation >= 0 and self.train + self.validation <= 1):
            raise ConfigurationError(
                f"shares {self.train:g} (train) and {self.validation:g} (validation) do not fit into 1; "
                "give --train-share above 0 and a sum of at most 1"
            )

    def split(self, patient: str) -> Split:
        """Place a patient by pseudonym alone, so that a later ingest with the same shares agrees."""
        digest = hashlib.sha256(f"fedvlp split 1:{patient}".encode()).digest()
        position = int.from_bytes(digest[:8]) / 2**64
        if position < self.train:
            return "train"
        return "validation" if position < self.train + self.validation else "test"
