"""The C around the object code, from templates."""

from importlib.resources import files
from textwrap import fill
from typing import TYPE_CHECKING, Any

from pointwise.export.library.names import comment, string

WIDTH = 100
"""Letters of a line."""

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, facts: dict[str, Any]) -> str:
    """Write one file of C.

    Args:
        template: Its template, ``"table.c"`` say.
        facts: What the template names.

    Returns:
        The file's content.
    """
    return _environment().get_template(f"{template}.jinja").render(facts)


def declared(function: str) -> str:
    """A declaration in lines that are not too long.

    Args:
        function: The declaration in one line.

    Returns:
        Its lines.

    Example:
        >>> declared(f"void run(float *{'x' * 80}, size_t positions)").splitlines()[1]
        '    size_t positions)'
        >>> declared("x" * 120) == "x" * 120
        True
    """
    lines = [""]
    for part in function.split(", "):
        longer = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(longer) < WIDTH or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += ","
            lines.append(f"    {part}")
    return "\n".join(lines)


def told(text: str) -> str:
    """A text as the lines of a comment that has begun.

    Args:
        text: The text.

    Returns:
        Its lines.

    Example:
        >>> told("a chain */ of 1x1s")
        'a chain * / of 1x1s'
    """
    return fill(comment(text), WIDTH, initial_indent=" * ", subsequent_indent=" * ")[3:]


def _environment() -> "Environment":
    from jinja2 import DictLoader, Environment, StrictUndefined

    here = files("pointwise.export.library").joinpath("templates")
    environment = Environment(
        loader=DictLoader({file.name: file.read_text("utf-8") for file in here.iterdir()}),
        autoescape=False,  # C is no HTML: string and comment spell what comes from a user
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(comment=comment, string=string, declared=declared, told=told)
    return environment
