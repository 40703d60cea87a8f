"""``pointwise compare``: images by class to a table, JSON and a page, with finished cells kept."""

import json
import struct

import numpy as np
import pytest
from PIL import Image

import pointwise.studies.compare_plan as plan_module

SMALL = "--width 8 --epochs 1 --seeds 2"


@pytest.fixture(autouse=True)
def even_clock(monkeypatch):
    """Steps take as long as they have parameters: matching by time needs no time."""

    def seconds(networks, *_, **__):
        return [1e-6 * sum(p.numel() for p in net.parameters()) for net in networks]

    monkeypatch.setattr(plan_module, "step_seconds", seconds)


def pictures(n=60, size=8):
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    return rng.integers(0, 120, (n, size, size)).astype(np.uint8) + 99 * labels[
        :, None, None
    ], labels


@pytest.fixture
def photos(home):
    """A folder with a folder of images per class."""
    for name in ("dark", "light"):
        (home / "photos" / name).mkdir(parents=True)
    images, labels = pictures()
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = home / "photos" / ("dark", "light")[label]
        Image.fromarray(image.astype(np.uint8)).save(folder / f"{number:02}.png")
    return home / "photos"


def write_idx(path, values):
    head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def test_a_folder_is_compared_on(photos, pointwise, home):
    ran = pointwise(f"compare photos {SMALL}")
    assert ran.code == 0, ran.err
    assert "photos: 40 images to learn from, 8 to choose the epoch, 12 to test on" in ran.out
    assert "2 seeds, 1 epochs" in ran.out
    assert "On photos, does an mlpconv (3x3 + 1x1) pay? Against 3x3: " in ran.out
    assert "photos-mlpconv-8-16-seed0: " in ran.err
    kept = sorted(path.name for path in (home / "photos-compare").iterdir())
    assert sum("seed" in name for name in kept) == ran.err.count("% wrong")

    again = pointwise(f"compare photos {SMALL}")
    assert (again.code, again.out, again.err) == (0, ran.out, "")


def test_json_is_one_object_and_the_page_is_written_beside(photos, pointwise, home):
    ran = pointwise(f"compare photos {SMALL} --cache kept --out found.html --json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert [row["name"] for row in found["rows"][:3]] == ["3x3", "3x3 + 1x1", "3x3 + 3x3"]
    assert len(found["rows"]) == 9
    assert found["data"] == "photos"
    assert found["answer"] in (home / "found.html").read_text("utf-8")
    assert ran.err.endswith("page: found.html\n")
    assert (home / "kept").is_dir()
    assert not (home / "photos-compare").exists()


def test_one_seed_has_null_for_its_deviation(photos, pointwise):
    ran = pointwise("compare photos --width 8 --epochs 1 --seeds 1 --json")
    found = json.loads(ran.out)
    assert {row["deviation"] for row in found["rows"]} == {None}
    assert {one["uncertainty"] for one in found["differences"]} == {None}


def test_idx_files_are_compared_on_with_another_kernel_and_size(pointwise, home):
    images, labels = pictures()
    write_idx(home / "pixels.idx3-ubyte", images)
    write_idx(home / "truth.idx1-ubyte", labels)
    ran = pointwise(
        f"compare pixels.idx3-ubyte --labels truth.idx1-ubyte {SMALL} --kernel 5 --size 6 --json"
    )
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["data"] == "pixels"
    assert found["rows"][1]["name"] == "5x5 + 1x1"
    assert len(found["rows"][1]["widths"]) == 1  # six by six: one stage


def test_a_broken_cell_is_told_of_and_done_anew(photos, pointwise, home):
    ran = pointwise(f"compare photos {SMALL}")
    broken = next((home / "photos-compare").glob("*seed1*"))
    broken.write_text("{")
    again = pointwise(f"compare photos {SMALL}")
    assert again.code == 0
    name = broken.relative_to(home)
    assert f"{name} is no finished cell of this study: done anew\n" in again.err
    assert again.err.count("% wrong") == 1
    assert ran.out.splitlines()[-1] == again.out.splitlines()[-1]


def test_a_time_limit_that_does_not_suffice_is_an_error(photos, pointwise):
    ran = pointwise(f"compare photos {SMALL} --time-limit 0.001")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: the time limit of 0.001 s does not suffice: matching took ")


def test_a_class_with_too_few_images_is_an_error(photos, pointwise):
    for path in sorted((photos / "light").iterdir())[4:]:
        path.unlink()
    ran = pointwise(f"compare photos {SMALL}")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "error: class 'light' has 4 images: a comparison needs 5 of every class at least, so that "
        "some are in every part\n"
    )


def test_a_cache_that_is_a_file_is_an_error_before_anything_is_trained(photos, pointwise, home):
    (home / "taken").touch()
    ran = pointwise(f"compare photos {SMALL} --cache taken")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "error: cannot keep cells in taken: File exists; name another folder\n"


def test_a_page_that_cannot_be_written_is_an_error(photos, pointwise):
    ran = pointwise(f"compare photos {SMALL} --out none/found.html")
    assert (ran.code, ran.out) == (1, "")
    last = ran.err.splitlines()[-1]
    assert last == "error: cannot write the page none/found.html: No such file or directory"


@pytest.mark.parametrize(
    ("options", "word"),
    [("--kernel 4", "--kernel"), ("--seeds 0", "--seeds"), ("--kernel 1", "--k")],
)
def test_numbers_out_of_range_were_wrong_use(options, word, photos, pointwise):
    ran = pointwise(f"compare photos {options}")
    assert (ran.code, ran.out) == (2, "")
    assert word in ran.err


def test_data_that_is_not_there_is_an_error(pointwise):
    ran = pointwise("compare nothing")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("error: ")
    assert "nothing" in ran.err
