"""The quality of a store: measured once, shown to people, and a gate before training."""

from client.ingest.quality.gate import require_quality

__all__ = ["require_quality"]
