import pytest
import yaml
from markdown_it import MarkdownIt

from pointwise.modelfiles import model_card

ROWS = {"train": 8000, "validation": 2000, "test": 1500}
HOSTILE = {
    "pipe": "a | b",
    "new line": "a\n| b |\n",
    "front matter": "---\nlicense: evil\n---",
    "heading": "\n# Big",
    "backtick": "`a",
    "backticks": "``` a `` b",
    "code": "`a` b",
    "html": "<script>alert(1)</script>",
    "link": "[a](javascript:b)",
    "emphasis": "**a** _b_ __c__",
    "backslash": "a\\",
    "dollar and braces": "${a} {0} {task}",
    "escape code": "\x1b[31ma\x00",
    "line separator": "a\u2028b\x85c",
}


def rendered(card):
    """Give the front matter, and the tokens of the text as Markdown with tables reads it."""
    _, front, text = card.split("---\n", 2)
    return yaml.safe_load(front), MarkdownIt("commonmark").enable("table").parse(text)


def inline(tokens):
    return [token for token in tokens if token.type == "inline"]


def one_line(name):
    text = " ".join(name.split())
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def rows_of_table(tokens):
    """Give the table as lists of plain texts."""
    rows, within = [], False
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
            within = True
        elif token.type == "tr_close":
            within = False
        elif token.type == "inline" and within:
            rows[-1].append("".join(child.content for child in token.children))
    return rows


def test_the_front_matter_is_the_hubs(config):
    front, _ = rendered(model_card(config, rows=ROWS))
    assert front == {
        "library_name": "pointwise",
        "pipeline_tag": "tabular-classification",
        "tags": ["pointwise", "tabular-classification", "1x1-convolution"],
        "metrics": ["accuracy", "log_loss"],
    }
    regression = config | {"task": "regression", "metrics": {}}
    front, _ = rendered(model_card(regression, rows=ROWS))
    assert front["pipeline_tag"] == "tabular-regression"
    assert "metrics" not in front


def test_the_text_says_what_it_is_and_how_to_load_it(config):
    card = model_card(config, rows=ROWS)
    for part in (
        "# PointwiseClassifier: `sold`\n",
        "This model predicts `sold` (classification) from 2 columns.\n",
        "Its classes are `no`, `yes`.\n",
        "It has 4 networks side by side and 1,234 parameters.\n",
        "Rows: 8,000 train, 2,000 validation, 1,500 test. "
        "The figures are for the 1,500 test rows.\n\n|",
        'from pointwise import load\n\nmodel = load("folder")',
        "predictions = model.predict(frame)",
        "pointwise predict FOLDER data.csv --out predictions.csv",
        "- `area`: number\n- `town`: category\n",
        "Rows outside the range of the training rows are extrapolated",
    ):
        assert part in card
    assert "chose the epoch" not in card


def test_figures_on_rows_that_chose_the_epoch_say_so(config):
    card = model_card(config, rows={"train": 80, "validation": 20})
    assert (
        "Rows: 80 train, 20 validation. The figures are for the 20 validation rows.\n"
        "They also chose the epoch that was kept, which flatters the model a bit.\n\n|"
    ) in card


def test_the_figures_stand_beside_those_of_the_baselines(config):
    metrics = {"rmse": 68012.75, "r2": 0.81234567, "mae": None, "rows": 1500, "exact": True}
    baselines = [
        {"name": "mean", "rmse": 115395.0, "r2": 0.0},
        {"name": "linear | model", "metrics": {"r2": 0.6, "other": 1.0}},
    ]
    _, tokens = rendered(model_card(config | {"metrics": metrics}, rows=ROWS, baselines=baselines))
    assert rows_of_table(tokens) == [
        ["", "rmse", "r2", "rows"],
        ["this model", "68,013", "0.8123", "1,500"],
        ["mean", "115,395", "0", "-"],
        ["linear | model", "-", "0.6", "-"],
    ]


def test_without_figures_or_rows_it_claims_none(config):
    card = model_card(config | {"metrics": {}, "network": {"members": 1}}, rows={})
    assert "## Results\n\nNo figures were recorded.\n" in card
    assert "It has 1 network side by side" not in card
    assert "Rows:" not in card


def test_long_lists_end_in_a_count(config):
    wide = config | {
        "columns": [f"c{i}" for i in range(63)],
        "targets": [f"t{i}" for i in range(5)],
        "classes": [f"k{i}" for i in range(21)],
    }
    card = model_card(wide, rows=ROWS)
    assert "- `c48`\n- `c49`\n- and 13 more\n" in card
    assert "# PointwiseClassifier: `t0`, `t1`, `t2`, and 2 more\n" in card
    assert "`k19`, and 1 more.\n" in card
    assert "c50" not in card


@pytest.mark.parametrize("case", HOSTILE)
def test_no_name_breaks_the_page(config, case):
    name = HOSTILE[case]
    hostile = config | {
        "columns": [{"name": name, "kind": name}, name],
        "targets": [name],
        "classes": [name, "b"],
        "metrics": {name: 1.0, "accuracy": 0.5},
    }
    baselines = [{"name": name, "accuracy": 0.25}]
    tame = model_card(config, rows=ROWS, baselines=[{"name": "mean"}])
    card = model_card(hostile, rows={**ROWS, name: 3}, baselines=baselines)
    front, tokens = rendered(card)
    assert front == rendered(tame)[0] | {"metrics": ["accuracy"]}
    assert [token.type for token in tokens if token.type.endswith("_open")] == [
        token.type for token in rendered(tame)[1] if token.type.endswith("_open")
    ]
    text = one_line(name)
    title, what = inline(tokens)[:2]
    assert [child.content for child in title.children if child.type == "code_inline"] == [text]
    assert [child.content for child in what.children if child.type == "code_inline"] == [
        text,
        text,
        "b",
    ]
    assert rows_of_table(tokens) == [
        ["", text, "accuracy"],
        ["this model", "1", "0.5"],
        [text, "-", "0.25"],
    ]
    kinds = {child.type for token in inline(tokens) for child in token.children or []}
    assert kinds <= {
        "text",
        "code_inline",
        "softbreak",
        "strong_open",
        "strong_close",
        "text_special",
    }


@pytest.mark.parametrize(
    ("name", "shown"),
    [("", "(empty)"), (" \n", "(empty)"), ("x" * 81, f"`{'x' * 79}\u2026`"), (7, "`7`")],
)
def test_names_that_cannot_be_shown_as_they_are(config, name, shown):
    assert f"- {shown}\n" in model_card(config | {"columns": [name]}, rows=ROWS)
