"""The process `fedvlp-site`."""

from common.leaving import leave  # before all that registers exit handlers

# isort: split
from common.loading import loading

with loading():
    from client.cli import cli
    from common.terminal import run_command


def program() -> None:
    """Run what was asked for, and end."""
    leave(run_command(cli, "fedvlp-site"))


if __name__ == "__main__":
    program()
