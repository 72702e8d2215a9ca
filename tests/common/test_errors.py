import errno
import io
import logging
import os
import sys
import time
from collections.abc import Callable

import click
import pytest
import typer

from common import errors, terminal
from common.errors import (
    ConfigurationError,
    FederationError,
    InputRefusedError,
    IntegrityError,
    PeerError,
    PolicyError,
    WithheldError,
    withhold_details,
)
from common.terminal import progress, run_command

CODES = {
    ConfigurationError: 2,
    InputRefusedError: 3,
    PolicyError: 4,
    PeerError: 5,
    IntegrityError: 6,
    WithheldError: 70,
}
SECRET = "/data/mueller_hans/1.dcm"
foreseen = pytest.mark.parametrize("kind", CODES, ids=lambda kind: kind.__name__)


def command(raises: BaseException | None = None) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def act(number: int = 0) -> None:
        if raises is not None:
            raise raises

    return app


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Run a command as its entry point does: exit code and lines on stderr."""

    def run(app: typer.Typer, *arguments: str) -> tuple[object, list[str]]:
        monkeypatch.setattr(sys, "argv", ["fedvlp-test", *arguments])
        code = run_command(app, "fedvlp-test")
        said = capsys.readouterr()
        assert said.out == ""
        return code, said.err.splitlines()

    return run


def test_the_exit_codes_are_those_of_the_contract() -> None:
    kinds = FederationError.__subclasses__()
    assert {kind: kind.exit_code for kind in kinds} == CODES


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_file_of_another_account_is_a_person_s_mistake_in_one_line(
    ends: Callable[..., tuple], number: int
) -> None:
    code, lines = ends(command(OSError(number, os.strerror(number), "north/identity.key")))
    assert code == 2
    assert lines == [
        f"fedvlp-test: north/identity.key: {os.strerror(number)}; use the account that it belongs to"
    ]


def test_the_tree_is_drawn_at_the_top_of_its_file() -> None:
    for kind, code in CODES.items():
        line = next(line for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line)
        assert f" {code}  " in line


@foreseen
def test_what_was_foreseen_leaves_in_its_outward_words(
    kind: type[FederationError], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(kind) as caught, withhold_details():
        raise kind(f"cannot read {SECRET}", outward="a file cannot be read")
    assert str(caught.value) == "a file cannot be read"
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert SECRET in caplog.text


@foreseen
def test_without_outward_words_the_kind_alone_leaves(kind: type[FederationError]) -> None:
    with pytest.raises(kind) as caught, withhold_details():
        raise kind(f"cannot read {SECRET}")
    assert str(caught.value) == kind.__name__


@pytest.mark.parametrize("error", [ValueError(SECRET), OSError(2, "No such file", SECRET), KeyError(SECRET)])
def test_the_unexpected_leaves_as_its_kind_and_a_reference_to_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(WithheldError) as caught, withhold_details():
        raise error
    said = str(caught.value)
    assert said.startswith(f"{type(error).__name__}; hospital log, reference ")
    assert SECRET not in said
    assert said.split()[-1] in caplog.text
    assert SECRET in caplog.text
    assert caught.value.__suppress_context__


def test_what_is_no_error_passes() -> None:
    with withhold_details():
        pass
    with pytest.raises(KeyboardInterrupt), withhold_details():
        raise KeyboardInterrupt


@foreseen
def test_a_refusal_is_one_line_and_its_exit_code(kind: type[FederationError], ends: Callable) -> None:
    code, lines = ends(command(kind("first line\n  and a second")))
    assert (code, lines) == (CODES[kind], ["fedvlp-test: first line and a second"])


def test_our_bug_is_one_line_without_its_text(ends: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEDVLP_DEBUG", raising=False)
    code, lines = ends(command(ValueError(SECRET)))
    assert code == 70
    assert len(lines) == 1
    assert "our bug: ValueError" in lines[0]
    assert SECRET not in lines[0]


def test_our_bug_shows_its_traceback_when_asked(ends: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDVLP_DEBUG", "1")
    code, lines = ends(command(ValueError(SECRET)))
    assert code == 70
    assert any(SECRET in line for line in lines)


def test_the_keyboard_and_a_command_that_works(ends: Callable) -> None:
    assert ends(command(KeyboardInterrupt()))[0] == 130
    assert ends(command(click.exceptions.Abort()))[0] == 130
    assert ends(command()) == (0, [])
    assert ends(command(typer.Exit(3)))[0] == 3


def test_wrong_usage_ends_with_2(ends: Callable) -> None:
    for arguments in (["--number", "x"], ["--unknown"]):
        code, lines = ends(command(), *arguments)
        assert code == 2
        assert any("number" in line or "unknown" in line for line in lines)


def test_progress_without_a_terminal_is_a_line_at_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("rounds", 100) as advance:
        for step in range(100):
            advance(1, f"step {step}")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "rounds: 10/100 step 9"
    assert lines[-1] == "rounds: 100/100 step 99"


def test_progress_over_nothing_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("rounds", 0) as advance:
        advance(0, "")
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    build = terminal.Console
    monkeypatch.setattr(terminal, "Console", lambda **_: build(file=screen, force_terminal=True, width=100))
    with progress("rounds", 2) as advance:
        advance(2, "done")
        time.sleep(0.2)
    assert "rounds" in screen.getvalue()
    assert "2/2" in screen.getvalue()
