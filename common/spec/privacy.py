"""`[privacy]`: what differential privacy promises a patient; nothing here has a default."""

from typing import Literal

from common.spec.section import Section


class PrivacySpec(Section):
    """Differential privacy; `none` says in writing that an update is protected by nothing but its site."""

    mode: Literal["none"]
