"""Colours of classes that people with any colour vision can tell apart, and a legend's entries."""

from collections.abc import Sequence

CLASS_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#f0e442",
    "#870ff0",
    "#5a2d0f",
    "#c3f0c3",
    "#2d1e96",
    "#87004b",
    "#00ff87",
    "#9678ff",
    "#f0004b",
    "#5a2d78",
    "#69693c",
    "#d200b4",
    "#c3c3c3",
    "#c3a54b",
)
"""Okabe and Ito's seven, then each time the colour that is farthest from all before it, in CIELAB,
as seen with normal vision and with each of three kinds of colour blindness (Machado et al., A
Physiologically-based Model for Simulation of Color Vision Deficiency, 2009)."""


def class_colour(number: int) -> str:
    """Colour of a class; from the twenty-first on they repeat.

    Args:
        number: Index of the class.

    Returns:
        The colour as CSS spells it.

    Example:
        >>> class_colour(0), class_colour(20)
        ('#0072b2', '#0072b2')
    """
    return CLASS_COLOURS[number % len(CLASS_COLOURS)]


def class_palette(numbers: Sequence[int]) -> list[int]:
    """Palette of an image whose pixels are numbers of classes, so that it can be looked at.

    Args:
        numbers: The number that stands for each class, in the order of the classes, 0 to 255.

    Returns:
        Red, green and blue of each of 256 entries; those that are no class are black.

    Example:
        >>> class_palette([1])[:6]
        [0, 0, 0, 0, 114, 178]
    """
    palette = bytearray(3 * 256)
    for index, number in enumerate(numbers):
        palette[3 * number : 3 * number + 3] = bytes.fromhex(class_colour(index)[1:])
    return list(palette)
