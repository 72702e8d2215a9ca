"""All that a worker process imports before it is a hospital; see `simulations.workers`."""

from common.loading import loading

with loading():
    import client.app  # noqa: F401 - the import is the purpose
