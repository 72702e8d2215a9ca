"""X.509 certificates as hub and hospitals check them: who issued one, for which key, until when."""

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from common.errors import IntegrityError
from common.signed import CLOCK_TOLERANCE


@dataclass(frozen=True)
class Validity:
    """The days of a certificate."""

    begins: datetime
    ends: datetime

    def days_left(self, now: datetime) -> float:
        """Negative after its end."""
        return (self.ends - now).total_seconds() / 86400

    def holds(self, now: datetime) -> bool:
        """Whether `now` lies within, give or take what clocks may differ at its begin."""
        return self.begins - CLOCK_TOLERANCE <= now < self.ends


def read_certificate(pem: str, *, what: str) -> x509.Certificate:
    """The certificate in PEM text.

    Raises:
        IntegrityError: it is none.
    """
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        raise IntegrityError(f"the {what} is no certificate; fetch it again from its author") from None


def validity_of(certificate: x509.Certificate) -> Validity:
    """From when until when it holds."""
    return Validity(certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def public_pem(certificate: x509.Certificate | x509.CertificateSigningRequest) -> str:
    """The public key in it, PEM."""
    return (
        certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")
    )


def require_issued_by(authority: x509.Certificate, certificate: x509.Certificate, *, what: str) -> None:
    """Refuse a certificate of another authority.

    Raises:
        IntegrityError: `authority` did not sign it.
    """
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        raise IntegrityError(
            f"the {what} was issued by {certificate.issuer.rfc4514_string()}, not by this consortium's "
            "authority; do not use it and tell the operator"
        ) from None
