"""The type of the fixture `say`, for tests to name; apart, for there are several conftest.py."""

from collections.abc import Callable

Say = Callable[..., tuple[int, str]]
"""Words of a command line -> its exit code, and what it said."""
