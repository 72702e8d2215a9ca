"""DICOM objects that are documents and no images, by their SOP class. Source: DICOM PS3.4 annex B.5."""

SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
"""Start of the SOP class UIDs of structured reports, the dose reports and CAD results among them."""
NARRATIVES = frozenset(f"{SR_CLASSES}{number}" for number in (11, 22, 33, 34, 35))
"""Basic Text, Enhanced, Comprehensive, Comprehensive 3D, Extensible: those that a person reads."""
KEY_OBJECTS = f"{SR_CLASSES}59"
"""Key Object Selection: images that somebody marked, to teach with, to reject or for a referrer."""
