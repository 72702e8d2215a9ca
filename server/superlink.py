"""Flower's SuperLink behind a lock: nodes' and executors' calls pass, the rest needs the operator's secret.

Flower 1.41 serves the interfaces of hospitals (Fleet), executors (Runtime) and the operator (Control) on one
port, and the free distribution asks nobody who calls Control for credentials. Here every path is closed to
callers without the secret but `/v1/fleet/`, where a node proves its key, `/v1/runtime/`, where an executor
proves its secret, and `/health`. The program takes the arguments of `flower-superlink` and the secret's file
from the environment.
"""

import hmac
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn
from flwr.superlink.cli.flower_superlink import (
    SuperLinkLifespan,
    _parse_superlink_lifespan_config,
)
from flwr.superlink.main import create_app

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
"""As ASGI 3 has them."""

SECRET_FILE = "FEDVLP_OPERATOR_SECRET_FILE"
OPEN_PREFIXES, HEALTH = ("/v1/fleet/", "/v1/runtime/"), "/health"
POLICY_VIOLATION = 1008
"""Of a websocket; Flower has none."""
STOP_SECONDS = 3
"""What open requests get at the end; a site's next one finds nobody and is repeated by Flower."""


class OperatorOnly:
    """Stands before an ASGI application: 401 where the operator's secret is needed and not shown."""

    def __init__(self, app: Application, secret: bytes) -> None:
        self._app, self._expected = app, authorization(secret)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: D102 - ASGI's
        if scope["type"] == "lifespan" or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    def _may_pass(self, scope: Scope) -> bool:
        if scope["type"] != "http":
            return False
        path: str = scope["path"]
        if path == HEALTH or path.startswith(OPEN_PREFIXES):
            return True
        shown = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(shown) == 1 and hmac.compare_digest(shown[0], self._expected.encode())


def authorization(secret: bytes) -> str:
    """The header by which the operator's programs show the secret."""
    return f"Bearer {secret.hex()}"


def main() -> None:
    """Serve until a signal ends the process. There is no access log: executors ask several times a second."""
    secret = Path(os.environ[SECRET_FILE]).read_bytes()
    config = _parse_superlink_lifespan_config()
    uvicorn.run(
        OperatorOnly(create_app(config, SuperLinkLifespan), secret),
        host=config.host,
        port=config.port,
        ssl_keyfile=config.ssl_keyfile,
        ssl_certfile=config.ssl_certfile,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    main()
