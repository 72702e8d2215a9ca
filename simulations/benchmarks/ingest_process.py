"""The measured process of the ingest benchmark: a plain loop, ours, decoding alone, workers, the store."""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from client.ingest.images import Picture, read_images
from client.ingest.workers import read_all
from common.imaging.preparation import Preparation
from common.store import Store

REPEATS = 3
"""Of everything; the fastest counts."""
BATCH = 64
STORE_SECONDS = 1.0
"""Batches are read for at least so long: one takes microseconds."""


def plain(path: Path, size: int) -> None:
    """What one writes who has pydicom and PIL: decode, window, scale to 8 bits, resize, save as PNG."""
    dataset = dcmread(path)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float32)
    values -= values.min()
    values *= 255 / max(1.0, float(values.max()))
    scale = size / max(values.shape)
    shape = round(values.shape[1] * scale), round(values.shape[0] * scale)
    Image.fromarray(values.astype(np.uint8)).resize(shape, Image.Resampling.BICUBIC).save(BytesIO(), "PNG")


def header(path: Path) -> None:
    """Read a file up to its pixels."""
    dcmread(path, stop_before_pixels=True)


def decode(path: Path) -> None:
    """Read a file and decode it."""
    _ = dcmread(path).pixel_array


def ours(path: Path, preparation: Preparation) -> None:
    """Read a file as ingest does."""
    assert isinstance(read_images(path, preparation), Picture)


def main() -> None:
    """FILES STORE IMAGE_SIZE RESULT: measure the files under FILES/SYNTAX, and write seconds to RESULT."""
    warnings.simplefilter("ignore")
    files, store, result = Path(sys.argv[1]), Store(Path(sys.argv[2])), Path(sys.argv[4])
    preparation = Preparation(image_size=int(sys.argv[3]), burned_in="keep")
    folders = sorted(files.iterdir())
    syntaxes = {folder.name: _in_turns(sorted(folder.iterdir()), preparation) for folder in folders}
    paths = [
        path
        for several in zip(*(sorted(folder.iterdir()) for folder in folders), strict=True)
        for path in several
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    again, batch = _from_store(store, paths, preparation)
    document = {
        "syntaxes": syntaxes,
        "cores": cores,
        "one_worker": _by_workers(paths, preparation, 1),
        "all_cores": _by_workers(paths, preparation, cores),
        "again": again,
        "store_batch": batch,
    }
    result.write_text(json.dumps(document))


def _in_turns(paths: Sequence[Path], preparation: Preparation) -> dict[str, float]:
    """Processor seconds an image, each thing in turn on each file."""
    things: dict[str, Callable[[Path], None]] = {
        "plain": partial(plain, size=preparation.image_size),
        "ours": partial(ours, preparation=preparation),
        "in_full": partial(ours, preparation=preparation.model_copy(update={"reduced_reading": False})),
        "header": header,
        "decode": decode,
    }
    spent = dict.fromkeys(things, 0.0)
    for path in paths:
        times = {name: [_seconds(thing, path) for _ in range(REPEATS)] for name, thing in things.items()}
        for name, taken in times.items():
            spent[name] += min(taken) / len(paths)
    return spent


def _seconds(thing: Callable[[Path], None], path: Path) -> float:
    started = time.process_time()
    thing(path)
    return time.process_time() - started


def _by_workers(paths: Sequence[Path], preparation: Preparation, workers: int) -> float:
    """Images per second by the clock, from the first result on: without the start of the processes."""
    rates = []
    for _ in range(REPEATS):
        results: Iterator[object] = read_all(
            [paths[0], *paths], partial(read_images, preparation=preparation), workers=workers
        )
        next(results)
        started = time.perf_counter()
        assert all(isinstance(one, Picture) for one in results)
        rates.append(len(paths) / (time.perf_counter() - started))
    return max(rates)


def _from_store(store: Store, paths: Sequence[Path], preparation: Preparation) -> tuple[float, float]:
    """Seconds an image: read from the files again, and in shuffled batches from the store."""
    started = time.perf_counter()
    for path in paths:
        ours(path, preparation)
    again = (time.perf_counter() - started) / len(paths)
    chance = np.random.default_rng(0)
    images, started = 0, time.perf_counter()
    while time.perf_counter() - started < STORE_SECONDS:
        rows = np.sort(chance.choice(len(store.images), min(BATCH, len(store.images)), replace=False))
        images += len(store.images[rows])
    return again, (time.perf_counter() - started) / images
