"""What one attack found, beside what it was allowed to find."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Finding(BaseModel):
    """A measured number, its bound, and what follows.

    A *check* attacks the shipped code and must stay within the bound. A *control* attacks a pipeline that
    is broken on purpose and must exceed it: an attack that misses its controls has no power, and its checks
    say nothing.
    """

    model_config = ConfigDict(frozen=True)

    part: Literal["sensitivity", "noise", "sampling", "ledger", "canaries", "model"]
    name: str
    kind: Literal["check", "control"]
    measured: float
    bound: float
    words: str

    @property
    def as_expected(self) -> bool:
        """A check within its bound, or a control beyond it."""
        return (self.measured <= self.bound) == (self.kind == "check")
