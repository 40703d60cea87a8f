"""Maps of labelled arrays, lazy where they are."""

from pointwise.maps.xarrays.labelled import map_dataarray

__all__ = ["map_dataarray"]
