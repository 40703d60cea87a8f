"""Colours of classes in a map, told apart with any colour vision."""

from typing import TypeAlias

from pointwise._pages.class_colours import class_colour

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255 each."""


def map_colour(number: int) -> Colour:
    """Colour of a class; from the twenty-first on they repeat.

    Args:
        number: Index of the class.

    Returns:
        Red, green and blue.

    Example:
        >>> map_colour(0), map_colour(20)
        ((0, 114, 178), (0, 114, 178))
    """
    red, green, blue = bytes.fromhex(class_colour(number)[1:])
    return red, green, blue
