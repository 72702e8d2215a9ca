"""What every table of a spec has in common: it is frozen, and a misspelt key is an error."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
"""A ratio from 0 to 1."""


class Section(BaseModel):
    """A frozen table of settings; a misspelt key is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
