"""How a hospital joins a consortium: its request goes to the operator, the operator's kit comes back.

A request holds public keys, each proved to be held; a kit holds what a site must know to find and trust the
hub. Neither holds a secret, so both may go by mail; what must be compared by a trusted way is the operator's
identity at the hospital, and the hospital's identity at the operator.
"""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import AfterValidator, Field

from common.certificates import public_pem, read_certificate, require_issued_by, validity_of
from common.errors import IntegrityError, PolicyError
from common.roster import Roster
from common.signed import Hex32, Moment, Signed, SiteName, require_not_from_the_future

LAST_PORT = 65535


def _with_a_port(address: str) -> str:
    if not 0 < int(address.rpartition(":")[2]) <= LAST_PORT:
        raise ValueError(f"no such port; the last one is {LAST_PORT}")
    return address


Address = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"), AfterValidator(_with_a_port)
]
"""host:port; an IPv6 address stands in brackets."""


class JoinRequest(Signed):
    """What a hospital hands to the operator; signed by its identity."""

    KIND: ClassVar[str] = "join request"

    format: Literal[1]
    site: SiteName
    identity: Hex32
    """Ed25519 public key: signs rosters, rounds and approvals."""
    certificate_request: str
    """PEM; names the node key (ECDSA P-384) and is signed by it."""
    made: Moment

    @property
    def node_key(self) -> str:
        """Public key of the site's SuperNode, PEM."""
        return public_pem(self._certificate_request())

    def require_valid(self, *, now: datetime) -> None:
        """Check that whoever made this holds both keys.

        Raises:
            ConfigurationError: it is dated in the future.
            IntegrityError: a proof of possession is missing or wrong.
        """
        self.require_signature(self.identity, signer=f"the site {self.site}")
        request = self._certificate_request()
        if not request.is_signature_valid or not isinstance(request.public_key(), ec.EllipticCurvePublicKey):
            raise IntegrityError(
                f"the join request of {self.site} does not prove that it holds its node key; "
                "the site makes a new one with `fedvlp-site init`"
            )
        require_not_from_the_future(self.made, what="join request", now=now)

    def _certificate_request(self) -> x509.CertificateSigningRequest:
        try:
            return x509.load_pem_x509_csr(self.certificate_request.encode())
        except ValueError:
            raise IntegrityError(
                f"the join request of {self.site} holds no certificate request; "
                "the site makes a new one with `fedvlp-site init`"
            ) from None


class Kit(Signed):
    """What one site needs to find and trust its hub; signed by the operator. It holds no secret."""

    KIND: ClassVar[str] = "kit"

    format: Literal[1]
    consortium: str
    """Name of the consortium, for people."""
    operator: Hex32
    """Ed25519 public key that signs kits and project bundles."""
    hub: Address
    authority: str
    """PEM; the only one that vouches for the hub."""
    site: SiteName
    identity: Hex32
    """The identity under which the site is admitted."""
    certificate: str
    """PEM; of the site's node key, for networks that ask for a client certificate."""
    roster: Roster | None
    """The members as they stood when the kit was made, to sign or to approve."""
    issued: Moment

    def require_valid(self, *, now: datetime) -> None:
        """Check everything that can be checked without the site's own keys.

        Raises:
            ConfigurationError: it is dated in the future.
            IntegrityError: the operator did not sign it, or the authority did not issue its certificate.
            PolicyError: a certificate has run out.
        """
        self.require_signature(self.operator, signer="the operator that it names")
        require_not_from_the_future(self.issued, what="kit", now=now)
        authority = read_certificate(self.authority, what="authority of the kit")
        certificate = read_certificate(self.certificate, what="certificate of the kit")
        require_issued_by(authority, certificate, what="certificate of the kit")
        for what, held in (("authority", authority), ("certificate", certificate)):
            if not validity_of(held).holds(now):
                raise PolicyError(
                    f"the {what} of the kit held until {validity_of(held).ends:%Y-%m-%d}; "
                    f"ask the operator for a new kit (`fedvlp-server renew {self.site}`)"
                )

    def require_of(self, *, site: str, identity: str, node_key: str) -> None:
        """Check that it was made for the site with these keys.

        Args:
            site: name of the site.
            identity: Ed25519 public key, hex.
            node_key: public key, PEM.

        Raises:
            IntegrityError: it is another site's, or holds another key.
        """
        if self.site != site:
            raise IntegrityError(f"the kit is for site {self.site}, this is {site}; ask for your own")
        certificate = read_certificate(self.certificate, what="certificate of the kit")
        if self.identity != identity or public_pem(certificate) != node_key:
            raise IntegrityError(
                f"the kit names other keys than those of this site; send the operator the request of "
                f"`fedvlp-site init {site}` again"
            )
