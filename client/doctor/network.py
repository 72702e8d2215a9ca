"""The way from this hospital to the hub: name, port, proxy, TLS, clock, line."""

import http.client
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from client.doctor.finding import Finding, failed, passed, warned
from client.doctor.link import (
    PROBE_BYTES,
    PROBE_PATH,
    Address,
    TunnelRefusedError,
    UnknownProxyError,
    Visit,
    address_of,
    presented,
    reach,
    secure,
    visit,
)
from common.certificates import require_issued_by, validity_of
from common.errors import IntegrityError

MOST_AHEAD_SECONDS, MOST_BEHIND_SECONDS = 5.0, 300.0
"""Beyond these the hub refuses what a node signs (Flower 1.41 accepts -5 to +305 s)."""
SLOW_MEGABYTES_PER_SECOND = 0.25
"""Flower gives a piece of 5 MB 30 s; this is half as fast again as it needs."""
DAYS_OF_WARNING = 30


@dataclass(frozen=True)
class Line:
    """A hub that was reached, and how fast."""

    megabytes_per_second: float | None
    """Upwards; None where it could not be measured."""


def examine_network(
    hub: str, authority: Path, *, environment: Mapping[str, str]
) -> tuple[list[Finding], Line | None]:
    """Walk to the hub as far as one gets; what could not be looked at any more is left out."""
    findings, address, health = _visit_hub(hub, authority, environment)
    if address is None or health is None:
        return findings, None
    return findings, _measure(address, authority, health, findings)


def first_obstacle(hub: str, authority: Path, *, environment: Mapping[str, str]) -> Finding | None:
    """What keeps this hospital from its hub, as far as one visit shows; None if nothing does."""
    findings, _, _ = _visit_hub(hub, authority, environment)
    return next((finding for finding in findings if finding.status == "fail"), None)


def _visit_hub(
    hub: str, authority: Path, environment: Mapping[str, str]
) -> tuple[list[Finding], Address | None, Visit | None]:
    try:
        address = address_of(hub, environment)
    except UnknownProxyError as error:
        fix = "set HTTPS_PROXY=http://HOST:PORT, of a proxy that takes CONNECT; others are not supported"
        return [failed("proxy", f"the proxy in the environment is {error}", fix)], None, None
    findings = [_way(address)]
    if not _resolves(address, findings) or not _opens(address, findings):
        return findings, address, None
    return findings, address, _greets(address, authority, findings)


def _way(address: Address) -> Finding:
    proxy = address.proxy
    if proxy is None:
        return passed("proxy", "none; straight to the hub")
    return passed(
        "proxy", f"{proxy.host}:{proxy.port}, {'with' if proxy.credentials else 'without'} a password"
    )


def _resolves(address: Address, findings: list[Finding]) -> bool:
    host, port = address.first
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        findings.append(
            failed("name", f"{host} has no address here ({error.strerror})", "ask for an entry in your DNS")
        )
        return False
    findings.append(passed("name", f"{host} is {found[0][4][0]}"))
    return True


def _opens(address: Address, findings: list[Finding]) -> bool:
    host, port = address.first
    try:
        reach(address).close()
    except TunnelRefusedError as error:
        fix = f"ask the proxy's people to allow CONNECT {address.host}:{address.port}"
        if error.wants_credentials:
            fix = "ask the proxy's people for an account: HTTPS_PROXY=http://NAME:PASSWORD@HOST:PORT"
        findings.append(
            failed(
                "port",
                f"the proxy {host}:{port} does not let us through to {address.host}:{address.port}: {error}",
                fix,
            )
        )
        return False
    except OSError as error:
        findings.append(
            failed(
                "port",
                f"{host}:{port} does not answer ({type(error).__name__})",
                f"ask your firewall's people to allow outgoing TCP to {host}:{port}; "
                "where others reach the hub, it is up",
            )
        )
        return False
    findings.append(passed("port", f"{address.host}:{address.port} is open"))
    return True


def _greets(address: Address, authority: Path, findings: list[Finding]) -> Visit | None:
    try:
        with secure(reach(address), address.host, authority) as connection:
            shown = connection.getpeercert(binary_form=True) or b""
            findings += _dates(x509.load_der_x509_certificate(shown))
            health = visit(connection, address.host, "/health")
    except ssl.SSLError as error:
        findings.append(_distrust(address, authority, error))
        return None
    except (OSError, http.client.HTTPException) as error:
        findings.append(
            failed(
                "round trip",
                f"the hub broke off ({type(error).__name__})",
                "ask the operator whether it is up",
            )
        )
        return None
    findings += _round_trip(health)
    return health


def _distrust(address: Address, authority: Path, error: ssl.SSLError) -> Finding:
    """Who sits on the line, if somebody does."""
    ours = x509.load_pem_x509_certificate(authority.read_bytes())
    try:
        shown = x509.load_der_x509_certificate(presented(reach(address), address.host))
    except (OSError, ValueError):
        return failed("TLS", f"no TLS with the hub ({error.reason})", "ask the operator; TLS 1.3 is needed")
    try:
        require_issued_by(ours, shown, what="certificate shown")
    except IntegrityError:
        return failed(
            "TLS",
            f"the connection is intercepted: its certificate comes from {shown.issuer.rfc4514_string()}, not "
            f"from {ours.subject.rfc4514_string()}",
            f"ask your network's people to exempt {address.host} from TLS inspection",
            integrity=True,
        )
    if not validity_of(shown).holds(datetime.now(UTC)):
        return failed(
            "TLS",
            f"the hub's certificate held until {validity_of(shown).ends:%Y-%m-%d %H:%M} UTC",
            "look at this machine's clock; if it is right, tell the operator: `fedvlp-server renew hub`",
            integrity=True,
        )
    return failed(
        "TLS",
        f"the hub's certificate is not for {address.host}",
        "ask the operator: `fedvlp-server init --also NAME` names every address of the hub",
        integrity=True,
    )


def _dates(shown: x509.Certificate) -> list[Finding]:
    left = validity_of(shown).days_left(datetime.now(UTC))
    told = f"the hub's certificate holds for {left:.0f} days, from the consortium's authority"
    if left < DAYS_OF_WARNING:
        return [warned("TLS", told, "tell the operator to run `fedvlp-server renew hub`")]
    return [passed("TLS", told)]


def _round_trip(health: Visit) -> list[Finding]:
    findings = []
    if health.status == http.client.OK:
        findings.append(passed("round trip", f"the hub answers in {1000 * health.seconds:.0f} ms"))
    else:
        findings.append(
            failed(
                "round trip",
                f"the hub answers with HTTP {health.status}",
                "ask the operator whether it is up",
            )
        )
    if health.skew_seconds is None:
        findings.append(warned("clock", "the hub told no time", "keep this machine's clock right by NTP"))
    else:
        findings.append(_clock(health.skew_seconds))
    return findings


def _clock(skew: float) -> Finding:
    where = "behind" if skew > 0 else "ahead of"
    told = f"this machine is {abs(skew):.0f} s {where} the hub"
    fix = "set this machine's clock, and keep it by NTP"
    if -skew > MOST_AHEAD_SECONDS or skew > MOST_BEHIND_SECONDS:
        return failed("clock", told, fix)
    return warned("clock", told, fix) if abs(skew) > MOST_AHEAD_SECONDS / 2 else passed("clock", told)


def _measure(address: Address, authority: Path, health: Visit, findings: list[Finding]) -> Line:
    try:
        with secure(reach(address), address.host, authority) as connection:
            sent = visit(connection, address.host, PROBE_PATH, os.urandom(PROBE_BYTES))
    except (OSError, http.client.HTTPException):
        findings.append(
            warned("line", "the hub took no upload to measure", "a proxy may limit bodies: allow 8 MB")
        )
        return Line(None)
    if sent.status == http.client.REQUEST_ENTITY_TOO_LARGE:
        findings.append(failed("line", "bodies of 2 MB are refused on the way", "allow bodies of 8 MB"))
        return Line(None)
    rate = PROBE_BYTES / 1e6 / max(sent.seconds - health.seconds, 1e-3)
    told = f"{rate:,.1f} MB/s upwards"
    if rate < SLOW_MEGABYTES_PER_SECOND:
        fix = "pieces of 5 MB need 30 s at most: set FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE lower, or ask for more"
        findings.append(warned("line", told, fix))
    else:
        findings.append(passed("line", told))
    return Line(rate)
