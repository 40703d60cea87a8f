"""Rasters on disk as scenes: bands over one grid, read window by window."""

from pointwise.data.scenes.scene import Grid, Scene, SceneBand, open_scene

__all__ = ["Grid", "Scene", "SceneBand", "open_scene"]
