"""Reports without the people in them: remove identifiers, keep the medicine.

`scrub` removes; `suspects`, made apart from it and more generous, looks at what is left.
"""

from client.ingest.deidentify.identifiers import NOBODY_NAMED, Identifiers
from client.ingest.deidentify.scrubbing import Scrubbed, scrub
from client.ingest.deidentify.spans import Span
from client.ingest.deidentify.suspects import suspects
from common.text.placeholders import Kind

__all__ = ["NOBODY_NAMED", "Identifiers", "Kind", "Scrubbed", "Span", "scrub", "suspects"]
