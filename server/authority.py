"""The consortium's certificate authority: it vouches for the hub, and for hospitals where networks ask it.

All keys are ECDSA P-384. A hospital trusts this authority and no other, so a renewed certificate of the hub
changes nothing at a hospital.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from common.errors import ConfigurationError

CLOCK_MARGIN = timedelta(minutes=5)
AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 397
"""Ten years; and 13 months, the longest that browsers and proxies accept."""


@dataclass(frozen=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def server_certificate(
        self, key: ec.EllipticCurvePublicKey, names: Sequence[str], *, days: int = CERTIFICATE_DAYS
    ) -> x509.Certificate:
        """A certificate for a hub that is reached by these names or IP addresses, the first one foremost."""
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        return (
            self._builder(names[0], key, days, ExtendedKeyUsageOID.SERVER_AUTH)
            .add_extension(alternatives, critical=False)
            .sign(self.key, hashes.SHA384())
        )

    def client_certificate(
        self, key: ec.EllipticCurvePublicKey, name: str, *, days: int = CERTIFICATE_DAYS
    ) -> x509.Certificate:
        """A certificate for the hospital `name`, good for connecting and for nothing else."""
        return self._builder(name, key, days, ExtendedKeyUsageOID.CLIENT_AUTH).sign(self.key, hashes.SHA384())

    def _builder(
        self, name: str, key: ec.EllipticCurvePublicKey, days: int, use: x509.ObjectIdentifier
    ) -> x509.CertificateBuilder:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return (
            _builder(_name(name), issuer=self.certificate.subject, key=key, days=days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(issuer, critical=False)
        )


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key for a certificate."""
    return ec.generate_private_key(ec.SECP384R1())


def new_authority(name: str, *, days: int = AUTHORITY_DAYS) -> Authority:
    """An authority that nobody knows yet."""
    key, subject = new_key(), _name(name)
    certificate = (
        _builder(subject, issuer=subject, key=key.public_key(), days=days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA384())
    )
    return Authority(certificate, key)


def pem_of(certificate: x509.Certificate) -> bytes:
    """As it is written."""
    return certificate.public_bytes(Encoding.PEM)


def private_pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Unencrypted, for a server that must start without a person."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _builder(
    subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_MARGIN)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise ConfigurationError(f"{name!r} is neither a host name nor an IP address") from None


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
