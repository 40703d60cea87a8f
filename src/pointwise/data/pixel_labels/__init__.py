"""Labels of a scene's pixels, from rasters, points and polygons."""

from pointwise.data.pixel_labels.reading import LabelledPixels, is_vector, read_labels

__all__ = ["LabelledPixels", "is_vector", "read_labels"]
