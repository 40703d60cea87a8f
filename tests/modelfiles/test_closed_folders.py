"""One clear error for files and folders that may not be read or written."""

import codecs
import os
import stat
import tempfile
from pathlib import Path

import pytest

from pointwise._atomic import READY
from pointwise.errors import ModelFileError
from pointwise.modelfiles import check_target, read_model, write_model

WEIGHTS, CONFIG, REPORT = "model.safetensors", "config.json", "report.json"


def error_of(read, path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def another_user():
    """A folder that anybody may enter, used as a user whose permissions count (root's do not)."""
    root = os.name == "posix" and os.geteuid() == 0
    codecs.lookup("utf-8-sig")  # that user may not read it, and Python keeps what it did not find
    with tempfile.TemporaryDirectory() as home:
        Path(home).chmod(0o777)
        yield Path(home), (lambda: os.seteuid(65534)) if root else (lambda: None)
        if root:
            os.seteuid(0)
        for path in [Path(home), *Path(home).rglob("*")]:
            path.chmod(stat.S_IRWXU)


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
@pytest.mark.parametrize("closed", [CONFIG, WEIGHTS, "."])
def test_files_without_permission(another_user, config, tensors, closed):
    home, become = another_user
    become()
    write_model(home / "m", tensors, config, card="")
    (home / "m" / closed).chmod(0)
    named = home / "m" / (CONFIG if closed == "." else closed)
    assert error_of(read_model, home / "m") == (
        f"cannot read {named}: Permission denied; check its owner and permissions"
    )


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_folder_without_a_config_that_cannot_be_listed(another_user):
    home, become = another_user
    become()
    (home / "m").mkdir(mode=0o300)
    assert error_of(read_model, home / "m") == (
        f"{home / 'm'} has no config.json, so it is no model folder (its files cannot be listed: "
        "Permission denied); give a folder that pointwise wrote"
    )


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_folder_below_a_closed_one(another_user, config, tensors):
    home, become = another_user
    become()
    write_model(home / "closed" / "m", tensors, config, card="")
    (home / "closed").chmod(0)
    path = home / "closed" / "m"
    problem = "Permission denied; check its owner and permissions"
    assert error_of(read_model, path) == f"cannot read {path}: {problem}"


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_read_only_folder_is_read_and_not_written(another_user, config, tensors):
    home, become = another_user
    become()
    write_model(home / "m", tensors, config, card="")
    (home / "m" / READY).mkdir()
    (home / "m" / WEIGHTS).rename(home / "m" / READY / WEIGHTS)  # as a killed writer leaves it
    (home / "m").chmod(0o555)
    assert set(read_model(home / "m").tensors) == {"0.weight", "0.bias"}
    with pytest.raises(ModelFileError) as caught:
        write_model(home / "m", tensors, config, card="")
    assert str(caught.value) == (
        f"cannot write the model folder {home / 'm'}: Permission denied; "
        "give a folder that can be written, with space on its disk"
    )
    with pytest.raises(ModelFileError) as caught:
        check_target(home / "m")
    assert str(caught.value) == (
        f"cannot write the model folder {home / 'm'}: {home / 'm'} is no folder that can be "
        "written to; give a folder that can be written, with space on its disk"
    )
