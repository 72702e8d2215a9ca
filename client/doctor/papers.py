"""Keys, kit, roster, approvals and the approved bundle of this hospital."""

import stat
from datetime import datetime

from client.approvals import APPROVALS, Approvals
from client.clock import SiteClock
from client.doctor.finding import Finding, failed, passed, refusals, warned
from client.home import IDENTITY, NODE_KEY, ROSTER, SEALING, Home
from common.bundle_folder import Bundle
from common.certificates import read_certificate, validity_of
from common.roster import read_roster
from common.secagg.keys import identity_of

DAYS_OF_WARNING = 30
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def examine_papers(home: Home, *, now: datetime) -> tuple[list[Finding], Bundle | None]:
    """All that is signed, and the bundle in force if there is a whole one."""
    findings = _permissions(home)
    with refusals("clock", findings):
        SiteClock(home.folder).now()
    with refusals("kit", findings):
        kit = home.fit_kit()
        kit.require_valid(now=now)
        left = validity_of(read_certificate(kit.certificate, what="certificate of the kit")).days_left(now)
        told = f"{kit.site} in {kit.consortium}, keys match, certificate holds for {left:.0f} days"
        fix = f"ask the operator for a new kit: `fedvlp-server renew {kit.site}`"
        findings.append(passed("kit", told) if left >= DAYS_OF_WARNING else warned("kit", told, fix))
    findings += _roster(home, now)
    return findings, _bundle(home, findings, now)


def _permissions(home: Home) -> list[Finding]:
    findings = []
    for name in (IDENTITY, SEALING, NODE_KEY):
        path = home.folder / name
        if path.exists() and path.stat().st_mode & OTHERS:
            findings.append(
                failed("permissions", f"{name} can be read by others", f"chmod 600 {path}", integrity=True)
            )
    if home.folder.exists() and home.folder.stat().st_mode & stat.S_IWOTH:
        findings.append(
            failed("permissions", f"{home.folder} can be written by others", f"chmod 700 {home.folder}")
        )
    return findings or [passed("permissions", "private keys are their owner's alone")]


def _roster(home: Home, now: datetime) -> list[Finding]:
    findings: list[Finding] = []
    path = home.folder / ROSTER
    if not path.exists():
        return [passed("roster", "none approved; needed only with secure aggregation")]
    with refusals("roster", findings):
        roster = read_roster(path)
        roster.require_all_signatures()
        roster.require_in_time(now)
        place = roster.place_of(home.name)
        if roster.identities[place] != identity_of(home.identity()):
            findings.append(
                failed(
                    "roster",
                    f"it has another identity for {home.name}",
                    "tell its author yours: `fedvlp-site identity`",
                    integrity=True,
                )
            )
        else:
            left = (roster.expires - now).total_seconds() / 86400
            told = (
                f"version {roster.version} of {len(roster.members)} sites, all signed, runs out in "
                f"{left:.0f} days"
            )
            fix = "sign and approve the next version in time"
            findings.append(
                passed("roster", told) if left >= DAYS_OF_WARNING else warned("roster", told, fix)
            )
    return findings


def _bundle(home: Home, findings: list[Finding], now: datetime) -> Bundle | None:
    if home.joined and not (home.folder / APPROVALS).exists():
        findings.append(
            warned("project", "none approved yet", "`fedvlp-site project show BUNDLE`, then `approve`")
        )
        return None
    with refusals("project", findings):
        approvals = Approvals(home)
        manifest = approvals.in_force(now=now)
        bundle = approvals.open(approvals.folder_of(manifest.digest()), now=now)
        left = (manifest.expires - now).total_seconds() / 86400
        told = f"{manifest.name} version {manifest.version}, whole and signed, expires in {left:.0f} days"
        fix = "ask the operator for a new bundle in time"
        findings.append(passed("project", told) if left >= 7 else warned("project", told, fix))
        return bundle
    return None
