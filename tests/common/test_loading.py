import gc
from collections.abc import Iterator

import pytest

from common.loading import loading


@pytest.fixture(autouse=True)
def thaw() -> Iterator[None]:
    """The collector's own state, for the tests that follow."""
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_collected_within_the_block_and_everything_after_it() -> None:
    collections: list[str] = []
    gc.callbacks.append(lambda phase, _: collections.append(phase))
    try:
        with loading():
            cells = [[number] for number in range(10 * gc.get_threshold()[0])]
            assert not collections
        del cells
        assert gc.isenabled()
    finally:
        gc.callbacks.pop()


def test_later_collections_leave_alone_what_was_loaded() -> None:
    with loading():
        loaded = [[number] for number in range(1000)]
    assert gc.get_freeze_count() > len(loaded)
    assert not any(found is loaded for found in gc.get_objects())


def test_the_collector_works_again_after_an_import_that_failed() -> None:
    with pytest.raises(ModuleNotFoundError), loading():
        raise ModuleNotFoundError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with loading():
        pass
    assert not gc.isenabled()
