"""``pointwise export``: a model as one ONNX file, with its preprocessing inside."""

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise.cli import networks, options
from pointwise.cli.images import refuse_given
from pointwise.cli.tables import read_for_model
from pointwise.cli.words import print_json, print_line
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.export import OnnxFile

SUFFIX = ".onnx"


def export(
    model: options.Network,
    out: Annotated[Path, typer.Option(metavar="FILE.onnx", help="File to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Of a model of tables: rows to check the file with. Default: rows drawn like "
            "those of training.",
        ),
    ] = None,
    pixels: Annotated[
        bool,
        typer.Option(
            "--pixels",
            help="Of a model of tables: take images of any size whose bands are its columns, and "
            "predict each pixel.",
        ),
    ] = False,
    on: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="C,SIZES",
            help="Of a network: channels, then the size of every axis, of its input. Default: "
            "3,224,224.",
        ),
    ] = None,
    weights: options.Weights = None,
    columns: options.Columns = None,
    separator: options.Separator = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing: options.Missing = None,
    opset: Annotated[
        int | None,
        typer.Option(
            min=18,
            metavar="N",
            help="Version of the ONNX operators, for readers that know older ones only.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a model as one ONNX file, and run it to see that it predicts the same.

    Example: `pointwise export houses-model --out houses.onnx`
    """
    from pointwise.export.onnx.to_onnx import check_ready

    if out.suffix.lower() != SUFFIX:
        raise typer.BadParameter(
            f"the file must end in {SUFFIX}, got {str(out)!r}", param_hint="--out"
        )
    check_ready(out)
    reading = options.as_reading(columns, separator, decimal, encoding, missing)
    of_data = {f"--{name}": value for name, value in reading.items()}
    if data is None:
        refuse_given(of_data, "of the rows of --data")
    if Path(model).is_dir():
        refuse_given({"--input": on, "--weights": weights}, "a model folder has its own")
        done = _of_folder(Path(model), out, data, reading, pixels=pixels, opset=opset)
    else:
        refuse_given({"--data": data, "--pixels": pixels or None}, "for model folders only")
        done = _of_network(model, out, on, weights, opset)
    if json:
        print_json({"model": model, **_record(done)})
        return
    print_line(str(done))


def _of_folder(
    folder: Path,
    out: Path,
    data: str | None,
    reading: dict[str, Any],
    *,
    pixels: bool,
    opset: int | None,
) -> "OnnxFile":
    from pointwise.estimators import ImageClassifier, Segmenter, load
    from pointwise.export import to_onnx
    from pointwise.modelfiles import read_config

    if out.exists() and out.resolve().parent == folder.resolve():
        raise DataError(f"--out would replace a file of the model, {out}: give another")
    estimator = load(folder)
    of_images = isinstance(estimator, ImageClassifier | Segmenter)
    if of_images or pixels:
        refuse_given({"--data": data}, "rows to check with, and this takes images: some are drawn")
    if of_images:
        refuse_given({"--pixels": pixels or None}, "for models of tables, and this is of images")
    if data is None:
        return to_onnx(estimator, out, pixels=pixels, opset=opset)
    targets = read_config(folder)["targets"]
    _, rows = read_for_model(folder, estimator, data, targets, **reading)
    return to_onnx(estimator, out, example=rows, opset=opset)


def _of_network(
    model: str, out: Path, on: str | None, weights: Path | None, opset: int | None
) -> "OnnxFile":
    from pointwise.export import to_onnx

    given = None if on is None else networks.parse_shape(on)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no result
        network, shape = networks.find_network(model, given, weights, trained=True)
        example = networks.drawn_example(network, shape, told=on is not None)
        return to_onnx(network, out, example=example, opset=opset)


def _record(done: "OnnxFile") -> dict[str, Any]:
    return {**asdict(done), "path": str(done.path), "bytes": done.path.stat().st_size}
