"""A site's clock, set by a test."""

from datetime import UTC, datetime, timedelta

import pytest


def set_clock(monkeypatch: pytest.MonkeyPatch, later: timedelta) -> None:
    """Let every site's clock be that much later than it is."""

    class Shown(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # as it is called
            return datetime.now(UTC) + later

    monkeypatch.setattr("client.clock.datetime", Shown)
