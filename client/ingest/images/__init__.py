"""From one image file to pixels that can be trusted."""

from client.ingest.images.dicom import read_images
from client.ingest.images.header import Header, Patient
from client.ingest.images.listing import scan
from client.ingest.images.picture import Picture

__all__ = ["Header", "Patient", "Picture", "read_images", "scan"]
