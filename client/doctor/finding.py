"""What the doctor says of one thing it looked at."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict

from common.errors import FederationError, IntegrityError

Status = Literal["pass", "warn", "fail"]


class Finding(BaseModel):
    """One line."""

    model_config = ConfigDict(frozen=True)

    check: str
    status: Status
    found: str
    fix: str = ""
    """What to do; empty where nothing is to be done."""
    integrity: bool = False
    """A failure of keys, signatures or digests, not of a network or a machine."""


def passed(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check=check, status="pass", found=found)


def warned(check: str, found: str, fix: str) -> Finding:
    """It works, and should be looked after."""
    return Finding(check=check, status="warn", found=found, fix=fix)


def failed(check: str, found: str, fix: str, *, integrity: bool = False) -> Finding:
    """It does not work."""
    return Finding(check=check, status="fail", found=found, fix=fix, integrity=integrity)


def exit_code(findings: list[Finding]) -> int:
    """0 where nothing fails, 6 where keys, signatures or digests do, else 5."""
    failures = [finding for finding in findings if finding.status == "fail"]
    if any(finding.integrity for finding in failures):
        return IntegrityError.exit_code
    return 5 if failures else 0


@contextmanager
def refusals(check: str, findings: list[Finding]) -> Iterator[None]:
    """A refusal in the block becomes a failure; our errors say what to do after a semicolon."""
    try:
        yield
    except FederationError as error:
        found, _, fix = " ".join(str(error).split()).partition("; ")
        integrity = isinstance(error, IntegrityError)
        findings.append(failed(check, found, fix or "see the runbook", integrity=integrity))
