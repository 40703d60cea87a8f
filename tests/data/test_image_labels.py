"""Classes of a folder's images from a table: how it is read, and where it does not match."""

from pathlib import Path

import pytest
from image_cases import refusal, save

from pointwise.data.idx import write_idx
from pointwise.data.image_labels import label_pictures
from pointwise.data.images import read_images

FILES = ("a.png", "b.png", "sub/c.png")
CLASSES = (("a.png", "b.png", "sub/c.png"), ("dog", "cat", "dog"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        save(tmp_path / "photos" / name)
    return tmp_path


TABLES = {
    "named columns": "width,class,file\n6,dog,a.png\n6,cat,b.png\n6,dog,sub/c.png\n",
    "two columns": "id;breed\na.png;dog\nb.png;cat\nsub/c.png;dog\n",
    "no header": "a.png,dog\nb.png,cat\nsub/c.png,dog\n",
    "no suffixes": "id,breed\nb,cat\na,dog\nsub/c,dog\n",
    "other spellings of paths": "file,class\n./a.png,dog\nb.png,cat\nsub\\c.png,dog\n",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_table_names_the_class_of_each_file(table, folder):
    path = folder / "labels.csv"
    path.write_text(table)
    found = read_images(folder / "photos", labels=path)
    assert found.classes == ("cat", "dog")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 1]
    assert found.names == ("b.png", "a.png", "sub/c.png")
    assert found.notes == ()


def test_a_table_among_the_images_is_no_stray_file(folder):
    path = folder / "photos" / "labels.csv"
    path.write_text(TABLES["named columns"])
    (folder / "photos" / "notes.txt").write_text("to do")
    found = read_images(folder / "photos", labels=path)
    assert found.notes == ("no images, left out: notes.txt",)


def test_one_class_can_be_read(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,class\n1.png,dog\n2.png,dog\n")
    found = label_pictures(tmp_path, ["1.png", "2.png"], table)
    assert (found.classes, found.labels) == (("dog",), (0, 0))


def test_classes_that_are_numbers_are_sorted_so_in_a_table(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file,class\n1.png,10\n2.png,9\n3.png,9\n")
    found = label_pictures(tmp_path, ["1.png", "2.png", "3.png"], table)
    assert (found.classes, found.labels) == (("9", "10"), (0, 0, 1))


@pytest.mark.parametrize(
    ("files", "classes"),
    [
        (["1", "2", "3"], ["1.1", "1.10", "1.1"]),
        (["2024-01-31", "2024-02-01", "2024-02-02"], ["a", "b", "a"]),
        (["1403636579.763555527", "1403636579.813555527", "5"], ["1e3", "1000", "1000.0"]),
    ],
)
@pytest.mark.parametrize("head", ["", "file,class\n", "id,kind\n"])
def test_files_and_classes_are_as_they_are_spelt(head, files, classes, tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text(head + "".join(f"{a},{b}\n" for a, b in zip(files, classes, strict=True)))
    found = label_pictures(tmp_path, [f"{name}.png" for name in files], table)
    given = {f"{name}.png": label for name, label in zip(files, classes, strict=True)}
    labels = [found.classes[index] for index in found.labels]
    assert dict(zip(found.pictures, labels, strict=True)) == given


WRONG = {
    "an image without a label": (
        "file,class\na.png,dog\nb.png,cat\n",
        "labels and images do not match: 1 of 3 images in DATA/photos have no label (sub/c.png)",
    ),
    "a label without an image": (
        "file,class\na.png,dog\nb.png,cat\nsub/c.png,dog\nd.png,cat\ne.png,cat\n",
        "labels and images do not match: 2 of 5 labels have no image (d.png, e.png)",
    ),
    "a file twice": ("file,class\na.png,dog\na,cat\nb.png,cat\n", "a.png is here twice"),
    "no class": (
        "file,class\na.png,dog\nb.png,\nsub/c.png,dog\n",
        "1 of 3 rows lack a file or a class, the first is row 2: ['b.png', 'nan']",
    ),
    "other columns": (
        "file,breed,age\na.png,dog,3\nb.png,cat,4\n",
        "labels are a table with the columns file and class, or with two columns, got file, breed, "
        "age",
    ),
}


@pytest.mark.parametrize(("table", "words"), WRONG.values(), ids=WRONG)
def test_a_table_that_does_not_match_is_refused(table, words, folder):
    path = folder / "labels.csv"
    path.write_text(table)
    said = refusal(lambda: read_images(folder / "photos", labels=path), folder)
    assert said.replace(str(folder), "DATA") == f"labels.csv: {words}".replace(
        "DATA/photos", "photos"
    )


def test_labels_of_a_folder_are_no_idx_file(folder):
    import numpy as np

    write_idx(np.arange(3, dtype=np.uint8), folder / "y.idx")
    said = refusal(lambda: read_images(folder / "photos", labels=folder / "y.idx"), folder)
    assert said == (
        "y.idx: this is an idx file of labels, photos is a folder: its labels are a table of files "
        "and classes, such as a CSV"
    )


def test_a_class_of_the_table_that_cannot_be_read_is_refused(folder):
    path = folder / "labels.csv"
    path.write_text(TABLES["named columns"])
    (folder / "photos" / "b.png").write_bytes(b"")
    said = refusal(lambda: read_images(folder / "photos", labels=path, unreadable="skip"), folder)
    assert said == "class 'cat': no image of this class can be read: b.png"
