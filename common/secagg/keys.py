"""Key agreement, derivation, sealing and signatures: one choice each, on raw bytes.

X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), AES-256-GCM (NIST SP 800-38D), Ed25519 (RFC 8032).
"""

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from common.secagg.abort import Reason, refusal
from common.secagg.encoding import Item, encode

KEY_BYTES = 32
SIGNATURE_BYTES = 64
TAG_BYTES = 16

_ONLY_NONCE = bytes(12)
_ANY_SECRET = bytes(range(KEY_BYTES))


class Secret:
    """32 bytes that are overwritten when they have served.

    Best effort: copies that Python or OpenSSL made on the way are beyond reach.
    """

    def __init__(self, content: bytes) -> None:
        self._content = bytearray(content)

    def expose(self) -> bytes:
        """The bytes."""
        return bytes(self._content)

    def wipe(self) -> None:
        """Overwrite them with zeros."""
        self._content[:] = bytes(len(self._content))

    def __repr__(self) -> str:
        return "Secret(...)"


def public_key(secret: Secret) -> bytes:
    """The X25519 public key of `secret`."""
    return X25519PrivateKey.from_private_bytes(secret.expose()).public_key().public_bytes_raw()


def agree(secret: Secret, peer: bytes) -> bytes:
    """The X25519 secret shared with the holder of the public key `peer`.

    Raises:
        AbortError: `peer` is no usable key: a wrong length, or a point of small order.
    """
    try:
        return X25519PrivateKey.from_private_bytes(secret.expose()).exchange(
            X25519PublicKey.from_public_bytes(peer)
        )
    except ValueError:
        raise refusal(Reason.KEY, "a peer's key is no usable X25519 key") from None


def require_usable(peer: bytes) -> None:
    """Refuse a public key that agrees on nothing with anybody.

    Raises:
        AbortError: so it is.
    """
    agree(Secret(_ANY_SECRET), peer)


def hkdf(material: bytes, *, salt: bytes, info: bytes) -> bytes:
    """32 bytes by HKDF-SHA256."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt, info).derive(material)


def derive(material: bytes, transcript: bytes, *purpose: Item) -> bytes:
    """A key for `purpose`, good only in rounds with this transcript."""
    return hkdf(material, salt=transcript, info=encode(purpose))


def seal(key: bytes, plain: bytes, associated: bytes) -> bytes:
    """AES-256-GCM under a key that seals nothing else, so its nonce need not change."""
    return AESGCM(key).encrypt(_ONLY_NONCE, plain, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The inverse of `seal`.

    Raises:
        AbortError: another key, other associated data, or a changed text.
    """
    try:
        return AESGCM(key).decrypt(_ONLY_NONCE, sealed, associated)
    except (InvalidTag, ValueError):
        raise refusal(Reason.SHARE, "a sealed text does not authenticate") from None


def identity_of(signing_key: Secret) -> bytes:
    """The Ed25519 public key, by which a site is known."""
    return Ed25519PrivateKey.from_private_bytes(signing_key.expose()).public_key().public_bytes_raw()


def sign(signing_key: Secret, statement: Item) -> bytes:
    """Ed25519 over the encoding of `statement`."""
    return Ed25519PrivateKey.from_private_bytes(signing_key.expose()).sign(encode(statement))


def verify(identity: bytes, signature: bytes, statement: Item) -> None:
    """Check that the holder of `identity` made `statement`.

    Raises:
        AbortError: not so.
    """
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, encode(statement))
    except (InvalidSignature, ValueError):
        raise refusal(Reason.SIGNATURE, "a signature is not that of the site it names") from None
