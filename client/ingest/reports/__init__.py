"""Reports as hospitals and published data sets keep them: `open_reports` reads any of their formats."""

from client.ingest.reports.formats import AUTO, FORMATS, Opened, open_reports
from client.ingest.reports.report import ImageRecord, Report
from client.ingest.reports.shelf import Shelf
from client.ingest.reports.tables import COLUMNS, parse_column_map, read_rows

__all__ = [
    "AUTO",
    "COLUMNS",
    "FORMATS",
    "ImageRecord",
    "Opened",
    "Report",
    "Shelf",
    "open_reports",
    "parse_column_map",
    "read_rows",
]
