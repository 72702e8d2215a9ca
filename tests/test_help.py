"""What `--help` shows of every command is what the code says of it."""

import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer
from typer.testing import CliRunner

import client.cli
import server.cli
import simulations.cli

COMMANDS = {
    "fedvlp-site": client.cli.cli,
    "fedvlp-server": server.cli.cli,
    "fedvlp-sim": simulations.cli.cli,
}
WIDE = {"COLUMNS": "1000", "TERMINAL_WIDTH": "1000"}
"""What is said of an option then stands in one line."""


def commands_under(command: click.Command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands_under(inner, (*words, name))
    else:
        yield words


def listed() -> list[tuple[str, ...]]:
    trees = {name: typer.main.get_command(app) for name, app in COMMANDS.items()}
    return [(name, *words) for name, tree in trees.items() for words in commands_under(tree)]


def shown(name: str, *words: str) -> str:
    """Help without its frames."""
    done = CliRunner(env=WIDE).invoke(COMMANDS[name], [*words, "--help"], catch_exceptions=False)
    return plain(re.sub(r"[│╭╮╰╯─]", " ", done.output))


def plain(text: str) -> str:
    """Letters alone: how lines break is for the terminal to say."""
    return "".join(text.replace("`", "").split())


@pytest.mark.parametrize("words", listed(), ids=" ".join)
def test_help_tells_all_that_the_code_says_of_a_command(words: tuple[str, ...]) -> None:
    """As it would not with markup that takes `[default: 4]` for a colour, or a click that drops a help."""
    name, *inner = words
    command = typer.main.get_command(COMMANDS[name])
    for word in inner:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    page = shown(*words)
    assert plain(command.help or "") in page
    for param in command.params:
        if getattr(param, "hidden", False):
            continue
        said = getattr(param, "help", None)
        assert said, f"{param.name} has no help"
        assert plain(said) in page


@pytest.mark.parametrize(
    "words",
    [("fedvlp-site", "quality"), ("fedvlp-server", "project", "create"), ("fedvlp-sim", "bench", "engine")],
)
def test_a_misspelt_command_is_corrected_once(words: tuple[str, ...]) -> None:
    """typer and click each have a suggestion to make."""
    name, *inner, last = words
    said = CliRunner(env=WIDE).invoke(COMMANDS[name], [*inner, f"{last}e"]).output
    assert said.count(f"Did you mean '{last}'?") == 1


@pytest.mark.parametrize("module", ["client.__main__", "server.__main__", "simulations.__main__"])
def test_help_waits_for_neither_torch_nor_flower(module: str) -> None:
    looked = f"import sys, {module}; print(*{{'torch', 'flwr'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "\n")
