"""One connection to the hub, step by step, so that whatever is in the way can be named."""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]

TIMEOUT_SECONDS = 10.0
PROBE_BYTES = 2 << 20
"""Of an upload that measures the line; a hub takes bodies of twice as much."""
PROBE_PATH = "/v1/fleet/push-object"
"""The hub refuses what is not signed by a node, after it has read it."""
LARGEST_ANSWER = 1 << 16


@dataclass(frozen=True)
class Address:
    """Where the hub is, and what lies before it."""

    host: str
    port: int
    proxy: tuple[str, int] | None
    """Of a CONNECT proxy."""

    @property
    def first(self) -> tuple[str, int]:
        """What is connected to first."""
        return self.proxy or (self.host, self.port)


class TunnelRefusedError(OSError):
    """The proxy answered CONNECT with something else than success."""


def address_of(hub: str, environment: Mapping[str, str]) -> Address:
    """The way to "host:port", by `https_proxy` and `no_proxy` of `environment` as Flower reads them."""
    host, _, port = hub.rpartition(":")
    host = host.strip("[]")
    proxies = _proxies(environment)
    found = proxies.get("https") or proxies.get("all")
    if not found or proxy_bypass_environment(host, proxies):
        return Address(host, int(port), None)
    parts = urlsplit(found if "//" in found else f"http://{found}")
    return Address(host, int(port), (parts.hostname or "", parts.port or 3128))


def local_calls_are_proxied(environment: Mapping[str, str]) -> bool:
    """Whether the executor's calls to its own node would go to a proxy, which does not know that node."""
    proxies = _proxies(environment)
    return bool({"http", "all"} & proxies.keys()) and not proxy_bypass_environment("127.0.0.1", proxies)


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
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
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
