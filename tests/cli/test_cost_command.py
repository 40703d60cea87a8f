"""``pointwise cost``: published and fitted networks, counted without arithmetic."""

import json
import re
from pathlib import Path

import pytest

from pointwise.estimators import load
from pointwise.inspection.layers import count_parameters


def test_a_published_network_is_counted_by_name(pointwise):
    ran = pointwise("cost resnet50 --input 3,224,224 --json")
    assert (ran.code, ran.err) == (0, "")
    result = json.loads(ran.out)
    assert result.keys() == {"total", "layers"}
    total = result["total"]
    assert (total["params"], round(total["macs"] / 1e6, 1)) == (25_557_032, 4_089.2)
    assert round(100 * total["pointwise_macs_share"], 2) == 51.83
    assert round(100 * total["channel_macs_share"], 2) == 51.88
    assert total.keys() >= {"pointwise_params_share", "channel_params_share"}
    for name in ("params", "macs", "activations", "bytes"):
        assert total[name] == sum(layer[name] for layer in result["layers"])


def test_people_get_a_table(pointwise):
    ran = pointwise("cost resnet50")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("resnet50 on 3x224x224\n")
    assert "1x1 convolutions hold 47.46 % of the parameters and 51.83 % of the MACs." in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_channels_sizes_and_classes_are_those_asked_for(pointwise):
    ran = pointwise("cost resnet50 --input 12,64,96 --classes 7 --json")
    layers = json.loads(ran.out)["layers"]
    assert layers[0]["input_shape"] == [1, 12, 64, 96]
    assert layers[-1]["output_shape"] == [1, 7]


def test_a_fitted_model_is_counted_on_one_row(pointwise):
    ran = pointwise("cost price-model --json")
    assert (ran.code, ran.err) == (0, "")
    total = json.loads(ran.out)["total"]
    network = load("price-model").network_
    assert total["params"] == count_parameters(network)
    weights = [p for name, p in network.mlp.named_parameters() if name.endswith("weight")]
    assert total["macs"] >= sum(w.numel() for w in weights if w.ndim == 2)
    assert total["pointwise_macs_share"] == 0 < total["channel_macs_share"] == 1
    assert "price-model on 7\n" in pointwise("cost price-model").out


def test_a_fitted_model_is_a_1x1_network_on_maps(pointwise):
    row = json.loads(pointwise("cost price-model --json").out)["total"]
    pixels = json.loads(pointwise("cost price-model --input 7,30,20 --json").out)["total"]
    assert pixels["macs"] == 30 * 20 * row["macs"]
    assert pixels["params"] == row["params"]
    assert pixels["pointwise_macs_share"] == 1


def test_a_machine_is_measured_where_asked(pointwise):
    ran = pointwise("cost price-model --machine --json")
    result = json.loads(ran.out)
    machine = result["machine"]
    assert machine["ridge"] == machine["macs_per_s"] / machine["bytes_per_s"] > 0
    for layer in result["layers"]:
        waits = layer["bytes"] > 0 and layer["intensity"] < machine["ridge"]
        assert layer["memory_bound"] == waits
    assert "m: waits for memory on this machine" in pointwise("cost price-model --machine").out


def test_the_table_is_written_as_a_page(pointwise):
    ran = pointwise("cost resnet50 --html cost.html --json")
    assert json.loads(ran.out)["total"]["params"] == 25_557_032
    assert ran.err == "page: cost.html\n"
    page = Path("cost.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<title>resnet50 on 3x224x224: cost</title>" in page
    assert "1x1 convolutions hold 47.46 %" in page


REFUSALS = {
    "name": ("cost resnet5", 1, r"^error: no network is named 'resnet5': did you mean resnet50"),
    "no_network": ("cost nmber", 1, r"^error: .*'nmber'"),
    "no_model": ("cost empty", 1, r"^error: .*empty.*config\.json"),
    "channels": (
        "cost price-model --input 3",
        1,
        r"^error: TableNetwork cannot take x of shape \(1, 3\): "
        r"x must have shape \(N, 7, \*S\), got \(1, 3\)$",
    ),
    "rank": (
        "cost resnet50 --input 3,224",
        1,
        r"^error: ResNet cannot take x of shape \(1, 3, 224",
    ),
    "text": (
        "cost resnet50 --input 3x224",
        2,
        r"--input: it must be channels, then sizes.*'3x224'",
    ),
    "empty": ("cost resnet50 --input ''", 2, r"--input: it must be channels, then sizes.*got ''"),
    "zero": ("cost resnet50 --input 3,0,5", 2, r"--input: it must be .*above 0.*'3,0,5'"),
    "negative": ("cost resnet50 --input=-3,5,5", 2, r"--input: it must be .*above 0.*'-3,5,5'"),
    "too_large": (
        "cost resnet50 --input 3,9999999999,9999999999",
        2,
        r"--input: it must be .*a product of at most",
    ),
    "classes": ("cost resnet50 --classes 0", 2, r"--classes"),
    "classes_of_a_model": (
        "cost price-model --classes 3",
        2,
        r"--classes: a fitted model has its classes",
    ),
    "page": (
        "cost resnet50 --html no/cost.html",
        1,
        r"^error: cannot write the page no/cost\.html",
    ),
    "page_over_a_table": (
        "cost resnet50 --html houses.csv",
        2,
        r"'--html': a page ends in \.html, got 'houses\.csv'",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_wrong_use_is_refused_in_one_sentence(case, pointwise):
    Path("empty").mkdir()
    line, code, message = REFUSALS[case]
    ran = pointwise(line)
    assert (ran.code, ran.out) == (code, "")
    assert "Traceback" not in ran.err
    said = " ".join(ran.err.replace("│", " ").split())
    assert re.search(message, said), said
    assert code == 2 or len(ran.err.strip().splitlines()) == 1
