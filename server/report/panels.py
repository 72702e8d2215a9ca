"""One chart of the page: a title in words, a Plotly figure, and the house's colours and axes.

A figure is what Plotly reads in the browser, written down as it is: Plotly's own classes take longer to
import than a page to write. The tests show every figure to them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

INK, MUTED, GRID = "#1f2933", "#5b6770", "#e3e7eb"
KIND_COLOURS: Mapping[str, str] = {"federated": "#0b5cad", "central": "#3a3f44", "local": "#b84a00"}
KIND_SYMBOLS: Mapping[str, str] = {"federated": "circle", "central": "diamond", "local": "square"}
KIND_WORDS: Mapping[str, str] = {
    "federated": "federated",
    "central": "central (all data in one place)",
    "local": "local-only (one hospital alone)",
}
PHASE_COLOURS: Mapping[str, str] = {
    "training": "#2f6f8f",
    "evaluation": "#86b6cc",
    "aggregation": "#d9a441",
    "transfer": "#9c5f14",
    "checkpoint": "#7d8790",
    "other": "#c3cad0",
}
STATUS_COLOURS: Mapping[str, str] = {"ok": "#bcd3c6", "refused": "#b3261e", "late": "#e0a33a"}
TRAFFIC_COLOURS: Mapping[str, str] = {"up": "#4b3f8f", "down": "#b3acd6"}
_SITE_COLOURS = (
    "#33658a", "#a23b72", "#4f772d", "#c8553d", "#6a4c93",
    "#1b998b", "#8d6a1f", "#5f6c7b", "#d1495b", "#2b9348",
)  # fmt: skip
_SITE_DASHES = ("solid", "dash", "dot")
_MOST_NAME_LETTERS = 22
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


Trace = dict[str, Any]
"""One series of a chart."""
Figure = dict[str, Any]
"""`data`, the traces, and `layout`."""


@dataclass(frozen=True)
class Panel:
    """A chart with its title; `wide` takes the whole row of the page."""

    title: str
    figure: Figure
    wide: bool = False


@dataclass(frozen=True)
class Key:
    """One entry of a legend; `site` is what a press on it brings forward, -1 for nothing."""

    label: str
    colour: str
    mark: str = "line"
    site: int = -1


@dataclass(frozen=True)
class Group:
    """Panels under one heading, with the legend that they share."""

    panels: Sequence[Panel]
    heading: str = ""
    keys: Sequence[Key] = ()
    note: str = ""
    columns: int = 3
    """Panels beside each other on a wide screen: 1 to 4."""


def site_line(index: int) -> dict[str, str]:
    """Colour and dash that the hospital at `index` keeps in every chart; 30 differ."""
    dash = _SITE_DASHES[index // len(_SITE_COLOURS) % len(_SITE_DASHES)]
    return {"color": _SITE_COLOURS[index % len(_SITE_COLOURS)], "dash": dash}


def site_keys(sites: Sequence[str]) -> tuple[Key, ...]:
    """A legend of hospitals whose entries can be pressed."""
    return tuple(
        Key(label=name, colour=site_line(index)["color"], mark=site_line(index)["dash"], site=index)
        for index, name in enumerate(sites)
    )


def literal(text: str) -> str:
    """`text` as Plotly shows it letter by letter: Plotly reads tags, entities and `%{...}` in any label."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "%&#123;")


def short(name: str) -> str:
    """`name`, cut to fit beside an axis, ready for Plotly."""
    fits = len(name) <= _MOST_NAME_LETTERS
    return literal(name if fits else name[: _MOST_NAME_LETTERS - 1] + "…")


def trace(kind: str, **settings: Any) -> Trace:
    """A series that is drawn as `kind`, such as "scatter"."""
    return {"type": kind, **settings}


def figure(traces: Sequence[Trace], *, height: int, x: str, y: str, **layout: Any) -> Figure:
    """A figure in the house's style; `x` and `y` are axis titles with their units, `height` is in pixels.

    `layout` goes over the style, for the axes key by key; what is None there is Plotly's to choose.
    """
    line = {"linecolor": "#b6bec6", "ticks": "", "tickangle": 0}
    axis = {"gridcolor": GRID, "zeroline": False, "automargin": True, **line}
    title = {"standoff": 8, "font": {"size": 12, "color": MUTED}}
    style: dict[str, Any] = {
        "height": height,
        "margin": {"l": 8, "r": 14, "t": 8, "b": 8},
        "font": {"family": _FONT, "size": 12, "color": INK},
        "showlegend": False,
        "hoverlabel": {"bgcolor": "white", "bordercolor": "#b6bec6", "font": {"size": 12, "color": INK}},
    }
    axes = {
        name: {**axis, "title": {"text": words, **title}, **layout.pop(name, {})}
        for name, words in (("xaxis", x), ("yaxis", y))
    }
    return {"data": [*traces], "layout": {**style, **axes, **layout}}


def round_axis(last: int) -> dict[str, Any]:
    """Whole rounds 1 to `last`, with at most seven labels."""
    step = next((step for step in (1, 2, 5, 10, 20, 25, 50, 100) if last / step <= 6), max(last // 6, 1))
    return {"range": [0.5, last + max(0.5, last * 0.015)], "dtick": step, "tick0": 0, "tickformat": "d"}


def row_axis(names: Sequence[str]) -> dict[str, Any]:
    """Named rows at heights 0, 1, ...; the first is on top."""
    return {
        "tickvals": list(range(len(names))),
        "ticktext": [short(name) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
    }


def row_pixels(rows: int) -> int:
    """Height of a figure with so many named rows; many stand closer."""
    return 62 + (26 if rows <= 8 else 20) * rows


def line_mode(points: int) -> str:
    """Few points are shown as points too, so that one alone between two gaps can be seen."""
    return "lines+markers" if points <= 60 else "lines"


def dotted_line(**where: float) -> dict[str, Any]:
    """A reference across the whole panel, at `x=` or at `y=`."""
    line = {"color": MUTED, "width": 1.5, "dash": "2px,3px"}
    if "x" in where:
        ends = {"x0": where["x"], "x1": where["x"], "yref": "paper", "y0": 0, "y1": 1}
    else:
        ends = {"y0": where["y"], "y1": where["y"], "xref": "paper", "x0": 0, "x1": 1}
    return {"type": "line", "layer": "between", "line": line, **ends}
