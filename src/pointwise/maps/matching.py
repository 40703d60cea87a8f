"""Which band of a raster is which column of a model: by name, else by order."""

import warnings
from collections.abc import Callable, Sequence, Set

from pointwise.data.scenes.agreement import name_all
from pointwise.errors import DataError, DataWarning
from pointwise.maps.pixel_model import InputBand, PixelModel

_LISTED = 12


def match_bands(model: PixelModel, names: Sequence[str | None], *, where: str) -> tuple[int, ...]:
    """Find the band of every column that the model takes.

    Names decide, in any order and among any number of bands; capitals count only where names differ
    by nothing else. What a fit has called ``band_2`` because it had no name is the second band, if
    that has none here either, with a warning. Where no name fits, the bands are taken in the order
    of the training columns, with a warning.

    Args:
        model: The model.
        names: Name of each band of the raster, ``None`` where it has none.
        where: What the raster is called, for messages.

    Returns:
        For each band in ``model.used`` the index of the raster's band.

    Raises:
        DataError: If bands are missing, two bands have the name of one column, or names do not fit
            and the number of bands does not either.

    Example:
        >>> from pointwise.maps.pixel_model import as_pixel_model
        >>> from pointwise.nn import MLP
        >>> model = as_pixel_model(MLP([2, 1]), bands=["red", "nir"])
        >>> match_bands(model, ["nir", "blue", "Red"], where="scene.tif")
        (2, 0)
    """
    if not model.named:
        return _by_order(model, names, where)
    columns = {band.name for band in model.bands}
    found = {band.name: _find(band.name, names, columns, where) for band in model.used}
    missing = [name for name, index in found.items() if index is None]
    if not missing:
        return tuple(index for index in found.values() if index is not None)
    unnamed = {name: _unnamed(name, names) for name in missing}
    if None not in unnamed.values():
        warnings.warn(
            f"{where}: its bands without a name are taken by their place in the scene: "
            f"{', '.join(missing)}",
            DataWarning,
            3,
        )
        return tuple(index for index in (found | unnamed).values() if index is not None)
    if len(missing) < len(found):
        raise DataError(
            f"{where} has no band {_listed(missing)}: the model needs {_listed(tuple(found))}, the "
            f"raster has {_listed(names)}; name the bands as the columns were in training"
        )
    order = _by_order(model, names, where)
    has = f"names that are no columns of the model ({_listed(names)})" if any(names) else "no names"
    taken = [band.name for _, band in sorted(zip(order, model.used, strict=True), key=_first)]
    warnings.warn(
        f"{where}: its bands have {has}, so they are taken in the order of the training columns: "
        f"{', '.join(taken)}",
        DataWarning,
        3,
    )
    return order


def _find(name: str, names: Sequence[str | None], columns: Set[str], where: str) -> int | None:
    """The band of this name, else the one that is spelt alike and is no other column."""
    rules: tuple[Callable[[str], str], ...] = (str, str.strip, lambda n: n.strip().casefold())
    for rule in rules:
        same = [
            i
            for i, other in enumerate(names)
            if other and rule(other) == rule(name) and (other == name or other not in columns)
        ]
        if len(same) > 1:
            numbers = " and ".join(str(i + 1) for i in same)
            raise DataError(
                f"{where} has more than one band {name!r} (bands {numbers}): "
                "give every band a name of its own"
            )
        if same:
            return same[0]
    return None


def _unnamed(name: str, names: Sequence[str | None]) -> int | None:
    """The band without a name that a fit calls so."""
    made = name_all(names)
    return made.index(name) if name in made and name not in names else None


def _by_order(model: PixelModel, names: Sequence[str | None], where: str) -> tuple[int, ...]:
    kept = [band for band in model.bands if not band.ignored]
    if len(names) == len(model.bands):
        order = list(model.bands)
    elif len(names) == len(kept):
        order = kept
    else:
        has = "1 band" if len(names) == 1 else f"{len(names)} bands"
        shown = f"({_listed(names)})" if any(names) else "without names"
        takes = f"{len(kept)} ({_listed([band.name for band in kept])})"
        if len(model.bands) > len(kept):
            takes += f", or all {len(model.bands)} columns of the training table"
        raise DataError(
            f"{where} has {has} {shown}, the model takes {takes}: give the bands that it was "
            "fitted on"
        )
    return tuple(next(i for i, b in enumerate(order) if b is band) for band in model.used)


def _first(pair: tuple[int, InputBand]) -> int:
    return pair[0]


def _listed(names: Sequence[str | None]) -> str:
    shown = [repr(name) if name else "one without a name" for name in names[:_LISTED]]
    if len(names) > _LISTED:
        shown.append(f"and {len(names) - _LISTED} more")
    return ", ".join(shown) if shown else "none"
