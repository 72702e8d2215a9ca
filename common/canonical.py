"""The one text of a JSON value, to be hashed and signed: keys in order, no spaces, ASCII."""

import json
from collections.abc import Mapping
from typing import Any


def canonical(said: Mapping[str, Any]) -> bytes:
    """The bytes of `said`, whoever writes it and in whatever order."""
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()
