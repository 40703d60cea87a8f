"""The report of a segmenter: figures, colours, images under their masks, and its page."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, jaccard_score

from pointwise._pages.class_colours import CLASS_COLOURS, class_palette
from pointwise.errors import DataError, ModelFileError
from pointwise.reports import Report, render_html
from pointwise.reports.overlays import MaskExample, choose_examples, draw_overlays
from pointwise.reports.report import MOST_BYTES
from pointwise.reports.segmentation import segmentation_figures

NAMES = ["sky", "road", "car"]


def masks(images=5, classes=3, size=12):
    rng = np.random.default_rng(0)
    true = rng.integers(0, classes, (images, size, size))
    found = np.where(rng.random(true.shape) < 0.6, true, rng.integers(0, classes, true.shape))
    counts = [
        confusion_matrix(t.ravel(), f.ravel(), labels=range(classes))
        for t, f in zip(true, found, strict=True)
    ]
    return true, found, np.array(counts)


def test_figures_are_those_of_all_pixels():
    true, found, counts = masks()
    figures = segmentation_figures(counts, NAMES)
    overlaps = jaccard_score(true.ravel(), found.ravel(), average=None)
    for k, one in enumerate(figures["classes"]):
        assert one["name"] == NAMES[k]
        assert one["iou"] == pytest.approx(overlaps[k])
        assert one["share"] == pytest.approx((true == k).mean())
        assert one["found"] == pytest.approx((found[true == k] == k).mean())
        assert one["right"] == pytest.approx((true[found == k] == k).mean())
    assert figures["confusion"]["counts"] == counts.sum(0).tolist()
    assert (figures["rows"], figures["pixels"]) == (5, true.size)


def test_rare_classes_are_lumped():
    counts = np.diag(np.arange(1, 41))[None] * 10
    confusion = segmentation_figures(counts, [f"c{k}" for k in range(40)])["confusion"]
    assert confusion["labels"][-1] == "other (10 classes)"
    assert confusion["labels"][0] == "c10"
    assert confusion["counts"][-1][-1] == sum(range(1, 11)) * 10
    assert np.array(confusion["counts"]).sum() == counts.sum()


def test_counts_of_other_classes_are_refused():
    message = "counts must have shape (N, 2, 2), as many as classes, got (5, 3, 3)"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        segmentation_figures(masks()[2], ["a", "b"])


# --- Colours ---

# Machado, Oliveira and Fernandes (2009), table 1, severity 1.0.
VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def seen(colour, vision):
    """CIELAB coordinates of a colour as it is seen."""
    rgb = np.frombuffer(bytes.fromhex(colour[1:]), np.uint8) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(VISIONS[vision] @ linear, 0, 1)
    matrix = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = matrix @ linear / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_differ_for_every_vision(vision):
    places = [seen(colour, vision) for colour in CLASS_COLOURS]
    nearest = min(np.linalg.norm(a - b) for a, b in itertools.combinations(places, 2))
    assert nearest > 15  # a difference of 2 is just noticed


def test_a_palette_gives_each_number_its_class_colour():
    palette = class_palette([7, 200])
    assert palette[21:24] == [0, 114, 178]
    assert palette[600:603] == [230, 159, 0]
    assert len(palette) == 768
    assert sum(palette) == 0 + 114 + 178 + 230 + 159


# --- Images under their masks ---


def example(number=0, size=(40, 60), channels=3, classes=3):
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (channels, *size), np.uint8)
    true = rng.integers(0, classes, size).astype(np.uint8)
    true[0] = 255
    counts = confusion_matrix(true[1:].ravel(), np.roll(true[1:], 1).ravel(), labels=range(classes))
    return MaskExample(f"{number}.png", "worst", image, true, true, counts)


def test_the_worst_and_the_typical_are_chosen():
    overlaps = np.array([0.9, np.nan, 0.1, 0.5])
    assert choose_examples(overlaps) == [(2, "worst"), (3, "worst"), (0, "worst")]
    chosen = choose_examples(np.linspace(1, 0, 100))
    assert [number for number, kind in chosen if kind == "worst"] == [99 - k for k in range(8)]
    assert [number for number, kind in chosen if kind == "typical"] == [47, 46, 45, 44]


def opened(text):
    return Image.open(io.BytesIO(base64.b64decode(text)))


@pytest.mark.parametrize("channels", [1, 3])
def test_small_masks_keep_their_pixels_and_unknown_ones_are_clear(channels):
    one = example(size=(12, 18), channels=channels)
    (drawn,) = draw_overlays([one], NAMES)
    mask = opened(drawn["actual"])
    np.testing.assert_array_equal(np.asarray(mask), one.actual)
    alpha = np.asarray(mask.convert("RGBA"))[..., 3]
    np.testing.assert_array_equal(alpha == 0, one.actual == 255)
    assert opened(drawn["image"]).size == (18, 12)
    assert drawn["right"] == pytest.approx(one.counts.trace() / one.counts.sum())


def test_the_largest_mistake_is_told():
    counts = np.array([[90, 3, 0], [7, 20, 1], [0, 0, 0]])
    blank = np.zeros((4, 4), np.uint8)
    (drawn,) = draw_overlays([MaskExample("a", "worst", blank[None], blank, blank, counts)], NAMES)
    assert drawn["mistake"] == "road taken for sky"
    assert drawn["iou"] == pytest.approx((90 / 100 + 20 / 31 + 0 / 1) / 3)
    clean = MaskExample("a", "worst", blank[None], blank, blank, np.diag([16, 0, 0]))
    assert draw_overlays([clean], NAMES)[0]["mistake"] is None


@pytest.fixture
def fields(classification_fields):
    examples = draw_overlays([example(i, (300, 400), classes=20) for i in range(12)], ["c"] * 20)
    counts = np.random.default_rng(0).integers(0, 10**12, (1, 100, 100))
    return classification_fields | {
        "task": "segmentation",
        "target": ["class"],
        "metrics": {"mean_iou": 0.5, "pixel_accuracy": 0.8},
        "figures": {
            "class": segmentation_figures(counts, ["x" * 60 + str(i) for i in range(100)])
            | {"examples": examples}
        },
        "images": {
            "channels": 3,
            "height": 300,
            "width": 400,
            "classes": [{"name": "x" * 60, "images": 10**6}] * 100,
            "more_classes": 0,
            "wrong": 0,
            "mistakes": [],
        },
    }


def test_the_largest_report_fits_and_comes_back(fields):
    report = Report(**fields)
    assert len(report.to_json().encode()) <= MOST_BYTES
    assert len(report.figures["class"]["examples"]) == 12
    assert Report.from_json(report.to_json()) == report
    page = render_html(report)
    assert page.count("data:image/jpeg;base64,") == 3 * 12
    assert "Where it is worst" in page
    assert "From the twenty-first class on the colours repeat." in page
    assert "Mean IoU 0.5000 on" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("actual", '"><script>', "a PNG in base64 of at most 2600 letters"),
        ("predicted", "iVBORw0KGgo" + "A" * 2600, "a PNG in base64 of at most 2600 letters"),
        ("image", "iVBORw0KGgoAAAA", "a JPEG in base64 of at most 7200 letters"),
        ("image", 3, "a JPEG in base64 of at most 7200 letters"),
        ("kind", "best", "'worst' or 'typical'"),
    ],
)
def test_what_is_no_image_does_not_come_into_a_page(name, value, rule, fields):
    report = json.loads(Report(**fields).to_json())
    report["figures"]["class"]["examples"][0][name] = value
    with pytest.raises(ModelFileError, match=rf"examples\[0\]\.{name} must be {rule}, got"):
        Report.from_json(json.dumps(report))


def test_names_are_escaped(fields):
    bad = "<script>alert(1)</script>"
    report = json.loads(Report(**fields).to_json())
    figures = report["figures"]["class"]
    figures["classes"][0]["name"] = figures["examples"][0]["name"] = bad
    figures["examples"][0]["mistake"] = bad
    assert "<script" not in render_html(Report.from_json(json.dumps(report)))
