"""One connection to the hub, step by step, so that whatever is in the way can be named."""

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

TIMEOUT_SECONDS = 10.0
PROBE_BYTES = 2 << 20
"""Of an upload that measures the line; a hub takes bodies of twice as much."""
PROBE_PATH = "/v1/fleet/push-object"
"""The hub refuses what is not signed by a node, after it has read it."""
LARGEST_ANSWER = 1 << 16


@dataclass(frozen=True)
class Proxy:
    """A CONNECT proxy that is spoken to in the clear."""

    host: str
    port: int
    credentials: bytes | None = field(repr=False)
    """"name:password"; None if it asks for none."""


@dataclass(frozen=True)
class Address:
    """Where the hub is, and what lies before it."""

    host: str
    port: int
    proxy: Proxy | None

    @property
    def first(self) -> tuple[str, int]:
        """What is connected to first."""
        return (self.host, self.port) if self.proxy is None else (self.proxy.host, self.proxy.port)


class UnknownProxyError(ValueError):
    """What the environment names is no proxy of the kind that we know."""


class TunnelRefusedError(OSError):
    """The proxy answered CONNECT with something else than success."""

    def __init__(self, answer: str) -> None:
        super().__init__(answer)
        self.wants_credentials = answer.split(" ")[1:2] == ["407"]


def address_of(hub: str, environment: Mapping[str, str]) -> Address:
    """The way to "host:port", by `https_proxy` and `no_proxy` of `environment` as Flower reads them.

    Raises:
        UnknownProxyError: the proxy is not given as [http://][NAME:PASSWORD@]HOST[:PORT].
    """
    host, _, port = hub.rpartition(":")
    host = host.strip("[]")
    proxies = _proxies(environment)
    found = proxies.get("https") or proxies.get("all")
    if not found or proxy_bypass_environment(host, proxies):
        return Address(host, int(port), None)
    return Address(host, int(port), _proxy(found if "://" in found else f"http://{found}"))


def _proxy(url: str) -> Proxy:
    try:
        parts = urlsplit(url)
        port = parts.port or http.client.HTTP_PORT
    except ValueError:
        raise UnknownProxyError("not of the form http://HOST:PORT") from None
    if parts.scheme != "http":
        raise UnknownProxyError(f"of the kind {parts.scheme}://")
    if not parts.hostname:
        raise UnknownProxyError("not of the form http://HOST:PORT")
    if parts.username is None:
        return Proxy(parts.hostname, port, None)
    name, password = unquote(parts.username), unquote(parts.password or "")
    return Proxy(parts.hostname, port, f"{name}:{password}".encode())


def _proxies(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.lower().removesuffix("_proxy"): value
        for name, value in sorted(environment.items())  # the lower-case spelling comes last and wins
        if name.lower().endswith("_proxy") and value
    }


def reach(address: Address) -> socket.socket:
    """A plain connection to the hub's port, through the proxy if there is one.

    Raises:
        OSError: nobody listens, or the proxy refuses.
    """
    connection = socket.create_connection(address.first, timeout=TIMEOUT_SECONDS)
    if address.proxy is None:
        return connection
    host = f"[{address.host}]" if ":" in address.host else address.host
    target = f"{host}:{address.port}"
    head = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if address.proxy.credentials is not None:
        head += f"Proxy-Authorization: Basic {base64.b64encode(address.proxy.credentials).decode()}\r\n"
    connection.sendall(f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer and len(answer) < LARGEST_ANSWER:
        piece = connection.recv(1)  # not a byte of what follows the head
        if not piece:
            break
        answer += piece
    status = answer.partition(b"\r\n")[0].decode("ascii", "replace")
    if status.split(" ")[1:2] != ["200"]:
        connection.close()
        raise TunnelRefusedError(status or "no answer")
    return connection


def secure(connection: socket.socket, host: str, authority: Path) -> ssl.SSLSocket:
    """TLS that trusts the consortium's authority alone.

    Raises:
        ssl.SSLError: the other side is not vouched for by it.
        OSError: the connection broke.
    """
    trust = ssl.create_default_context(cafile=str(authority))
    return trust.wrap_socket(connection, server_hostname=host)


def presented(connection: socket.socket, host: str) -> bytes:
    """The certificate that the other side shows, whoever vouches for it; DER."""
    anyone = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    with anyone.wrap_socket(connection, server_hostname=host) as opened:
        return opened.getpeercert(binary_form=True) or b""


@dataclass(frozen=True)
class Visit:
    """One request and its answer."""

    status: int
    seconds: float
    skew_seconds: float | None
    """The hub's clock minus ours; None if it told no time. Its answer has whole seconds only."""


def visit(connection: ssl.SSLSocket, host: str, path: str, body: bytes = b"") -> Visit:
    """GET `path`, or POST a body to it.

    Raises:
        OSError: the connection broke.
        http.client.HTTPException: the answer is no HTTP.
    """
    session = http.client.HTTPConnection(host)
    session.sock = connection
    began, before = time.monotonic(), datetime.now(UTC)
    session.request("POST" if body else "GET", path, body or None, {"Connection": "keep-alive"})
    answer = session.getresponse()
    answer.read(LARGEST_ANSWER)
    seconds = time.monotonic() - began
    told = answer.getheader("Date")
    skew = None
    if told is not None:
        middle = before.timestamp() + seconds / 2
        skew = parsedate_to_datetime(told).timestamp() + 0.5 - middle
    return Visit(answer.status, seconds, skew)
