"""Walking JSON from elsewhere, in which nothing need be of the type it should be."""

from collections.abc import Iterator

Node = dict[str, object]


def at(node: object, *path: str) -> list[object]:
    """Every value at `path`, lists on the way opened; [] where there is none."""
    values = [node]
    for key in path:
        values = [child for value in values if isinstance(value, dict) for child in _listed(value.get(key))]
    return values


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def nodes(node: object, *path: str) -> Iterator[Node]:
    """The objects at `path`."""
    return (value for value in at(node, *path) if isinstance(value, dict))


def strings(node: object, *path: str) -> list[str]:
    """The strings at `path` that are not blank, stripped."""
    return [value.strip() for value in at(node, *path) if isinstance(value, str) and value.strip()]


def string(node: object, *path: str) -> str:
    """The first of `strings`, or ""."""
    return next(iter(strings(node, *path)), "")
