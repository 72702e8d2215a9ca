"""Whether this machine runs the packages that the approved bundle names."""

import re
from importlib.metadata import PackageNotFoundError, version

from client.doctor.finding import Finding, failed, passed
from common.bundle_folder import LOCK, Bundle

SHOWN = 3
"""Differences that are spelt out."""

_PINNED = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;]+)")


def examine_packages(bundle: Bundle | None) -> list[Finding]:
    """Hold what is installed against the bundle's lock; a build tag (+cpu) is the machine's own."""
    if bundle is None:
        return []
    lines = (bundle.project.folder / LOCK).read_text().splitlines()
    pinned = {found["name"]: found["version"] for line in lines if (found := _PINNED.match(line))}
    others = [
        f"{name} {_installed(name)} instead of {wanted}"
        for name, wanted in pinned.items()
        if _installed(name) != wanted
    ]
    if not others:
        return [passed("packages", f"all {len(pinned)} are those of the approved bundle")]
    more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
    return [
        failed(
            "packages",
            f"{', '.join(others[:SHOWN])}{more}",
            f"use the image of the project, or install {LOCK} of the bundle",
            integrity=True,
        )
    ]


def _installed(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        return "missing"
