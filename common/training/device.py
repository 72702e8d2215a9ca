"""Where local training runs, and in what precision: the spec asks, the machine answers or refuses."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path

import torch

from common.errors import ConfigurationError
from common.spec.train import TrainSpec

NATIVE_BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Processor flags, x86 and Arm, of hardware that multiplies bfloat16. Without it the products are emulated:
28 GFLOP/s against 120 in float32 on one core of an Ice Lake Xeon."""

CUBLAS_WORKSPACE = ":4096:8"
"""What cuBLAS needs to repeat itself to the bit (CUDA's own documentation of CUBLAS_WORKSPACE_CONFIG)."""


def pick_device(spec: TrainSpec, rank: int = 0) -> torch.device:
    """The device that `spec` asks for; `auto` takes a CUDA GPU where there is one, and the CPU elsewhere.

    MPS must be asked for by name: what it computes has not been compared with the others.

    Args:
        spec: of the run.
        rank: of this process among those that share a batch; each has a GPU of its own.

    Raises:
        ConfigurationError: the device that was asked for is not there, or has fewer GPUs than processes.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    asked = spec.device
    if asked == "auto":
        asked = "cuda" if present["cuda"] else "cpu"
    if not present[asked]:
        raise ConfigurationError(
            f"train.device = '{asked}', but this machine offers "
            f"{', '.join(name for name, there in present.items() if there)}; "
            "choose one of these, or train.device = 'auto'",
            outward=f"device '{asked}' is not there",
        )
    if asked == "mps" and spec.processes > 1:
        raise ConfigurationError("train.processes must be 1 with train.device = 'mps'")
    if asked != "cuda":
        return torch.device(asked)
    if torch.cuda.device_count() < spec.processes:
        raise ConfigurationError(
            f"train.processes = {spec.processes}, but this machine has {torch.cuda.device_count()} GPUs",
            outward="fewer GPUs than processes",
        )
    return torch.device("cuda", rank)


def precision_of(spec: TrainSpec, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16, or no autocast; weights and sums stay in float32 either way.

    Raises:
        ConfigurationError: bfloat16 was asked for and the GPU has none.
    """
    native = multiplies_bfloat16(device)
    if spec.precision == "bf16" and device.type == "cuda" and not native:
        raise ConfigurationError(
            "train.precision = 'bf16', but this GPU has no bfloat16; use 'fp32' or 'auto'",
            outward="the GPU has no bfloat16",
        )
    low = spec.precision == "bf16" or (spec.precision == "auto" and native)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=low)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is faster than float32 there, because the hardware multiplies it."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "mps":
        return False
    return not NATIVE_BF16.isdisjoint(_processor_flags())


@contextmanager
def repeatable(spec: TrainSpec, device: torch.device) -> Iterator[None]:
    """Threads, and on a GPU algorithms that give the same bits every time; the random state is put back.

    Raises:
        ConfigurationError: an operation has no such algorithm on this GPU.
    """
    torch.set_num_threads(spec.threads)
    gpus = [device.index] if device.type == "cuda" else []
    strict = spec.deterministic and device.type == "cuda"
    if strict:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", CUBLAS_WORKSPACE)
    before = torch.get_deterministic_debug_mode()
    torch.set_deterministic_debug_mode(
        "error" if strict else before
    )  # imports no compiler, as the other one does
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    except RuntimeError as error:
        if strict and "deterministic" in str(error):
            operation = str(error).split(" does not", 1)[0]
            raise ConfigurationError(
                f"{operation} does not repeat to the bit on this GPU; set train.deterministic = false",
                outward="an operation does not repeat to the bit on this GPU",
            ) from None
        raise
    finally:
        torch.set_deterministic_debug_mode(before)


def made_on(device: torch.device) -> AbstractContextManager[object]:
    """Tensors that are made without naming a device lie on this one."""
    return nullcontext() if device.type == "cpu" else device


@cache
def _processor_flags() -> frozenset[str]:
    """What the processor says it can do, as Linux lists it; nothing elsewhere."""
    listed = Path("/proc/cpuinfo")
    if not listed.exists():
        return frozenset()
    lines = listed.read_text(errors="replace").splitlines()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(flags.partition(":")[2].split())
