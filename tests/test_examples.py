"""Every example runs as a person would run it, and what it prints is what it promises."""

import re
import runpy
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "examples"
MOST_LINES = 79


@pytest.fixture(autouse=True)
def one_thread():
    """Networks as small as these are slower on several threads, on a busy machine many times."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def output_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def figures(pattern: str, text: str) -> list[float]:
    return [float(figure) for figure in re.findall(pattern, text)]


def test_house_prices_errs_by_less_than_a_hundredth_of_the_deviation(capsys):
    printed = output_of("house_prices", capsys)
    assert [line for line in printed.splitlines() if line.startswith("PointwiseConv")] == [
        "PointwiseConv(2, 16, groups=1, bias=True)",
        "PointwiseConv(16, 8, groups=1, bias=True)",
        "PointwiseConv(8, 1, groups=1, bias=True)",
    ]
    (percent,) = figures(r"([\d.]+) % of the standard deviation", printed)
    assert 0 < percent < 1
    rows = re.findall(r"^ +([\d.]+) +([\d.]+) +([\d,]+) +([\d,]+)$", printed, re.MULTILINE)
    assert len(rows) == 5
    for area, rooms, actual, predicted in rows:
        price = 500_000 * float(area) + 100_000 * float(rooms)
        printed_price, guess = (float(text.replace(",", "")) for text in (actual, predicted))
        assert printed_price == pytest.approx(price, abs=500_000 * 0.005 + 100_000 * 0.005)
        assert guess == pytest.approx(printed_price, abs=1500)  # 1 % of the deviation, about


def test_same_network_any_rank_gives_the_same_numbers(capsys):
    printed = output_of("same_network_any_rank", capsys)
    names = re.findall(r"^(\w+) +\(", printed, re.MULTILINE)
    assert names == ["rows", "tokens", "image", "volume"]
    differences = figures(r"largest difference ([\d.e+-]+)", printed)
    assert len(differences) == 5
    assert max(differences) < 1e-5


def test_layout_trap_shows_the_trap_and_the_warning(capsys):
    printed = output_of("layout_trap", capsys)
    trapped, right = figures(r"R2 (-?[\d.]+)", printed)
    assert trapped < 0.1
    assert right > 0.99
    assert (
        "the estimator says: X has shape (1200, 1, 2): one channel at 2 positions. A network of "
        "1x1s sees each position alone, so it could only add up functions of single features"
    ) in printed


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_example_is_short_says_what_it_shows_and_is_tested(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert text.startswith('"""')
    assert "\nShows " in text
    assert f"Run: python examples/{path.name}" in text
    assert f'output_of("{path.stem}", capsys)' in Path(__file__).read_text(encoding="utf-8")


def test_two_image_classifiers_differ_in_parameters_and_errors(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["two_image_classifiers.py"])
    printed = output_of("two_image_classifiers", capsys)
    dense, nin = printed.splitlines()[1:]
    assert dense.split()[-4:-2] == ["12,848,010", "12.9"]
    assert nin.split()[-4:-2] == ["350,388", "50.7"]
    errors = figures(r"([\d.]+)%$", dense) + figures(r"([\d.]+)%$", nin)
    assert errors[1] < errors[0] < 10


def test_digits_in_a_mosaic_are_read_as_on_their_windows(capsys):
    printed = output_of("digits_in_a_mosaic", capsys)
    assert printed.splitlines()[:2] == [
        "backbone.5: Linear(128, 32) -> Conv2d(32, 32, 2x2)",
        "backbone.7: Linear(32, 10) -> Conv2d(32, 10, 1x1)",
    ]
    rows = re.findall(r"^\d( \d){35}$", printed, re.MULTILINE)
    assert len(rows) == 15
    assert printed.count("^") < 54
    (right,) = figures(r"^([\d.]+)% of 540 digits are right", printed.splitlines()[-3])
    assert right == pytest.approx(100 * (1 - printed.count("^") / 540), abs=0.05)
    ((windows, largest, scale),) = re.findall(
        r"^(\d+) windows: largest difference ([\d.e-]+), .* values up to ([\d.]+); same class",
        printed,
        re.MULTILINE,
    )
    assert int(windows) == (15 * 4 - 3) * (36 * 4 - 3)
    assert float(largest) < 1e-5 * float(scale)


def test_map_of_a_scene_is_that_of_its_array(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    printed = output_of("map_of_a_scene", capsys)
    assert "an array of uint8, 820 pixels without a class\n" in printed
    (right,) = figures(r"([\d.]+)% of the others are right", printed)
    assert right > 97
    assert (
        "map.tif: 160 x 120 pixels, as the array: True, "
        "{'CLASS_1': 'field', 'CLASS_2': 'forest', 'CLASS_3': 'water'}"
    ) in printed
    assert (tmp_path / "map.png").stat().st_size > 1000
