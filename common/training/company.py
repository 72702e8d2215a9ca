"""Several processes of one hospital that train one model together, on one machine."""

import mmap
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from common.errors import FederationError, PeerError
from common.training.peers import Peers

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"
"""Nothing that they say to each other leaves the machine."""

PATIENCE = timedelta(minutes=10)
"""How long one waits for the others before it gives up; the slowest may still be reading its images."""

GOODBYE_SECONDS = 30
"""How long a process may take to end after its last step."""

Result = TypeVar("Result")


def in_company(
    work: Callable[..., Result], model: nn.Module, *inputs: object, count: int, backend: str, **own: object
) -> Result:
    """Run `work(model, *inputs, peers)` in `count` processes at once; the first of them is this one.

    Args:
        work: a function of a module, for the others find it by its name.
        model: changed here; the others work on copies.
        inputs: the same for all.
        count: of processes, 2 or more.
        backend: of `torch.distributed`.
        own: further arguments that only this process passes.

    Raises:
        PeerError: one of the others died.
    """
    with tempfile.TemporaryDirectory(prefix="fedvlp-company-") as name:
        folder = Path(name)
        torch.save(model, folder / "model.pt")
        context = multiprocessing.get_context("spawn")
        others = [
            context.Process(target=_join_in, args=(work, folder, inputs, Peers(rank, count), backend))
            for rank in range(1, count)
        ]
        for other in others:
            other.start()
        try:
            with _meeting(folder, Peers(0, count), backend):
                return work(model, *inputs, Peers(0, count), **own)
        except RuntimeError:  # what torch.distributed raises when a connection breaks
            if any(other.exitcode for other in others):
                raise PeerError(
                    "a process that shared this hospital's batches died; train the round again",
                    outward="a training process died",
                ) from None
            raise
        finally:
            for other in others:
                other.join(GOODBYE_SECONDS)
                if other.exitcode is None:
                    other.terminate()
                    other.join()


def _join_in(
    work: Callable[..., object], folder: Path, inputs: tuple[object, ...], peers: Peers, backend: str
) -> None:
    """What every process but the first does."""
    model = torch.load(folder / "model.pt", weights_only=False)  # our own, from a folder of our own
    try:
        with _meeting(folder, peers, backend):
            work(model, *inputs, peers)
    except FederationError as error:  # the first process met it too, and tells
        sys.exit(error.exit_code)


@contextmanager
def _meeting(folder: Path, peers: Peers, backend: str) -> Iterator[None]:
    """Connected with the others until the block ends."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK)
    dist.init_process_group(
        backend,
        init_method=f"file://{folder / 'meeting'}",
        rank=peers.rank,
        world_size=peers.count,
        timeout=PATIENCE,
    )
    try:
        yield
    finally:
        dist.destroy_process_group()


def _send_memory_map(array: np.memmap[Any, Any]) -> tuple[Callable[..., object], tuple[object, ...]]:
    """A whole memory map goes to another process by its path; a view of one goes by value."""
    if isinstance(array.base, mmap.mmap):
        return np.memmap, (array.filename, array.dtype, "r", array.offset, array.shape)
    return np.copy, (np.asarray(array),)


ForkingPickler.register(np.memmap, _send_memory_map)
