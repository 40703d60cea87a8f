"""``pointwise predict``: a model and new rows to a file of predictions."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from houses import ROWS, houses

from pointwise.data.files import read_table
from pointwise.estimators import load


def _expected(model):
    x = houses().drop(columns=["price", "sold"])
    return load(model).predict(x.assign(built=pd.to_datetime(x["built"])))


def _predicted(name="p.csv"):
    return read_table(name).frame


def test_predictions_are_those_of_the_model_in_the_order_of_the_rows(pointwise):
    ran = pointwise("predict price-model houses.csv --out p.csv")
    assert (ran.code, ran.out) == (0, "60 predictions: p.csv\n")
    assert _predicted().columns.tolist() == ["price"]
    np.testing.assert_array_equal(_predicted()["price"], _expected("price-model"))
    houses()[::-1].to_csv("houses.csv", index=False)
    pointwise("predict price-model houses.csv --out p.csv")
    np.testing.assert_allclose(_predicted()["price"][::-1], _expected("price-model"), rtol=1e-12)


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.tsv", "p.tsv.gz", "p.parquet"])
def test_predictions_are_written_as_the_suffix_says(name, pointwise):
    assert pointwise(f"predict price-model houses.csv --out {name}").code == 0
    np.testing.assert_allclose(_predicted(name)["price"], _expected("price-model"), rtol=1e-15)


def test_the_table_that_is_read_is_never_written_over(pointwise):
    before = Path("houses.csv").read_bytes()
    ran = pointwise("predict price-model houses.csv --out ./houses.csv")
    assert ran.code != 0
    assert "is read for these predictions: give them another name" in ran.err
    assert Path("houses.csv").read_bytes() == before


def test_columns_in_another_order_are_reordered_and_others_dropped_with_a_word(pointwise):
    table = houses()
    table[table.columns[::-1]].assign(note="x", colour="red").to_csv("new.csv", index=False)
    ran = pointwise("predict price-model new.csv --out p.csv")
    np.testing.assert_array_equal(_predicted()["price"], _expected("price-model"))
    assert "columns that the model does not use: sold, note, colour" in ran.err
    table.drop(columns=["price", "sold"]).to_csv("new.csv", index=False)
    ran = pointwise("predict price-model new.csv --out p.csv")
    assert ran.err == "dates read: built\n"


def test_ends_of_intervals_are_further_columns(pointwise):
    pointwise("fit houses.csv --target price --drop sold --test 0.5 --out small --seed 0")
    ran = pointwise("predict small houses.csv --out p.csv --interval 0.8 --keep price")
    assert ran.code == 0, ran.err
    predicted = _predicted()
    names = ["price", "predicted_price", "price_low", "price_high"]
    assert predicted.columns.tolist() == names
    width = predicted["price_high"] - predicted["price_low"]
    np.testing.assert_allclose(width, 2 * load("small").held_out_errors_.half_widths(0.8)[0])
    np.testing.assert_allclose(
        (predicted["price_high"] + predicted["price_low"]) / 2, predicted["predicted_price"]
    )


def test_ends_of_intervals_replace_no_target_of_that_name(pointwise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 2))
    table = pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "t": x[:, 0], "t_low": 100 + x[:, 1]})
    table.to_csv("lows.csv", index=False)
    pointwise("fit lows.csv --target t,t_low --members 1 --time-limit 2 --out lows")
    ran = pointwise("predict lows lows.csv --out p.csv --interval 0.8")
    assert ran.code == 0, ran.err
    names = ["t", "t_low", "interval_t_low", "t_high", "t_low_low", "t_low_high"]
    assert _predicted().columns.tolist() == names
    np.testing.assert_allclose(
        _predicted()[["t", "t_low"]], load("lows").predict(table[["a", "b"]]), rtol=1e-12
    )


def test_columns_are_kept_beside_the_predictions(pointwise):
    table = houses().assign(key=[f"00{i}" for i in range(ROWS)])
    table.to_csv("new.csv", index=False)
    ran = pointwise("predict price-model new.csv --out p.csv --keep key,price")
    assert "columns that the model does not use: sold" in ran.err.splitlines()
    predicted = _predicted()
    assert predicted.columns.tolist() == ["key", "price", "predicted_price"]
    assert predicted["key"].tolist() == table["key"].tolist()
    np.testing.assert_allclose(predicted["price"], table["price"])
    np.testing.assert_array_equal(predicted["predicted_price"], _expected("price-model"))


def test_probabilities_of_every_class_are_written(pointwise):
    assert pointwise("predict sold-model houses.csv --out p.csv --proba").code == 0
    predicted = _predicted()
    assert predicted.columns.tolist() == ["sold", "probability_fast", "probability_slow"]
    assert predicted["sold"].tolist() == _expected("sold-model").tolist()
    shares = predicted[["probability_fast", "probability_slow"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1, rtol=0, atol=1e-12)
    assert (np.array(["fast", "slow"])[shares.argmax(1)] == predicted["sold"]).all()
    pointwise("predict sold-model houses.csv --out q.csv")
    assert _predicted("q.csv").columns.tolist() == ["sold"]


def test_json_says_what_was_written(pointwise):
    ran = pointwise("predict sold-model houses.csv --out p.csv --keep area --json")
    assert json.loads(ran.out) == {"rows": ROWS, "columns": ["area", "sold"], "out": "p.csv"}


ROW = houses()[7:8]
SPELLINGS = {
    "one row": lambda: ROW.to_csv("new.csv"),
    "decimal commas": lambda: ROW.to_csv("new.csv", sep=";", decimal=","),
    "numbers with a point": lambda: ROW.astype({"area": float}).to_csv("new.csv"),
    "dates with a time": lambda: ROW.assign(built="1990-12-17T00:00").to_csv("new.csv"),
    "truth in small letters": lambda: ROW.assign(garden="false").to_csv("new.csv"),
    "truth in numbers": lambda: ROW.astype({"garden": int}).to_csv("new.csv"),
    "parquet": lambda: ROW.assign(built=pd.Timestamp("1990-12-17")).to_parquet("new.csv"),
    "levels as categories": lambda: ROW.astype({"town": "category"}).to_parquet("new.csv"),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_a_row_is_the_same_however_it_is_written(case, pointwise):
    assert ROW[["built", "garden"]].to_numpy().tolist() == [["1990-12-17", False]]
    SPELLINGS[case]()
    ran = pointwise("predict price-model new.csv --out p.csv")
    assert ran.code == 0, ran.err
    assert _predicted()["price"][0] == pytest.approx(_expected("price-model")[7], rel=1e-12)


def test_missing_values_and_new_levels_are_predicted(pointwise):
    table = houses().astype(object)
    table.loc[0, "area"] = table.loc[1, "town"] = table.loc[2, "built"] = None
    table.loc[3, "town"] = "Tromsø"
    table.to_csv("new.csv", index=False)
    assert pointwise("predict price-model new.csv --out p.csv").code == 0
    assert np.isfinite(_predicted()["price"]).all()
    np.testing.assert_allclose(_predicted()["price"][4:], _expected("price-model")[4:], rtol=1e-12)


def test_rows_far_outside_are_counted_in_a_sentence(pointwise):
    table = houses()
    table.loc[:4, "area"] = 100_000
    table.to_csv("new.csv", index=False)
    ran = pointwise("predict price-model new.csv --out p.csv")
    assert ran.code == 0
    words = r"5 of 60 rows lie far outside the training range of column 'area' ("
    assert ran.err.splitlines()[-1].startswith(words)
    assert "Warning" not in ran.err


def test_a_column_that_the_model_left_out_need_not_be_there(pointwise):
    houses().assign(flat=1).to_csv("houses.csv", index=False)
    fit = "fit houses.csv --target price --members 1 --time-limit 0.01 --out flat-model --json"
    assert pointwise(fit).code == 0
    pointwise("predict flat-model houses.csv --out p.csv")
    houses().to_csv("new.csv", index=False)
    ran = pointwise("predict flat-model new.csv --out q.csv")
    assert ran.code == 0, ran.err
    assert Path("p.csv").read_bytes() == Path("q.csv").read_bytes()


def test_a_table_without_a_header_is_named(pointwise):
    table = houses()
    table.to_csv("new.csv", index=False, header=False)
    names = ",".join(table.columns)
    assert pointwise(f"predict price-model new.csv --out p.csv --columns {names}").code == 0
    np.testing.assert_array_equal(_predicted()["price"], _expected("price-model"))


def test_a_bundled_set_is_predicted_by_name(pointwise):
    assert pointwise("predict iris-model iris --out p.csv").code == 0
    assert set(_predicted()["target"]) == {"setosa", "versicolor", "virginica"}


@pytest.mark.usefixtures("no_baselines")
def test_several_targets_have_a_column_each(pointwise):
    fit = "fit houses.csv --target price,area --members 1 --time-limit 0.01 --out m --json"
    assert pointwise(fit).code == 0
    ran = pointwise("predict m houses.csv --out p.csv --keep area")
    assert ran.code == 0
    assert _predicted().columns.tolist() == ["area", "price", "predicted_area"]


ODD = {
    "version": ["1.10", "1.2", "2.0", "beta"],
    "flag": ["TRUE", "FALSE", "UNKNOWN", "TRUE"],
    "day": ["2024-01-01", "2024-05-01", "2024-09-01", "never"],
    "code": ["1E5", "2E3", "7F1", "1E5"],
    "account": ["12345678901234571", "12345678901234572", "12345678901234573", ""],
}


@pytest.mark.usefixtures("no_baselines")
@pytest.mark.parametrize("target", ["price", "flag"])
def test_a_row_means_the_same_whatever_other_rows_its_file_holds(target, pointwise):
    number = np.arange(80)
    table = pd.DataFrame({name: np.array(cells)[number % 4] for name, cells in ODD.items()})
    table["price"] = (number % 4) * 10.0 + (number // 4 % 2)
    table["when"] = [f"{1 + i % 28:02}/{1 + i % 12:02}/2023" for i in number]
    table.to_csv("odd.csv", index=False)
    assert pointwise(f"fit odd.csv --target {target} --members 1 --seed 0 --out odd").code == 0
    assert pointwise("predict odd odd.csv --out all.csv").code == 0
    few = table[(number % 4 < 2) & (number % 28 < 12)]
    few.to_csv("few.csv", index=False)
    ran = pointwise("predict odd few.csv --out few-p.csv")
    assert "did not have" not in ran.err
    expected = _predicted("all.csv").iloc[few.index][target]
    if target == "price":
        np.testing.assert_allclose(_predicted("few-p.csv")[target], expected, rtol=1e-4)
    assert pointwise("evaluate odd few.csv --json").code == 0
    ran = pointwise(f"fit odd.csv --target {target} --members 1 --valid few.csv --out two")
    assert ran.code == 0, ran.err


def test_kept_columns_are_never_replaced_by_predictions(pointwise):
    houses().assign(predicted_price=7).to_csv("new.csv", index=False)
    ran = pointwise("predict price-model new.csv --out p.csv --keep price,predicted_price,price")
    assert ran.code == 0
    found = _predicted()
    assert list(found) == ["price", "predicted_price", "predicted_predicted_price"]
    assert (found["predicted_price"] == 7).all()


def test_where_predictions_cannot_go_is_told_before_they_are_made(pointwise):
    ran = pointwise("predict price-model houses.csv --out nowhere/p.csv")
    assert ran.code == 1
    assert "there is no folder nowhere" in ran.err
    assert "dates read" not in ran.err
