"""The same apps on Flower's own simulation, which runs every site as a Ray actor's task."""

import warnings
from collections.abc import Mapping

import ray
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from common.errors import PeerError
from server.app import app as server_app
from simulations.grid import NodeConfig, fedvlp_client_app

PARTITION = "partition-id"
"""What Flower tells a simulated node of itself; site i of the sorted names is partition i."""


def run_on_ray(
    sites: Mapping[str, NodeConfig], run_config: Mapping[str, str | bool], *, threads: int
) -> None:
    """Run the federation to the end on local Ray actors.

    Raises:
        FederationError: what the ServerApp raised.
        PeerError: Ray or Flower's engine failed.
    """
    failures: list[Exception] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            run_simulation(
                server_app=_server(dict(run_config), failures),
                client_app=_client([dict(sites[name]) for name in sorted(sites)]),
                num_supernodes=len(sites),
                backend_config={
                    "client_resources": {"num_cpus": threads, "num_gpus": 0.0},
                    "init_args": {"include_dashboard": False, "logging_level": "error"},
                },
            )
        except RuntimeError as error:
            if not failures:
                raise PeerError(f"Ray engine: {' '.join(str(error).split())}") from None
        finally:
            ray.shutdown()
    if failures:
        raise failures[0]


def _server(run_config: dict[str, str | bool], failures: list[Exception]) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        context.run_config = {**run_config}
        try:
            server_app(grid, context)
        except Exception as error:
            failures.append(error)
            raise

    return app


def _client(sites: list[dict[str, str | int | float | bool]]) -> ClientApp:
    app = ClientApp()

    def pass_on(message: Message, context: Context) -> Message:
        context.node_config = sites[int(context.node_config[PARTITION])]
        return fedvlp_client_app()(message, context)

    app.train()(pass_on)
    app.query("hello")(pass_on)
    return app
