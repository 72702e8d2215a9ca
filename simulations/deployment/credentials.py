"""The keys of a deployment on this machine: a certificate for the hub, a key pair for every site.

All are made anew for each deployment. Private files have mode 0600; the authority's own private key is
never written, so nobody can add a certificate later.
"""

import ipaddress
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.files import write_whole

PRIVATE = 0o600
SECRET_BYTES = 32
VALID_DAYS = 90
CLOCK_MARGIN = timedelta(minutes=5)


@dataclass(frozen=True)
class ServerCertificate:
    """Where the hub's TLS files lie, PEM."""

    authority: Path
    certificate: Path
    key: Path


def issue_server_certificate(folder: Path) -> ServerCertificate:
    """Write a new authority and a P-384 certificate for `localhost` and `127.0.0.1`."""
    authority_key, server_key = (
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP384R1()),
    )
    authority = _authority(authority_key)
    server = _server(server_key, authority, authority_key)
    paths = ServerCertificate(folder / "authority.pem", folder / "server.pem", folder / "server.key")
    write_whole(paths.authority, authority.public_bytes(Encoding.PEM))
    write_whole(paths.certificate, server.public_bytes(Encoding.PEM))
    pem = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_whole(paths.key, pem, mode=PRIVATE)
    return paths


def write_node_key(path: Path) -> bytes:
    """Write a new SuperNode key (ECDSA P-384, OpenSSH) to `path` and return its public half, PEM."""
    key = ec.generate_private_key(ec.SECP384R1())
    write_whole(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()), mode=PRIVATE)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write_secret(path: Path) -> Path:
    """Write `SECRET_BYTES` random bytes, shared by a SuperLink or SuperNode and its own SuperExec."""
    write_whole(path, secrets.token_bytes(SECRET_BYTES), mode=PRIVATE)
    return path


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("FedVLP loopback authority")
    return (
        _builder(name, issuer=name, key=key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA384())
    )


def _server(
    key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
    return (
        _builder(_name("localhost"), issuer=authority.subject, key=key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_MARGIN)
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
