"""Maps: a model fitted on rows, over every pixel of a raster of any size."""

from pointwise.maps.arrays import map_array
from pointwise.maps.files import MapSummary, map_files
from pointwise.maps.matching import match_bands
from pointwise.maps.outputs import Output, plan_output
from pointwise.maps.pixel_model import InputBand, PixelModel, as_pixel_model
from pointwise.maps.predict_map import predict_map
from pointwise.maps.predictor import Predictor
from pointwise.maps.previews import write_preview
from pointwise.maps.xarrays import map_dataarray

__all__ = [
    "InputBand",
    "MapSummary",
    "Output",
    "PixelModel",
    "Predictor",
    "as_pixel_model",
    "map_array",
    "map_dataarray",
    "map_files",
    "match_bands",
    "plan_output",
    "predict_map",
    "write_preview",
]
