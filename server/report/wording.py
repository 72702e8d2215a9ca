"""Numbers as a person reads them, the same in the page and in the terminal."""

from server.report.records import Interval

NOTHING = "–"
"""Where there is no number."""

_BYTE_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def decimals(value: float | None, places: int = 3) -> str:
    """A number with fixed decimals, or an en dash where there is none."""
    return NOTHING if value is None else f"{value:.{places}f}"


def bounds(estimate: Interval | None) -> str:
    """`0.810–0.871`, or nothing where there is no estimate."""
    return f"{estimate.low:.3f}–{estimate.high:.3f}" if estimate else ""


def thousands(count: int) -> str:
    """`1,234,567`."""
    return f"{count:,}"


def counted(count: int, one: str, many: str) -> str:
    """`1 hospital`, `1,200 hospitals`."""
    return f"{thousands(count)} {one if count == 1 else many}"


def byte_unit(largest: float) -> tuple[float, str]:
    """Divisor and name of the decimal unit in which `largest` bytes are at least 1."""
    return next(((size, unit) for size, unit in _BYTE_UNITS if largest >= size), (1.0, "B"))


def in_bytes(count: float) -> str:
    """`36.2 MB`; decimal units."""
    size, unit = byte_unit(count)
    return f"{count:.0f} B" if unit == "B" else f"{count / size:.1f} {unit}"


def in_seconds(seconds: float) -> str:
    """`0.4 s`, `42 s`, `4 min 12 s`, `3 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def titled(name: str) -> str:
    """`global_contrastive` as `Global contrastive`."""
    words = name.replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def listed(names: list[str], *, most: int = 6) -> str:
    """`a, b and c`; the rest is counted after `most` names."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
