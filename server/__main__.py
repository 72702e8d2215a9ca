"""The process `fedvlp-server`."""

from common.leaving import leave  # before all that registers exit handlers

# isort: split
from common.loading import loading

with loading():
    from common.terminal import run_command
    from server.cli import cli


def program() -> None:
    """Run what was asked for, and end."""
    leave(run_command(cli, "fedvlp-server"))


if __name__ == "__main__":
    program()
