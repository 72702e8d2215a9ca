"""Disc, memory and GPU of the machine that trains."""

import shutil
import subprocess
from pathlib import Path

from client.doctor.finding import Finding, failed, passed, warned
from client.memory import memory_here

LEAST_DISC_GB, COMFORTABLE_DISC_GB = 1.0, 20.0
LEAST_MEMORY_GB, COMFORTABLE_MEMORY_GB = 2.0, 8.0
MODELS_ON_DISC, MODELS_IN_MEMORY = 6, 8
"""Copies of the exchanged weights that a round keeps at most: on disc the project, the sealed update and what
a killed round goes on from; in memory weights, gradient, optimiser, update, message."""
GPU_SECONDS = 20.0


def examine_machine(home: Path, *, model_bytes: int) -> list[Finding]:
    """Whether there is room for a model of this size; 0 where no project says one."""
    return [_disc(home, model_bytes), _memory(model_bytes), _gpu()]


def _disc(home: Path, model_bytes: int) -> Finding:
    free = shutil.disk_usage(home).free / 1e9
    least = LEAST_DISC_GB + MODELS_ON_DISC * model_bytes / 1e9
    told = f"{free:,.1f} GB free where {home} lies"
    if free < least:
        return failed("disc", told, f"make room: a round needs {least:,.1f} GB")
    if free < max(COMFORTABLE_DISC_GB, 2 * least):
        return warned("disc", told, "make room: logs and the next store want some")
    return passed("disc", told)


def _memory(model_bytes: int) -> Finding:
    free = memory_here().available / 1e9
    least = LEAST_MEMORY_GB + MODELS_IN_MEMORY * model_bytes / 1e9
    told = f"{free:,.1f} GB available"
    if free < least:
        return failed("memory", told, f"end other programs or add memory: a round needs {least:,.1f} GB")
    if free < max(COMFORTABLE_MEMORY_GB, 1.5 * least):
        return warned("memory", told, "end other programs while it trains, or add memory")
    return passed("memory", told)


def _gpu() -> Finding:
    fix = "a processor trains small models only; install a GPU's driver and give the container access to it"
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=GPU_SECONDS, check=True).stdout
    except FileNotFoundError:
        return warned("GPU", "no driver of an NVIDIA GPU here", fix)
    except (OSError, subprocess.SubprocessError):
        return failed("GPU", "nvidia-smi does not answer", "install the driver again, or restart the machine")
    import torch

    if not torch.cuda.is_available():
        return failed(
            "GPU",
            f"{said.splitlines()[0].strip()}, but torch {torch.__version__} cannot use it",
            "update the driver to what this torch needs, or give the container access to the GPU",
        )
    return passed("GPU", "; ".join(line.strip() for line in said.splitlines()))
