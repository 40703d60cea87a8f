"""Names and colours of the classes of a map file, as its tags and its colour table tell them."""

import contextlib
import json
import re
from typing import TYPE_CHECKING

from pointwise.maps.colours import Colour
from pointwise.maps.files.writer import CLASSES_TAG

if TYPE_CHECKING:
    from rasterio.io import DatasetReader


def read_classes(
    dataset: "DatasetReader", band: int
) -> tuple[dict[int, str], dict[int, Colour] | None]:
    """Read what the numbers of a band stand for.

    Args:
        dataset: Open raster.
        band: Number of the band, from 1 on.

    Returns:
        The name of each class, and the colours of the file's colour table, ``None`` if it has none.
    """
    tags = {**dataset.tags(), **dataset.tags(band)}
    names: dict[int, str] = {}
    with contextlib.suppress(ValueError, AttributeError):  # another program's, or edited
        named = json.loads(tags.get(CLASSES_TAG, "{}"))
        names = {int(code): str(name) for code, name in named.items()}
    for key, value in tags.items():
        if found := re.fullmatch(r"CLASS_(\d+)", key):
            names.setdefault(int(found[1]), value)
    try:
        table = dataset.colormap(band)
    except ValueError:
        return names, None
    return names, {code: (red, green, blue) for code, (red, green, blue, _) in table.items()}
