"""The sets that scikit-learn carries, read by name."""

import pytest

from pointwise.data.bundled import BUNDLED_NAMES, load_bundled
from pointwise.errors import DataError

SHAPES = {
    "breast_cancer": (569, 31),
    "diabetes": (442, 11),
    "digits": (1797, 65),
    "iris": (150, 5),
    "wine": (178, 14),
}


@pytest.mark.parametrize("name", BUNDLED_NAMES)
def test_target_is_the_last_of_all_columns(name: str) -> None:
    frame = load_bundled(name)
    assert frame.shape == SHAPES[name]
    assert frame.columns[-1] == "target"
    assert frame.notna().all(axis=None)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("iris", {"setosa", "versicolor", "virginica"}),
        ("wine", {"class_0", "class_1", "class_2"}),
        ("breast_cancer", {"malignant", "benign"}),
        ("digits", set(range(10))),
    ],
)
def test_named_classes_are_strings(name: str, labels: set[object]) -> None:
    assert set(load_bundled(name)["target"]) == labels


def test_labels_stand_at_the_rows_of_their_codes() -> None:
    from sklearn.datasets import load_wine

    data = load_wine()
    assert load_bundled("wine")["target"].tolist() == [
        str(data.target_names[code]) for code in data.target
    ]


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(DataError) as caught:
        load_bundled("boston")
    assert str(caught.value) == (
        "a bundled set is one of breast_cancer, diabetes, digits, iris, wine, got 'boston'"
    )
