"""`fedvlp-site audit`: what left this hospital and what it refused, and whether that log is whole."""

import json
from typing import Annotated

import typer

from client.audit import AUDIT, Audit, Record
from client.audit_line import Line
from client.options import HOME, Home, JsonOutput
from client.wording import count
from common.errors import IntegrityError

audit = typer.Typer(no_args_is_help=True, help="What left this hospital, what was refused, and when.")


@audit.command("verify")
def verify(
    head: Annotated[
        str,
        typer.Option(help="A head noted at an earlier time, elsewhere: it must still be in the log."),
    ] = "",
    home: Home = HOME,
    as_json: JsonOutput = False,
) -> None:
    """Check every line; exit code 6 and the line's number if one was altered, dropped, moved or cut off."""
    record = _read(home)
    if head and head not in {line.digest for line in record.lines}:
        raise IntegrityError(
            f"{home / AUDIT} never had the head {head[:12]}: it is another log, or was made up anew; "
            "keep it, and look for the copy that has it"
        )
    if as_json:
        said = {"lines": record.head.number, "head": record.head.digest, "half_line_bytes": len(record.half)}
        typer.echo(json.dumps(said, indent=2))
        return
    typer.echo(f"{count(record.head.number, 'line')}, whole; note the head elsewhere: {record.head.digest}")
    _say_half(record)


@audit.command("show")
def show(
    last: Annotated[int, typer.Option(min=1, help="So many lines, the newest.")] = 20,
    home: Home = HOME,
    as_json: JsonOutput = False,
) -> None:
    """Print the newest lines, once the whole log has been checked."""
    record = _read(home)
    if as_json:
        typer.echo(
            json.dumps([line.model_dump(exclude_none=True) for line in record.lines[-last:]], indent=2)
        )
        return
    for line in record.lines[-last:]:
        typer.echo(_words_of(line))
    _say_half(record)


def _read(home: Home) -> Record:
    return Audit(home.expanduser() / AUDIT).read()


def _say_half(record: Record) -> None:
    if record.half:
        typer.echo(
            f"{count(len(record.half), 'byte')} of half a line follow: a process was killed as it wrote; "
            "the next line will say so"
        )


def _words_of(line: Line) -> str:
    numbers = {"run": line.run, "round": line.round, "attempt": line.attempt}
    where = " ".join(f"{name} {number}" for name, number in numbers.items() if number)
    size, digest = line.size or 0, (line.sha256 or "")[:12]
    start = f"{line.number:>6}  {line.time}  {line.event:<9}  {line.stage:<13}  {where}"
    match line.event:
        case "REFUSED" | "DISCARDED":
            return f"{start}  {line.reason}"
        case "ANSWERED" | "LEFT":
            return f"{start}  {size:,} bytes, SHA-256 {digest}"
        case "RECOVERED":
            return f"{start}half a line of {size} bytes before this one, SHA-256 {digest}"
    return start.rstrip()
