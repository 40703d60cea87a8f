"""The schema of ``config.json``: its keys, the checks on them, and the way up from older versions.

A change that an older reader would misread raises ``SCHEMA_VERSION`` and adds to ``MIGRATIONS`` the
function that makes the new form of the old one. A key that older readers may ignore needs neither.
"""

from collections.abc import Callable, Mapping
from typing import Any

from pointwise.errors import ModelFileError
from pointwise.modelfiles._json import decode_object, json_type

FORMAT = "pointwise"
SCHEMA_VERSION = 1
WEIGHTS = "model.safetensors"
TASKS = ("regression", "classification", "segmentation")

Migration = Callable[[dict[str, Any]], dict[str, Any]]

MIGRATIONS: dict[int, Migration] = {}
"""From a version to the function that makes the next version's form of a config."""

KEYS: dict[str, tuple[type, ...]] = {
    "pointwise_version": (str,),
    "task": (str,),
    "estimator": (str,),
    "columns": (list,),
    "targets": (list,),
    "classes": (list, type(None)),
    "network": (dict,),
    "parameters": (dict,),
    "training": (dict,),
    "metrics": (dict,),
    "files": (dict,),
}
"""The keys that must be there, beside ``format`` and ``schema_version``; others are kept."""


def parse_config(data: bytes, where: str) -> dict[str, Any]:
    """Read ``config.json`` of any version up to ours, in today's form.

    Args:
        data: Bytes of the file.
        where: Its name for messages.

    Returns:
        The checked config.

    Raises:
        ModelFileError: If the bytes are not a config of ours, or one from a newer version.
    """
    config = decode_object(data, where)
    if config.get("format") != FORMAT:
        raise ModelFileError(
            f'{where} must say "format": "{FORMAT}", got {_origin(config)}; '
            "give a folder that pointwise wrote"
        )
    config = migrate(config, where, MIGRATIONS, SCHEMA_VERSION)
    check_config(config, where)
    return config


def migrate(
    config: dict[str, Any], where: str, migrations: Mapping[int, Migration], current: int
) -> dict[str, Any]:
    """Bring a config up to the current schema version, one version at a time.

    Args:
        config: Config of any version; it is left as it is.
        where: Name of the file for messages.
        migrations: From a version to the function that makes the next version's form.
        current: Version to reach.

    Returns:
        The config in the form of ``current``.

    Raises:
        ModelFileError: If its version is no integer, newer than ``current``, or has no way up.

    Example:
        >>> steps = {1: lambda config: {**config, "units": "m"}}
        >>> migrate({"schema_version": 1}, "config.json", steps, current=2)
        {'schema_version': 2, 'units': 'm'}
    """
    version = config.get("schema_version")
    if type(version) is not int:  # a boolean is an instance of int
        came = json_type(version) if "schema_version" in config else "nothing"
        raise ModelFileError(
            f"{where}: schema_version must be an integer, got {came}; "
            "the file was edited: copy the model folder again from its source"
        )
    if version > current:
        raise ModelFileError(
            f"{where} has schema_version {version}, this pointwise reads up to {current}: it was "
            f"written by pointwise {config.get('pointwise_version', 'of a newer version')}; "
            "upgrade with: pip install --upgrade pointwise"
        )
    config = dict(config)
    for step in range(version, current):
        if step not in migrations:
            raise ModelFileError(
                f"{where} has schema_version {version}, which pointwise cannot bring to {current}; "
                "fit again and write the model anew"
            )
        config = migrations[step](config) | {"schema_version": step + 1}
    return config


def check_config(config: Mapping[str, Any], where: str) -> None:
    """Check the top level of a config of today's version; the inside of its entries is not ours.

    Args:
        config: Config to check.
        where: Name of the file for messages.

    Raises:
        ModelFileError: If a key is missing or its value has the wrong type.
    """
    for key, types in KEYS.items():
        if key not in config:
            raise ModelFileError(f"{where}: the key {key!r} is missing; write the model again")
        if not isinstance(config[key], types):
            rule = " or ".join(json_type(kind()) for kind in types)
            raise ModelFileError(
                f"{where}: {key} must be {rule}, got {json_type(config[key])}; "
                "write the model again"
            )
    if config["task"] not in TASKS:
        raise ModelFileError(
            f"{where}: task must be one of {', '.join(TASKS)}, got {config['task']!r}; "
            "write the model again"
        )
    _check_files(config["files"], where)


def _check_files(files: Mapping[str, Any], where: str) -> None:
    if WEIGHTS not in files:
        raise ModelFileError(f"{where}: files must list {WEIGHTS!r}; write the model again")
    for name, entry in files.items():
        digest, size = (
            (entry.get("sha256"), entry.get("bytes")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(digest, str) or type(size) is not int:
            raise ModelFileError(
                f'{where}: files: {name} must be {{"sha256": a text, "bytes": an integer}}; '
                "write the model again"
            )


def _origin(config: Mapping[str, Any]) -> str:
    """Say whose config it seems to be."""
    if "format" in config:
        return repr(config["format"])[:80]
    if "model_type" in config or "architectures" in config or "transformers_version" in config:
        return "a config of Hugging Face transformers"
    return f"no format but {', '.join(map(repr, list(config)[:5])) or 'no key at all'}"[:200]
