"""``pointwise export``: a model as one ONNX file, or as a C library."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointwise.cli import networks, options
from pointwise.cli.images import refuse_given
from pointwise.cli.maps import check_interval
from pointwise.cli.tables import read_for_model
from pointwise.cli.words import print_json, print_line
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.export import Library, OnnxFile

SUFFIX = ".onnx"


def export(
    model: options.Network,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE.onnx|FOLDER", help="File to write, or folder for the files of a library."
        ),
    ],
    library: Annotated[
        bool,
        typer.Option(
            "--library",
            help="Write a C library that needs nothing else: a header, a source and object code. "
            "For models of tables and chains of 1x1s.",
        ),
    ] = False,
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
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Of a model of numbers: tell the interval that this share of the true values lies "
            "in, too, such as 0.9. Its width comes of the test rows.",
        ),
    ] = None,
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
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Of a library: processor and system, such as arm-64-android or "
            "x86-64-linux-avx-avx2-f16c-fma-sse41. Default: this machine.",
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            "--type",
            metavar="TYPE",
            help="Of a library of pixels or of a network: type of its inputs, such as uint16. "
            "Default: float32.",
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a model as one ONNX file, or as a C library, and run it: it must predict the same.

    Example: `pointwise export houses-model --out houses.onnx`
    """
    of_library = {"--target": target, "--type": dtype}
    if library:
        refuse_given({"--opset": opset}, "of ONNX files, and --library writes none")
    else:
        refuse_given(of_library, "of a library: give --library, too")
    write = _writer(out, library, opset, {"target": target, "dtype": dtype})
    reading = options.as_reading(columns, separator, decimal, encoding, missing)
    of_data = {f"--{name}": value for name, value in reading.items()}
    if data is None:
        refuse_given(of_data, "of the rows of --data")
    if Path(model).is_dir():
        refuse_given({"--input": on, "--weights": weights}, "a model folder has its own")
        done = _of_folder(Path(model), out, data, reading, write, pixels=pixels, interval=interval)
    else:
        of_folders = {"--data": data, "--pixels": pixels or None, "--interval": interval}
        refuse_given(of_folders, "for model folders only")
        if library:
            refuse_given({"--input": on}, "of ONNX files: a library takes any number of positions")
        done = _of_network(model, on, weights, write, library=library)
    if json:
        print_json({"model": model, **_record(done)})
        return
    print_line(str(done))


def _writer(
    out: Path, library: bool, opset: int | None, of_library: dict[str, Any]
) -> Callable[..., "Library | OnnxFile"]:
    """What writes a model, once what could not be written is refused."""
    from pointwise.export import to_library, to_onnx
    from pointwise.export.onnx.to_onnx import check_ready

    if library:
        if out.suffix.lower() == SUFFIX:
            raise typer.BadParameter(
                f"a library is a folder, and {str(out)!r} is called like an ONNX file",
                param_hint="--out",
            )
        given = {name: value for name, value in of_library.items() if value is not None}
        return partial(to_library, folder=out, **given)
    if out.suffix.lower() != SUFFIX:
        raise typer.BadParameter(
            f"the file must end in {SUFFIX}, got {str(out)!r}; for a C library give --library",
            param_hint="--out",
        )
    check_ready(out)
    return partial(to_onnx, path=out, opset=opset)


def _of_folder(
    folder: Path,
    out: Path,
    data: str | None,
    reading: dict[str, Any],
    write: Callable[..., "Library | OnnxFile"],
    *,
    pixels: bool,
    interval: float | None,
) -> "Library | OnnxFile":
    from pointwise.estimators import ImageClassifier, Segmenter, load
    from pointwise.modelfiles import read_config

    if folder.resolve() in (out.resolve(), out.resolve().parent) and out.exists():
        raise DataError(f"--out would replace a file of the model, {out}: give another")
    estimator = load(folder)
    of_images = isinstance(estimator, ImageClassifier | Segmenter)
    if of_images or pixels:
        refuse_given({"--data": data}, "rows to check with, and this takes images: some are drawn")
    if of_images:
        of_tables = {"--pixels": pixels or None, "--interval": interval}
        refuse_given(of_tables, "for models of tables, and this is of images")
    if interval is not None:
        known, classifies = (hasattr(estimator, n) for n in ("held_out_errors_", "classes_"))
        check_interval(interval, known=known, classifies=classifies)
        write = partial(write, interval=interval)
    if data is None:
        return write(estimator, pixels=pixels)
    targets = read_config(folder)["targets"]
    _, rows = read_for_model(folder, estimator, data, targets, **reading)
    return write(estimator, example=rows)


def _of_network(
    model: str,
    on: str | None,
    weights: Path | None,
    write: Callable[..., "Library | OnnxFile"],
    *,
    library: bool,
) -> "Library | OnnxFile":
    given = None if on is None else networks.parse_shape(on)
    with contextlib.redirect_stdout(sys.stderr):  # what a user's code prints is no result
        network, shape = networks.find_network(model, given, weights, trained=True)
        if library:
            return write(network)
        return write(network, example=networks.drawn_example(network, shape, told=on is not None))


def _record(done: "Library | OnnxFile") -> dict[str, Any]:
    facts = asdict(done)
    where = facts.get("folder") or facts["path"]
    files = [where / name for name in facts["files"]] if "files" in facts else [where]
    paths = {name: str(value) for name, value in facts.items() if isinstance(value, Path)}
    return {**facts, **paths, "bytes": sum(file.stat().st_size for file in files)}
