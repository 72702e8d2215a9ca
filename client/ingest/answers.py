"""How a worker's answers travel: pickled, and read as if a hostile decoder had written them.

A pickle may name anything that can be called. From a process that decodes strangers' files we take only plain
values, arrays, and the types of this package that hold them.
"""

import io
import pickle
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Any

from client.ingest.rejected import Reason

OURS = ("client.ingest.", "common.")
OTHERS = frozenset(
    {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        *(
            (f"numpy.{core}.{module}", name)
            for core in ("core", "_core")
            for module, name in (
                ("multiarray", "_reconstruct"),
                ("multiarray", "scalar"),
                ("numeric", "_frombuffer"),
            )
        ),
    }
)
"""How numpy's pickles name arrays, types and numbers, old and new."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer that is too large to be sent at once; more will follow."""

    value: object


def write_answer(answer: object) -> bytes:
    """Pickle it."""
    return pickle.dumps(answer, protocol=5)


def read_answer(message: bytes) -> Any:
    """Unpickle what a worker sent, `DECODER_CRASHED` if it names anything but values."""
    try:
        return _Values(io.BytesIO(message)).load()
    except Exception:  # a forged pickle raises almost anything
        return Reason.DECODER_CRASHED


class _Values(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if "." not in name else None
        if (module, name) in OTHERS:
            return found
        is_value = isinstance(found, type) and (is_dataclass(found) or issubclass(found, Enum))
        if module.startswith(OURS) and is_value:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no value")
