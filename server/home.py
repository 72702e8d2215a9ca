"""The hub's home: the consortium's keys, its members, and what they said of projects.

HUB/consortium.json   name, address, the operator's public key
HUB/operator.key      Ed25519, signs kits and project bundles; under a password unless the operator declined
HUB/authority.pem     the consortium's certificate authority
HUB/authority.key     its key, under the same password
HUB/server.pem        certificate of the hub, for its reverse proxy; replaced by `renew`
HUB/server.key        its key, readable without a person, mode 0600
HUB/members/          a file per hospital: what it asked for, when it was admitted and when removed
HUB/approvals/        a file per hospital: all that it said of projects
HUB/service/          what the running hub needs, see `server.interior`
HUB/attempts.json     see `server.attempts`
HUB/projects.json     name -> the digests of all bundles made of it
"""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from pydantic import BaseModel, ConfigDict, ValidationError

from common.certificates import read_certificate
from common.errors import ConfigurationError
from common.files import write_whole
from common.joining import Address
from common.lock_file import held_alone
from common.regular_file import read_regular
from common.secagg.keys import Secret, identity_of
from common.signed import Hex32, Moment
from server.authority import Authority, new_authority, new_key, pem_of, private_pem_of

CONSORTIUM = "consortium.json"
OPERATOR_KEY, AUTHORITY, AUTHORITY_KEY = "operator.key", "authority.pem", "authority.key"
SERVER, SERVER_KEY = "server.pem", "server.key"
LOCK = ".lock"


class Consortium(BaseModel):
    """What `consortium.json` says; all of it is public."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1]
    name: str
    hub: Address
    names: tuple[str, ...]
    """By which the hub is reached: host names or IP addresses."""
    operator: Hex32
    created: Moment


@dataclass(frozen=True)
class HubHome:
    """The folder of a consortium's operator."""

    folder: Path

    def found(self, name: str, hub: str, *, further_names: list[str], password: bytes | None) -> Consortium:
        """Make the consortium's keys.

        Args:
            name: of the consortium, for people.
            hub: "host:port" that hospitals connect to.
            further_names: by which the hub is reached too, such as inside its own network.
            password: of operator.key and authority.key; None leaves them to the file mode.

        Raises:
            ConfigurationError: there is a consortium already; nothing was changed.
        """
        with self.locked():
            if (self.folder / CONSORTIUM).exists():
                raise ConfigurationError(
                    f"{self.folder} holds the consortium {self.consortium().name} already; "
                    "nothing was changed"
                )
            operator = Secret(os.urandom(32))
            names = (hub.rpartition(":")[0].strip("[]"), *further_names)
            try:
                consortium = Consortium(
                    format=1,
                    name=name,
                    hub=hub,
                    names=names,
                    operator=identity_of(operator).hex(),
                    created=datetime.now(UTC),
                )
            except ValidationError:
                raise ConfigurationError(
                    f"--hub {hub} is not HOST:PORT, such as hub.example.org:443"
                ) from None
            authority = new_authority(f"{name} authority")
            self._write_server_certificate(authority, consortium)
            signing = Ed25519PrivateKey.from_private_bytes(operator.expose())
            self._write_private(OPERATOR_KEY, signing, password)
            self._write_private(AUTHORITY_KEY, authority.key, password)
            write_whole(self.folder / AUTHORITY, pem_of(authority.certificate))
            text = consortium.model_dump_json(indent=2).encode() + b"\n"
            write_whole(self.folder / CONSORTIUM, text)  # last: a killed `init` begins again
            return consortium

    def consortium(self) -> Consortium:
        """Whose home this is.

        Raises:
            ConfigurationError: nobody's yet, or its file is damaged.
        """
        path = self.folder / CONSORTIUM
        try:
            return Consortium.model_validate_json(read_regular(path))
        except OSError as error:
            raise ConfigurationError(
                f"{path}: {error.strerror}; begin a consortium with `fedvlp-server init`, or name its --home"
            ) from None
        except ValidationError:
            raise ConfigurationError(f"{path} is damaged; restore it from your backup") from None

    @property
    def needs_password(self) -> bool:
        """Whether the keys lie under one."""
        try:
            return b"ENCRYPTED" in read_regular(self.folder / OPERATOR_KEY)
        except OSError:
            return False

    def operator(self, password: bytes | None) -> Secret:
        """The key that signs kits and bundles.

        Raises:
            ConfigurationError: the password is wrong, or the file missing or damaged; nothing was changed.
        """
        key = self._read_private(OPERATOR_KEY, password)
        if (
            not isinstance(key, Ed25519PrivateKey)
            or key.public_key().public_bytes_raw().hex() != self.consortium().operator
        ):
            raise ConfigurationError(
                f"{self.folder / OPERATOR_KEY} is not this consortium's; restore your backup"
            )
        return Secret(key.private_bytes_raw())

    def authority(self, password: bytes | None) -> Authority:
        """What issues certificates; see `operator`."""
        key = self._read_private(AUTHORITY_KEY, password)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{self.folder / AUTHORITY_KEY} is damaged; restore it from your backup")
        return Authority(self.authority_certificate(), key)

    def authority_certificate(self) -> x509.Certificate:
        """Whom hospitals trust."""
        return read_certificate(self._read(AUTHORITY).decode("ascii", "replace"), what=AUTHORITY)

    def renew_server_certificate(self, password: bytes | None) -> x509.Certificate:
        """Give the hub a new certificate of its key; no hospital notices."""
        with self.locked():
            return self._write_server_certificate(self.authority(password), self.consortium())

    def locked(self) -> AbstractContextManager[None]:
        """Change the home alone.

        Raises:
            ConfigurationError: another process is changing it.
        """
        refusal = f"another fedvlp-server is changing {self.folder}; wait for it and try again"
        return held_alone(self.folder / LOCK, refusal=refusal)

    def _write_server_certificate(self, authority: Authority, consortium: Consortium) -> x509.Certificate:
        if not (self.folder / SERVER_KEY).exists():
            write_whole(self.folder / SERVER_KEY, private_pem_of(new_key()), mode=0o600)
        key = self._read_private(SERVER_KEY, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigurationError(f"{self.folder / SERVER_KEY} is damaged; restore it from your backup")
        certificate = authority.server_certificate(key.public_key(), consortium.names)
        write_whole(self.folder / SERVER, pem_of(certificate))
        return certificate

    def _write_private(
        self, name: str, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None
    ) -> None:
        protection: KeySerializationEncryption = (
            NoEncryption() if password is None else BestAvailableEncryption(password)
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
        write_whole(self.folder / name, pem, mode=0o600)

    def _read_private(self, name: str, password: bytes | None) -> object:
        content = self._read(name)
        try:
            return load_pem_private_key(content, password=password)
        except TypeError:
            raise ConfigurationError(f"{name} lies under a password; give --password-file") from None
        except ValueError:
            raise ConfigurationError(
                f"the password does not open {self.folder / name}, or the file is damaged; "
                "nothing was changed"
            ) from None

    def _read(self, name: str) -> bytes:
        try:
            return read_regular(self.folder / name)
        except OSError as error:
            raise ConfigurationError(
                f"{self.folder / name}: {error.strerror}; restore it from your backup"
            ) from None
