"""`[secure_aggregation]`: what the hub sees of one site's update; nothing here has a default."""

from typing import Literal

from common.spec.section import Section


class SecureAggregationSpec(Section):
    """Secure aggregation; `off` says in writing that the hub sees each site's update."""

    mode: Literal["off"]
