"""`[federation]`: who takes part in a round, and what the hub does with the answers."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from common.spec.section import Section


class ServerOptimizerSpec(Section):
    """How the hub applies the mean update (Reddi et al. 2021, arXiv:2003.00295)."""

    kind: Literal["fedavg", "momentum", "adam"] = "fedavg"
    learning_rate: PositiveFloat = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """`momentum`: Nesterov's; `adam`: beta 1."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    adaptivity: PositiveFloat = 1e-3
    """Adam's tau, added to the root of the second moment."""


class FederationSpec(Section):
    """Who takes part in a round, and what the hub does with the answers."""

    rounds: PositiveInt
    min_sites: PositiveInt
    """Fewer usable replies than this, and the round fails."""
    reply_timeout_seconds: PositiveFloat = 3600
    weighting: Literal["equal", "examples"] = "equal"
    weight_cap: PositiveInt = 1024
    """Public bound on a site's weight; a site with more training rows counts as this many (`examples`)."""
    update_clip: PositiveFloat = 0.25
    """First round's bound on one coordinate of an update; later bounds follow the last aggregate."""
    profile: Literal["wide", "thin"] = "wide"
    """`wide`: 3 bytes a parameter, 16-bit steps; `thin`: 2 bytes for slow links, coarser with every site."""
    server_optimizer: ServerOptimizerSpec = ServerOptimizerSpec()
