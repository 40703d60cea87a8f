"""The model card: ``README.md`` of a model folder, as the Hugging Face hub shows it.

Names from a table may hold anything. They never enter the front matter, and in the text they stand
in code spans or escaped, on one line.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

SHOWN = 50
"""Names listed before 'and N more'."""

_TEMPLATE = """\
---
library_name: pointwise
pipeline_tag: {tag}
tags:
- pointwise
- {tag}
- 1x1-convolution
{front_metrics}---

# {title}

{what}

## Results

{results}

{about}"""

_ABOUT_TABLES = """\
## Use

```python
from pointwise import load

model = load("folder")  # the folder that holds this file
predictions = model.predict(frame)  # a table with the columns below
```

```sh
pointwise predict FOLDER data.csv --out predictions.csv
```

## Columns

{columns}

## Limits

- Rows outside the range of the training rows are extrapolated: there is no evidence for how good
  the predictions are there.
- The results above are for rows like those it was trained on. They say nothing about data that
  was gathered otherwise, or later.
"""

_ABOUT_IMAGES = """\
## Use

```python
from pointwise import load

model = load("folder")  # the folder that holds this file
predictions = model.predict(images)  # an array (N, C, H, W), see below
```

## Images

- {channels} of {height} x {width} pixels in training; other sizes are taken too.
- {unit}

## Limits

- Objects much larger or smaller than in training, and images taken otherwise, are extrapolated:
  there is no evidence for how good the predictions are there.
- An image of none of the classes is given one of them all the same.
- The results above are for images like those it was trained on. They say nothing about images that
  were gathered otherwise, or later.
"""


def model_card(
    config: Mapping[str, Any],
    *,
    rows: Mapping[str, int],
    baselines: Sequence[Mapping[str, Any]] = (),
) -> str:
    r"""Write a short model card in Markdown.

    Args:
        config: Config of the model. Read here: ``task``, ``estimator``, ``targets`` and ``columns``
            (names, or mappings with ``name`` and perhaps ``kind``), ``classes``, ``metrics``
            (numbers by name), and from ``network`` its ``members`` and ``parameters`` where given;
            for models of images also ``images`` (channels, size and unit), ``class_names`` and the
            network's ``backbone``; and of compressed ones ``compressed``.
        rows: How many rows each part of the data has; the metrics are those on the last part.
        baselines: Other models on the same rows: each a ``name`` and the same metrics, beside it
            or under ``metrics``.

    Returns:
        The text, front matter first.

    Example:
        >>> config = {"task": "regression", "estimator": "PointwiseRegressor", "targets": ["price"]}
        >>> config |= {"columns": ["area"], "classes": None, "metrics": {"rmse": 2.5}}
        >>> config |= {"network": {"members": 16, "parameters": 4096}}
        >>> card = model_card(config, rows={"train": 80, "validation": 20})
        >>> print("\n".join(card.splitlines()[11:16]))
        # PointwiseRegressor: `price`
        <BLANKLINE>
        This model predicts `price` (regression) from 1 column. ...
    """
    images = "images" in config
    metrics = _numbers(config["metrics"])
    tags = [f"- {name}\n" for name in metrics if re.fullmatch("[a-z][a-z0-9_]*", name)]
    return _TEMPLATE.format(
        tag=f"{'image' if images else 'tabular'}-{_task(config)}",
        front_metrics="metrics:\n" + "".join(tags) if tags else "",
        title=f"{_text(config['estimator'])}: {', '.join(_names(config['targets'], 3))}",
        what=(_what_of_images(config) if images else _what(config)) + _compression(config),
        results=_results(metrics, rows, baselines, "Images" if images else "Rows"),
        about=_about_images(config["images"]) if images else _about_table(config),
    )


def _compression(config: Mapping[str, Any]) -> str:
    """That the network was compressed; a config may hold anything."""
    plans = config.get("compressed")
    if not isinstance(plans, list) or not plans:
        return ""
    times = {1: "", 2: " twice"}.get(len(plans), f" {len(plans)} times")
    return (
        f"\n\nIts network was made smaller{times} after training: layers were replaced by two or\n"
        "three smaller ones each, which `compression.json` and `report.html` tell of where they\n"
        "are beside this file. What is said of training is from before."
    )


def _task(config: Mapping[str, Any]) -> str:
    """The task, as a word of ours: a config may hold anything."""
    task = config["task"]
    return task if task in ("classification", "segmentation") else "regression"


def _about_table(config: Mapping[str, Any]) -> str:
    columns = "\n".join(f"- {line}" for line in _names(config["columns"]))
    return _ABOUT_TABLES.format(columns=columns)


def _about_images(images: Mapping[str, Any]) -> str:
    count = images["channels"]
    own = f"Floats, {images['lowest']:g} to {images['highest']:g} in training: give the same unit."
    return _ABOUT_IMAGES.format(
        channels="1 channel" if count == 1 else f"{count} channels",
        height=images["height"],
        width=images["width"],
        unit="Bytes, or floats from 0 to 1." if images["unit"] == "byte" else own,
    )


def _what_of_images(config: Mapping[str, Any]) -> str:
    targets, task = ", ".join(_names(config["targets"])), _task(config)
    of = "each pixel of an image" if task == "segmentation" else "an image"
    lines = [f"This model predicts {targets} ({task}) of {of}."]
    if classes := config.get("class_names") or config["classes"]:
        lines.append(f"Its classes are {', '.join(_names(classes, 20))}.")
    network = config.get("network", {})
    lines.append(f"Its network is {_code(network.get('backbone', 'one of its own'))}, behind")
    lines.append("a layer that brings every channel to mean 0 and deviation 1.")
    return "\n".join(lines)


def _what(config: Mapping[str, Any]) -> str:
    targets, count = ", ".join(_names(config["targets"])), len(config["columns"])
    columns = "1 column" if count == 1 else f"{count} columns"
    lines = [f"This model predicts {targets} ({_task(config)}) from {columns}."]
    if config["classes"]:
        lines.append(f"Its classes are {', '.join(_names(config['classes'], 20))}.")
    lines += [
        "It is a stack of 1x1 convolutions: every layer is one matrix on the channel axis, applied",
        "at every position. A row of a table is one position, and there the stack has exactly the",
        "parameters and the arithmetic of a dense network.",
    ]
    network = config.get("network", {})
    sizes = [
        f"{network[key]:,} {word if network[key] != 1 else word.removesuffix('s')}"
        for key, word in (("members", "networks side by side"), ("parameters", "parameters"))
        if isinstance(network.get(key), int)
    ]
    return "\n".join(lines + ([f"It has {' and '.join(sizes)}."] if sizes else []))


def _results(
    metrics: Mapping[str, float],
    rows: Mapping[str, int],
    baselines: Sequence[Mapping[str, Any]],
    what: str,
) -> str:
    lines = []
    if rows:
        parts = [f"{count:,} {_text(name)}" for name, count in rows.items()]
        last = f"{parts[-1]} {what.lower()}"
        about = f" The figures are for the {last}." if metrics else ""
        lines.append(f"{what}: {', '.join(parts)}.{about}")
        if metrics and list(rows)[-1].startswith("valid"):
            lines.append("They also chose the epoch that was kept, which flatters the model a bit.")
        lines.append("")
    if not metrics:
        return "\n".join([*lines, "No figures were recorded."])
    table = [["", *map(_text, metrics)], ["---"] + ["---:"] * len(metrics)]
    table.append(["**this model**", *map(_number, metrics.values())])
    for baseline in baselines:
        figures = _numbers(baseline.get("metrics", baseline))
        cells = [_number(figures[name]) if name in figures else "-" for name in metrics]
        table.append([_text(baseline["name"]), *cells])
    return "\n".join(lines + [f"| {' | '.join(cells)} |" for cells in table])


def _names(entries: Sequence[Any], shown: int = SHOWN) -> list[str]:
    """Spell the names of columns, targets or classes, with their kinds where they say them."""
    names = []
    for entry in entries[:shown]:
        if isinstance(entry, Mapping):
            kind = f": {_text(entry['kind'])}" if entry.get("kind") else ""
            names.append(_code(entry["name"]) + kind)
        else:
            names.append(_code(entry))
    return names + ([f"and {len(entries) - shown} more"] if len(entries) > shown else [])


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 10_000 else f"{value:.4g}"


def _line(value: Any) -> str:
    """Bring any value on one line of printable characters, at most 80."""
    text = " ".join(str(value).split())
    text = "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
    return text if len(text) <= 80 else f"{text[:79]}\N{HORIZONTAL ELLIPSIS}"


def _code(value: Any) -> str:
    """Spell a name as a code span: the fence is longer than any run of backticks in it."""
    text = _line(value)
    if not text:
        return "(empty)"
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _text(value: Any) -> str:
    """Escape what Markdown would read as markup; an underscore inside a word is none."""
    return re.sub(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", _line(value))
