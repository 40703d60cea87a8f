import pytest

from pointwise.errors import ModelFileError
from pointwise.modelfiles.schema import MIGRATIONS, SCHEMA_VERSION, migrate

STEPS = {
    1: lambda config: {**config, "names": config["columns"]},
    2: lambda config: {key: value for key, value in config.items() if key != "columns"},
}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (1, {"schema_version": 3, "names": ["a"]}),
        (2, {"schema_version": 3}),
        (3, {"schema_version": 3, "columns": ["a"]}),
    ],
)
def test_each_version_goes_up_step_by_step(version, expected):
    config = {"schema_version": version, "columns": ["a"]}
    assert migrate(config, "config.json", STEPS, current=3) == expected
    assert config == {"schema_version": version, "columns": ["a"]}


def test_a_version_without_a_way_up_is_refused():
    with pytest.raises(ModelFileError) as caught:
        migrate({"schema_version": 1}, "config.json", {2: STEPS[2]}, current=3)
    assert str(caught.value) == (
        "config.json has schema_version 1, which pointwise cannot bring to 3; "
        "fit again and write the model anew"
    )


def test_every_version_up_to_todays_has_a_migration():
    assert set(MIGRATIONS) == set(range(1, SCHEMA_VERSION))
