"""How a benchmark tells what it found: a table with signs for goals, or one JSON document."""

import json
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

MEBIBYTE = 1 << 20

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def sign(reached: bool) -> str:
    """Whether a goal is met."""
    return "✓" if reached else "✗"


def say(stage: str) -> None:
    """What is about to run."""
    print(stage, file=sys.stderr, flush=True)


def tell(document: Mapping[str, object], table: Table, *, as_json: bool) -> None:
    """What was found, as JSON or as a table."""
    if as_json:
        print(json.dumps(document))
    else:
        Console().print(table)
