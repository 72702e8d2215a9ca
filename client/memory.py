"""Memory that this process may have: the machine's, or less where its control group says so.

A container's limit is a control group's (cgroups(7)), of version 2 or 1. A process sees its own group in
/proc/self/cgroup and where groups are mounted in /proc/self/mountinfo; a limit of any group above holds too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil


@dataclass(frozen=True)
class Memory:
    """Bytes."""

    total: int
    available: int


def memory_here(root: Path = Path("/")) -> Memory:
    """What this process may have in all, and what is left of that; page cache counts as left.

    Args:
        root: where /proc and /sys are.
    """
    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    for group in _groups(root):
        limit = group.limit()
        if limit is not None:
            total = min(total, limit)
            available = min(available, max(0, limit - group.used()))
    return Memory(total, available)


@dataclass(frozen=True)
class _Files:
    """Names of a version's files in a group's folder."""

    limit: str
    used: str
    cache: str
    """Key in `memory.stat`, of page cache that can be given back."""


_FILES = {
    "cgroup2": _Files("memory.max", "memory.current", "inactive_file"),
    "cgroup": _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
"""By the type of the file system. Source: the kernel's cgroup-v2.rst and cgroup-v1/memory.rst."""


@dataclass(frozen=True)
class _Group:
    folder: Path
    files: _Files

    def limit(self) -> int | None:
        """None where it has none; the root of all groups has no such file."""
        return _number(self.folder / self.files.limit)

    def used(self) -> int:
        cache = 0
        for line in _lines(self.folder / "memory.stat"):
            name, _, value = line.partition(" ")
            if name == self.files.cache:
                cache = int(value)
        return max(0, (_number(self.folder / self.files.used) or 0) - cache)


def _groups(root: Path) -> Iterator[_Group]:
    """The groups that this process is in, from its own upwards, as far as they are mounted here."""
    own = dict(_own_groups(root))
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind not in own or (kind == "cgroup" and "memory" not in options.split(",")):
            continue
        top, place = before.split(" ")[3:5]
        mounted = root / place.lstrip("/")
        below = PurePosixPath(own[kind])
        # A container may see its group's path on the host, or be mounted elsewhere than its path says.
        folder = mounted / below.relative_to(top) if below.is_relative_to(top) else mounted
        while folder.is_relative_to(mounted):
            yield _Group(folder, _FILES[kind])
            folder = folder.parent


def _own_groups(root: Path) -> Iterator[tuple[str, str]]:
    """Type of the file system -> path of this process's group in it."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield "cgroup2", path
        elif "memory" in controllers.split(","):
            yield "cgroup", path


def _lines(path: Path) -> list[str]:
    """None where there is no such file: another system than Linux, or no control groups."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    said = "".join(_lines(path))
    return int(said) if said.isdigit() else None
