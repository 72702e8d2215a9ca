"""The key by which a hospital's node proves itself to the hub: ECDSA P-384, made here, read by its owner."""

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)
from cryptography.x509.oid import NameOID

from common.errors import ConfigurationError
from common.files import write_whole
from common.regular_file import read_regular


def write_node_key(path: Path) -> bytes:
    """Write a new SuperNode key (OpenSSH, as Flower reads it) to `path` and return its public half, PEM."""
    key = ec.generate_private_key(ec.SECP384R1())
    write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=0o600)
    return _public_pem(key)


def public_node_key(path: Path) -> str:
    """The public half of the key in `path`, PEM.

    Raises:
        ConfigurationError: there is no such key that can be read.
    """
    return _public_pem(_read(path)).decode("ascii")


def certificate_request(path: Path, name: str) -> str:
    """A request for a certificate of the key in `path`, which proves that its private half is here; PEM.

    Raises:
        ConfigurationError: there is no such key that can be read.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(_read(path), hashes.SHA384())
    return request.public_bytes(Encoding.PEM).decode("ascii")


def _read(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_ssh_private_key(read_regular(path), password=None)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; make it with `fedvlp-site init`") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it lies under a password
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(
            f"{path} is damaged or no node key; restore it from your backup, or leave the consortium and "
            "join anew with an empty home"
        )
    return key


def _public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
