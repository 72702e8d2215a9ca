"""Keys for within one machine: a certificate for the SuperLink, secrets that its own processes show it.

All are made anew for each deployment. Private files have mode 0600; the authority's own private key is
never written, so nobody can add a certificate later.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from common.files import write_whole
from server.authority import new_authority, new_key, pem_of, private_pem_of

PRIVATE = 0o600
SECRET_BYTES = 32
VALID_DAYS = 90


@dataclass(frozen=True)
class ServerCertificate:
    """Where the hub's TLS files lie, PEM."""

    authority: Path
    certificate: Path
    key: Path


def issue_server_certificate(folder: Path, *, days: int = VALID_DAYS) -> ServerCertificate:
    """Write a new authority and a P-384 certificate for `localhost` and `127.0.0.1`."""
    authority, key = new_authority("FedVLP loopback authority", days=days), new_key()
    certificate = authority.server_certificate(key.public_key(), ["localhost", "127.0.0.1"], days=days)
    paths = server_certificate_in(folder)
    write_whole(paths.key, private_pem_of(key), mode=PRIVATE)
    write_whole(paths.certificate, pem_of(certificate))
    write_whole(paths.authority, pem_of(authority.certificate))
    return paths


def server_certificate_in(folder: Path) -> ServerCertificate:
    """Where `issue_server_certificate` writes."""
    return ServerCertificate(folder / "authority.pem", folder / "server.pem", folder / "server.key")


def write_secret(path: Path) -> Path:
    """Write `SECRET_BYTES` random bytes, shared by a SuperLink or SuperNode and its own SuperExec."""
    write_whole(path, secrets.token_bytes(SECRET_BYTES), mode=PRIVATE)
    return path
