"""Hospitals and their stores, as a command line names them."""

from collections.abc import Sequence
from pathlib import Path

from common.errors import ConfigurationError


def parse_sites(given: Sequence[str]) -> dict[str, Path]:
    """`NAME=STORE` pairs to a table.

    Raises:
        ConfigurationError: a pair has another form, or a name appears twice.
    """
    sites: dict[str, Path] = {}
    for pair in given:
        name, equals, folder = pair.partition("=")
        if not (name and equals and folder):
            raise ConfigurationError(f"--site {pair}: write NAME=STORE, e.g. --site north=stores/north")
        if name in sites:
            raise ConfigurationError(f"--site {name} appears twice; names must differ")
        sites[name] = Path(folder)
    return sites
