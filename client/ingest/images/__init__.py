"""From one image file to pixels that can be trusted."""

from client.ingest.images.header import Header, Patient
from client.ingest.images.listing import scan
from client.ingest.images.picture import Picture
from client.ingest.images.reading import read_images

__all__ = ["Header", "Patient", "Picture", "read_images", "scan"]
