"""From a matplotlib figure to SVG that lives inside a page.

The charts are matplotlib's, which knows scales, layout and legends better than code of ours would.
As it writes them its files do not suit a page: fixed colours (no dark mode), letters as paths, ids
that clash between charts. What is changed here mends that, and leaves hand-made SVG no advantage:
text stays text in the page's font, each colour becomes a CSS variable, ids get a prefix, and what
only a stand-alone file needs goes. A chart is then 6 to 17 kB.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from pointwise._pages.page import palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The colours to draw with: place holders, each of which the page's style sheet fills in.
INK, MUTED, RULE, ACCENT, MARK = "#000001", "#000002", "#000003", "#000004", "#000005"
_VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", ACCENT: "--accent", MARK: "--mark"}
_COLOUR = re.compile("|".join(_VARIABLES))
_FONT = re.compile(r"font(-family|-size)?:[^;]*;?\s*")

FONT_SIZE = 10.5  # of a drawing 400 wide: 13 pixels on a desktop; the page enlarges it on a phone

_BOX = re.compile('viewBox="([^"]*)"')
_PAPER = 'style="fill: var(--page)"'
_ALONE = f"""text {{ font: {FONT_SIZE}px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; }}
@media (max-width: 25rem) {{ text {{ font-size: 12px; }} }}
"""

_STYLE = {
    "svg.fonttype": "none",
    "font.size": FONT_SIZE,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": FONT_SIZE,
    "axes.labelpad": 8,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "legend.handlelength": 1.4,
    "legend.borderaxespad": 0.2,
}


@contextmanager
def drawing(width: float = 400, height: float = 280) -> Iterator[tuple["Figure", "Axes"]]:
    """Open a figure of one axes to draw in, in the report's style whatever the user's own is.

    Args:
        width: Width in points, and in units of the ``viewBox``.
        height: Height, likewise.

    Yields:
        The figure and its axes; call ``inline_svg`` before leaving.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        for name, value in _STYLE.items():
            mpl.rcParams[name] = value  # type: ignore[index]
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        yield figure, axes


def inline_svg(figure: "Figure", key: str, label: str) -> str:
    """Write a figure as an ``<svg>`` element for a page.

    Args:
        figure: Figure drawn with the colours of this module, inside ``drawing``.
        key: Prefix of the ids, unique in the page.
        label: What the chart shows, for those who do not see it.

    Returns:
        The element, without namespaces or references to anything outside.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    drawn = file.getvalue()
    names = {name: f"{key}-{place}" for place, name in enumerate(_referred(drawn))}
    root = ElementTree.fromstring(drawn)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):  # its style is for the whole page
                parent.remove(child)
    for element in root.iter():
        _rewrite(element, names)
    box = root.attrib["viewBox"]
    root.attrib.clear()
    root.attrib.update({"viewBox": box, "role": "img", "aria-label": label})
    return ElementTree.tostring(root, encoding="unicode")


def svg_file(figure: "Figure", label: str, *, width: int = 560) -> str:
    """Write a figure as an SVG file that stands alone: it brings its colours, light and dark.

    Args:
        figure: Figure drawn with the colours of this module, inside ``drawing``.
        label: What the chart shows, for those who do not see it.
        width: Width in pixels where there is room; a page may show it smaller.

    Returns:
        The file's content, to be written as UTF-8.
    """
    head, body = inline_svg(figure, "chart", label).split(">", 1)
    left, top, across, down = map(float, _BOX.search(head)[1].split())  # type: ignore[index]
    size = f'width="{width}" height="{width * down / across:.0f}"'
    paper = f'<rect x="{left:g}" y="{top:g}" width="{across:g}" height="{down:g}" {_PAPER}/>'
    start = head.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" {size} ', 1)
    return f"{start}><style>\n{palette()}{_ALONE}</style>{paper}{body}\n"


def _referred(drawn: str) -> list[str]:
    """List the ids that something refers to, in order."""
    return list(dict.fromkeys(re.findall(r"(?:href=\"|url\()#([^\")]+)", drawn)))


def _rewrite(element: ElementTree.Element, names: dict[str, str]) -> None:
    """Take namespaces off, put variables for colours, and rename the ids in use."""
    element.tag = element.tag.rpartition("}")[2]
    element.text, element.tail = (element.text or "").strip(), None
    for attribute, value in list(element.attrib.items()):
        del element.attrib[attribute]
        plain = attribute.rpartition("}")[2]
        if plain == "id" and value not in names:
            continue
        if plain == "style" and element.tag == "text":
            value = _FONT.sub("", value)
        value = _COLOUR.sub(lambda found: f"var({_VARIABLES[found[0]]})", value)
        for old, new in names.items():
            if value in (old, f"#{old}"):
                value = value.replace(old, new)
            value = value.replace(f"url(#{old})", f"url(#{new})")  # a hatch stands in a style
        element.set(plain, value)
