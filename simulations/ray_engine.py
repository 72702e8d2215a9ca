"""The same apps on Flower's own simulation, which runs every site as a Ray actor's task."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import ray
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from common.errors import PeerError
from server.app import app as server_app
from simulations.grid import fedvlp_client_app
from simulations.local_grid import NodeConfig

PARTITION = "partition-id"
"""What Flower tells a simulated node of itself; site i of the sorted names is partition i."""


def run_on_ray(
    sites: Mapping[str, NodeConfig], run_config: Mapping[str, str | bool], *, threads: int
) -> None:
    """Run the federation to the end on Ray actors: those of this machine, or of the cluster in RAY_ADDRESS.

    Args:
        sites: name -> what the site finds in `context.node_config`.
        run_config: what the hub finds in `context.run_config`.
        threads: CPUs of one site; as many sites train at once as fit.

    Raises:
        FederationError: what the ServerApp raised.
        PeerError: Ray or Flower's engine failed.
    """
    failures: list[Exception] = []
    with _quiet_flower():
        try:
            run_simulation(
                server_app=_server(dict(run_config), failures),
                client_app=_client([dict(sites[name]) for name in sorted(sites)]),
                num_supernodes=len(sites),
                backend_config={
                    "client_resources": {"num_cpus": threads, "num_gpus": 0.0},
                    "init_args": {
                        "include_dashboard": False,
                        "logging_level": logging.ERROR,
                        "log_to_driver": False,
                    },
                },
            )
        except Exception as error:
            if not failures:
                said = " ".join(str(error.__cause__ or error).split())
                raise PeerError(
                    f"Ray engine: {said}; try again, or use --engine inprocess, which needs no Ray"
                ) from None
        finally:
            ray.shutdown()
    if failures:
        raise failures[0]


def _server(run_config: dict[str, str | bool], failures: list[Exception]) -> ServerApp:
    """Our ServerApp with its run configuration, which this way into Flower cannot pass."""
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
    """Our ClientApp with its node's configuration; Flower keeps its context, so this is another one."""
    app = ClientApp()

    def pass_on(message: Message, context: Context) -> Message:
        place = int(context.node_config[PARTITION])
        own = Context(
            run_id=context.run_id,
            node_id=context.node_id,
            node_config=sites[place],
            state=context.state,
            run_config=context.run_config,
        )
        return fedvlp_client_app()(message, own)

    app.train()(pass_on)
    app.query("hello")(pass_on)
    return app


@contextmanager
def _quiet_flower() -> Iterator[None]:
    """No word of Flower below an error: our own progress is what a person reads."""
    flower = logging.getLogger("flwr")
    level = flower.level
    flower.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        flower.setLevel(level)
