"""One image file of any kind: DICOM, or a plain picture."""

from pathlib import Path

from client.ingest.images.dicom import read_dicom
from client.ingest.images.picture import Picture
from client.ingest.images.raster import is_raster, read_raster
from client.ingest.rejected import Reason
from common.imaging.preparation import Preparation


def read_images(path: Path, preparation: Preparation) -> Picture | Reason:
    """Read one file and prepare its frames, or say why not; never raises for a bad file."""
    try:
        plain = is_raster(path)
    except IsADirectoryError:
        return Reason.NOT_DICOM
    except OSError:
        return Reason.UNREADABLE
    return read_raster(path, preparation) if plain else read_dicom(path, preparation)
