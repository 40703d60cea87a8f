"""Pictures of maps, with their legends."""

from pointwise.maps.previews.preview import write_preview

__all__ = ["write_preview"]
