"""Maps from files to files: windows in, windows out, and one step at the end."""

from pointwise.maps.files.mapping import MapSummary, map_files

__all__ = ["MapSummary", "map_files"]
