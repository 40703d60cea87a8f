"""The package as a whole: its public names, what importing it costs, its words and its tests."""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pointwise

TESTS = Path(__file__).parent

PUBLIC = {
    "pointwise": (
        "ImageClassifier PointwiseClassifier PointwiseRegressor Segmenter __version__ compression "
        "functional inspection load maps networks nn runtime save surgery"
    ),
    "pointwise.functional": "Affine add block_diagonal compose fold_affine pointwise regroup",
    "pointwise.nn": (
        "ACTIVATIONS AttentionGate BatchNorm Bottleneck CBAM CategoryEncoder ChannelGate "
        "ChannelScale ConcatFusion ConvNormActivation DepthwiseSeparableConv DoubleConvolution "
        "Dropout FCNHead FeaturePyramid Fire FrozenBatchNorm GatedFusion GlobalAveragePool "
        "InceptionBlock InvertedResidual LayerNorm MLP MLPConv MaskHead MultiHeadAttention "
        "NonLocalBlock NumberEncoder PointwiseConv Projection PyramidHead RPNHead SpatialGate "
        "SqueezeExcite SumFusion TableNetwork UNetDecoder UNetStage UpConvolution UpProjection "
        "activation_name"
    ),
    "pointwise.networks": (
        "GoogLeNet MaskRCNN MobileNetV1 MobileNetV2 NETWORKS NetworkInNetwork ResNet SqueezeNet "
        "UNet attention_unet build googlenet mask_rcnn mobilenet_v1 mobilenet_v2 nin_cifar "
        "nin_mnist resnet101 resnet50 squeezenet1_0 squeezenet1_1 unet"
    ),
    "pointwise.inspection": (
        "Alternative Cost Layer LayerCost Machine Speedup Total WhatIf cost count_parameters "
        "layers measure_machine plot_cost plot_shares speedup take_turns whatif"
    ),
    "pointwise.training": (
        "Augment Checkpoint CrossEntropy Epoch Objective Rows Schedule Settings SquaredError train"
    ),
    "pointwise.data": (
        "Column ImageParts ImageSet MaskedImages Table TableCoding TableFile as_table "
        "code_table find_parts group_images read_idx read_images read_masked_images "
        "read_table summarize suspicious_columns write_idx write_table"
    ),
    "pointwise.modelfiles": (
        "ModelFolder check_target model_card read_config read_model read_report write_model"
    ),
    "pointwise.estimators": (
        "ImageClassifier PointwiseClassifier PointwiseRegressor Segmenter class_scores "
        "compressed_estimator load save"
    ),
    "pointwise.export": "Library OnnxFile Port onnx_inputs to_library to_onnx",
    "pointwise.reports": (
        "Report classification_figures permutation_importance regression_figures render_html "
        "segmentation_figures worst_mistakes"
    ),
    "pointwise.studies": (
        "CellCache CompareData CompareOptions Comparison ImageOptions Options Score "
        "Study Task check_columns choose_task classification_metrics compare "
        "fit_baselines regression_metrics score split_images study_images study_masks "
        "study_table take_apart"
    ),
    "pointwise.maps": (
        "InputBand MapSummary Output PixelModel Predictor as_pixel_model map_array map_dataarray "
        "map_files match_bands plan_output predict_map write_preview"
    ),
    "pointwise.compression": (
        "Allocation Budget Candidate Compressed CompressionReport EnergyLoss FORMS Form "
        "FoundLayer FoundLayers LabelLoss LayerCandidates LayerRow Limits Moments Plan "
        "PlannedLayer Recovery Stage TradeOff allocate build compress factor_layer find_layers "
        "gather_moments list_candidates load save trade_off"
    ),
    "pointwise.runtime": ("Chain Compiled CompiledChain compile read_chain"),
    "pointwise.surgery": (
        "AsRows CropDifference DenseClassifier Difference Equivalence Grid InPlaceOf Rule "
        "ShiftAndStitch SplitAttention Swap channels_first check_equivalent convolutionalize "
        "crop_difference densify describe fold fold_norms refusal replace replace_named respell "
        "restore to_conv to_linear to_pointwise to_torch"
    ),
    "pointwise.errors": (
        "CheckpointError DataError DataWarning DifferenceError FlowError ModelFileError "
        "PointwiseError"
    ),
}
"""Every public name: a new one is added here, and a lost one breaks somebody's program."""


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these_and_all_of_them_are_there(module):
    home = importlib.import_module(module)
    names = getattr(home, "__all__", [n for n, v in vars(home).items() if inspect.isclass(v)])
    assert sorted(names) == PUBLIC[module].split()
    assert all(hasattr(home, name) for name in names)
    assert set(names) <= set(dir(home))


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="module 'pointwise' has no attribute 'polynomial'"):
        pointwise.polynomial  # noqa: B018


def test_every_part_of_the_package_is_a_package_with_words():
    parts = [p.name for p in Path(pointwise.__file__).parent.iterdir() if p.is_dir()]
    for name in parts:
        if name != "__pycache__":
            assert importlib.import_module(f"pointwise.{name}").__doc__


SHOWN_ELSEWHERE = {"read_config", "read_model", "read_report"}
"""Functions that the example of another one shows: what ``write_model`` wrote is read there."""


def _documented():
    for module in PUBLIC:
        if module != "pointwise":
            home = importlib.import_module(module)
            for name in PUBLIC[module].split():
                thing = getattr(home, name)
                if inspect.isclass(thing) or inspect.isfunction(thing):
                    yield pytest.param(thing, id=f"{module}.{name}")


@pytest.mark.parametrize("thing", list(_documented()))
def test_everything_public_is_explained_and_functions_by_an_example(thing):
    words = inspect.getdoc(thing)
    assert words
    assert words.splitlines()[0].endswith(".")
    if inspect.isfunction(thing) and thing.__name__ not in SHOWN_ELSEWHERE:
        assert "Example:\n" in words
        assert ">>> " in words


HEAVY = [
    "sklearn",
    "pandas",
    "halide",
    "pyarrow",
    "matplotlib",
    "typer",
    "rich",
    "jinja2",
    "scipy",
    "PIL",
]


def _loaded_after(statement):
    script = f"{statement}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True
    )
    return json.loads(run.stdout)


@pytest.mark.parametrize(
    "statement",
    [
        "import pointwise",
        "from pointwise import nn, functional",
        "import pointwise.nn, pointwise.functional, pointwise.inspection",
        "import pointwise.training, pointwise.data, pointwise.modelfiles",
    ],
)
def test_heavy_libraries_are_not_imported(statement):
    loaded = _loaded_after(statement)
    assert not set(HEAVY) & set(loaded)
    assert "pointwise" in loaded


def test_importing_the_package_alone_imports_nearly_nothing():
    bare = _loaded_after("import importlib, typing")
    assert len(set(_loaded_after("import pointwise")) - set(bare)) <= 3


# --- no test function without an assertion ---

SHOWS_BY_RUNNING = {
    "test_scikit_learn_check": "scikit-learn's checks assert by themselves",
}
ASSERTING = ("raises", "warns", "fail")
"""Calls that assert, beside those named ``assert_...`` and ``check_...``."""


def _asserts(function: ast.AST, helpers: set[str]) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ASSERTING or name in helpers or name.startswith(("assert_", "check_")):
                return True
    return False


def _silent_tests(source: str) -> list[str]:
    """Test functions without an assertion, their helpers in the same file looked into too."""
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    helpers: set[str] = set()
    for _ in functions:  # a helper may call a helper
        helpers |= {
            f.name for f in functions if not f.name.startswith("test") and _asserts(f, helpers)
        }
    tests = [f for f in functions if f.name.startswith("test_")]
    return [f.name for f in tests if not _asserts(f, helpers)]


@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("test_*.py")), ids=lambda path: str(path.relative_to(TESTS))
)
def test_no_test_is_without_an_assertion(path):
    assert set(_silent_tests(path.read_text("utf-8"))) <= set(SHOWS_BY_RUNNING)


def test_the_guard_sees_silent_tests():
    silent = "def test_a():\n    f()\ndef f():\n    x == 1\ndef test_b():\n    g()\n"
    loud = "def g():\n    h()\ndef h():\n    assert x\n"
    assert _silent_tests(silent) == ["test_a", "test_b"]
    assert _silent_tests(silent + loud) == ["test_a"]
    assert _silent_tests("def test_c():\n    with pytest.raises(E):\n        f()") == []
