"""``pointwise compress``: wrong use is refused in words, and nothing is written."""

import re
from pathlib import Path

import numpy as np
import pytest
from compress_inputs import save_image_models, write_inputs


@pytest.fixture(scope="module")
def image_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("image_models")
    save_image_models(folder)
    return folder


@pytest.fixture(autouse=True)
def source(home: Path, image_models: Path) -> None:
    write_inputs(image_models)


def make_files() -> None:
    np.save("few.npy", np.zeros((4, 3, 9, 9)))
    np.save("words.npy", np.array([["a"]]))
    np.save("nan.npy", np.full((4, 3, 12, 12), np.nan, np.float32))
    np.save("none.npy", np.zeros((0, 3, 12, 12)))
    np.save("objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    Path("cut.npy").write_bytes(b"123")
    Path("empty").mkdir()
    Path("no_rows.csv").write_text("a,b\n")
    Path("photo.jpg").write_bytes(b"no image")


NET = "compress compress_net:build --input 3,12,12 --out small"
REFUSALS = {
    "no_budget": (
        "compress price-model --out small",
        2,
        r"budget: give at least one of --macs, --params, --bytes, --latency",
    ),
    "share_above_1": (
        "compress price-model --macs 50 --out small",
        2,
        r"--macs: it must be a share above 0 up to 1, got 50",
    ),
    "share_nan": (
        "compress price-model --bytes nan --out small",
        2,
        r"--bytes: it must be a share above 0 up to 1, got nan",
    ),
    "share_0": (
        "compress price-model --params 0 --out small",
        2,
        r"--params: it must be a share above 0 up to 1, got 0",
    ),
    "out_of_reach": (
        "compress price-model --macs 0.001 --out small",
        1,
        r"^error: TableNetwork cannot be compressed: budget must be within reach: macs=0\.001 is "
        r"not, the smallest share of the macs is 0\.\d+ \(\d layers can be compressed\)$",
    ),
    "out_is_a_model": (
        "compress price-model --macs 0.9 --out price-model",
        1,
        r"^error: --out must be another folder than the model's, got price-model$",
    ),
    "out_is_a_file": (
        "compress price-model --macs 0.9 --out houses.csv",
        1,
        r"^error: houses\.csv is a file, a model is a folder; give another name$",
    ),
    "out_of_a_network_is_a_model": (
        "compress compress_net:build --input 3,12,12 --macs 0.9 --out price-model",
        1,
        r"^error: price-model holds other things than a compressed model, so it is left alone: "
        r"give another folder, or empty this one$",
    ),
    "recover_without_data": (
        "compress price-model --macs 0.9 --recover 1 --out small",
        2,
        r"--recover: give --data to learn from",
    ),
    "try_without_data": (
        "compress price-model --macs 0.9 --try --out small",
        2,
        r"--try: give --data to try candidates on",
    ),
    "latency_above_1": (
        "compress price-model --latency 2 --out small",
        2,
        r"--latency: it must be a share above 0 up to 1, got 2",
    ),
    "no_module": (
        "compress nothing_here:build --macs 0.5 --out small",
        1,
        r"^error: there is no module 'nothing_here'",
    ),
    "no_weights": (
        "compress resnet50 --macs 0.5 --out small",
        1,
        r"^error: resnet50 has no weights of its own: give them with --weights$",
    ),
    "weights_of_a_folder": (
        "compress price-model --weights few.npy --macs 0.5 --out small",
        2,
        r"--weights: a model folder has its weights",
    ),
    "mean_of_a_folder": (
        "compress stripes-model --mean 0 --std 1 --macs 0.5 --out small",
        1,
        r"^error: --mean and --std are not for a model folder, which knows its pixels$",
    ),
    "mean_alone": (
        f"{NET} --mean 0,0,0 --macs 0.5",
        2,
        r"--std: give --mean and --std together",
    ),
    "std_of_0": (
        f"{NET} --mean 0,0,0 --std 0,1,1 --macs 0.5",
        2,
        r"they must be numbers with commas between them, those of --std above 0, got '0,0,0' and "
        r"'0,1,1'",
    ),
    "std_of_words": (f"{NET} --mean a --std 1 --macs 0.5", 2, r"they must be numbers with commas"),
    "mean_of_one": (
        f"{NET} --mean 0 --std 1 --data squares --macs 0.5",
        1,
        r"error: --mean must have one number per channel \(3\), got \(0\.0,\)$",
    ),
    "mean_of_an_array": (
        f"{NET} --mean 0,0,0 --std 1,1,1 --data few.npy --macs 0.5",
        1,
        r"error: --mean and --std are for images: an array goes in as it is$",
    ),
    "input": (f"{NET} --input 0 --macs 0.5", 2, r"--input: it must be channels, then sizes"),
    "images_for_a_table": (
        "compress price-model --macs 0.9 --data stripes --out small",
        1,
        r"^error: price-model is a model for tables: stripes is a folder or images, no table$",
    ),
    "table_for_images": (
        "compress stripes-model --macs 0.9 --data houses.csv --out small",
        1,
        r"^error: --data must be a folder of images or an idx file: houses\.csv is a table or "
        r"another file$",
    ),
    "data_missing": (
        "compress stripes-model --macs 0.9 --data nowhere --out small",
        1,
        r"^error: --data must be a folder of images or an idx file: nowhere is not there$",
    ),
    "data_empty": (
        "compress stripes-model --macs 0.9 --data empty --out small",
        1,
        r"^error: empty holds no images$",
    ),
    "other_columns": (
        "compress price-model --macs 0.9 --data iris --out small",
        1,
        r"error: iris lacks \d of the model's \d columns: ",
    ),
    "array_shape": (
        f"{NET} --data few.npy --macs 0.5",
        1,
        r"error: few\.npy must hold inputs of shape \(N, 3, 12, 12\), it holds \(4, 3, 9, 9\)$",
    ),
    "array_empty": (
        f"{NET} --data none.npy --macs 0.5",
        1,
        r"error: none\.npy must hold inputs of shape \(N, 3, 12, 12\), it holds \(0, 3, 12, 12\)$",
    ),
    "array_nan": (
        f"{NET} --data nan.npy --macs 0.5",
        1,
        r"error: Sequential cannot be compressed: ",
    ),
    "array_objects": (
        f"{NET} --data objects.npy --macs 0.5",
        1,
        r"error: objects\.npy cannot be read as an array: Array can't be memory-mapped: Python "
        r"objects in dtype\.$",
    ),
    "array_cut": (f"{NET} --data cut.npy --macs 0.5", 1, r"error: cut\.npy cannot be read as an "),
    "array_missing": (f"{NET} --data no.npy --macs 0.5", 1, r"error: there is no file no\.npy$"),
    "images_for_rows": (
        "compress compress_net:build --input 12 --data stripes --macs 0.5 --out small",
        1,
        r"error: --data takes images where --input is 1 or 3 channels, rows and columns, got 12: "
        r"give a \.npy file of inputs$",
    ),
    "wrong_input": (
        "compress compress_net:build --input 4,12,12 --macs 0.5 --out small",
        1,
        r"error: Sequential cannot be compressed: example must be an input of the model, which "
        r"fails on it: ",
    ),
    "input_too_large": (
        "compress compress_net:build --input 3,300000,300000 --macs 0.5 --out small",
        1,
        r"error: Sequential cannot be compressed: .*memory",
    ),
    "random_model": (
        "compress compress_net:random --input 8 --macs 0.5 --out small",
        1,
        r"^error: Random cannot be compressed: model must give the same every time",
    ),
    "exclude": (
        f"{NET} --exclude 99 --macs 0.5",
        1,
        r"error: Sequential cannot be compressed: exclude must hold paths of modules, the model "
        r"has no '99'$",
    ),
    "exclude_empty": (
        f"{NET} --exclude 1,,2 --macs 0.5",
        1,
        r"error: names must be separated by single commas, got '1,,2'$",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use_is_refused_in_one_sentence(case, pointwise):
    make_files()
    before = sorted(path.name for path in Path().iterdir())
    line, code, message = REFUSALS[case]
    ran = pointwise(line)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert "Traceback" not in ran.err
    said = " ".join(ran.err.replace("│", " ").split())
    assert re.search(message, said), said
    left = {path.name for path in Path().iterdir()} - {"__pycache__"}
    assert left == set(before)  # nothing written, nothing half done
