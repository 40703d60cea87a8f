"""What became of a model, so that it can be built again: sizes, and nothing that is run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, NoReturn

import torch
from torch import nn

from pointwise.compression.forms.stages import Stage, kind_of
from pointwise.compression.plans.plan_schema import FORMAT, VERSION, decode_plan
from pointwise.errors import ModelFileError, first_line
from pointwise.inspection.copying import copy_model
from pointwise.modelfiles._json import encode_object
from pointwise.surgery.folding.maps import LINEAR_MAPS, with_offset
from pointwise.surgery.folding.scalings import Scaling, is_batch_norm, scaling
from pointwise.surgery.replace import replace_named
from pointwise.surgery.spelling.orders import lay_channels_last
from pointwise.surgery.swap import describe

SIDE = 1009
"""Positions along an axis on which the stages of a plan are checked to give what the layer gave."""


@dataclass(frozen=True)
class PlannedLayer:
    """A layer and what takes its place.

    Attributes:
        path: The layer; the first path where it has several.
        form: Name of the form that it is in.
        rank: Rank of the form.
        stages: The plain layers, in order.
        bias: Whether the last of them has an offset.

    Example:
        >>> stages = (Stage("linear", 8, 2), Stage("linear", 2, 8))
        >>> print(PlannedLayer("fc", "output", (2,), stages, True))
        fc: output of rank 2, Linear(8, 2) and Linear(2, 8)
    """

    path: str
    form: str
    rank: tuple[int, ...]
    stages: tuple[Stage, ...]
    bias: bool

    def build(self, like: nn.Module) -> nn.Sequential:
        """Make the plain layers, with zeros for weights.

        Args:
            like: The layer, whose type, device and flags they have.

        Returns:
            The layers one after another.

        Raises:
            ModelFileError: If torch has no such layers.
        """
        old: Any = like
        made = []
        try:
            for place, stage in enumerate(self.stages, 1):
                shape = (stage.groups, stage.outputs, stage.inputs, *stage.kernel)
                weight = torch.zeros(shape, dtype=old.weight.dtype, device=old.weight.device)
                bias = weight.new_zeros(stage.groups, stage.outputs)
                last = self.bias and place == len(self.stages)
                made.append(stage.build(weight, bias if last else None, like))
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelFileError(
                f"the plan's layers for {self.path!r} cannot be built: {first_line(error)}"
            ) from error
        return nn.Sequential(*made).train(like.training)

    def __str__(self) -> str:
        """One line to read."""
        rank = " x ".join(map(str, self.rank))
        path = self.path or "(the model)"
        layers = self.build(nn.Linear(1, 1, device="meta"))
        return f"{path}: {self.form} of rank {rank}, {_in_a_row(layers)}"


@dataclass(frozen=True)
class Plan:
    """What became of each layer of a model.

    Attributes:
        layers: Those that were replaced; all others are as they were.
        model: Name of the class of the original model, for people.
        channels_last: Whether the weights of convolutions lie channels-last, to be faster.
        folded: Paths of batch norms that are folded into their neighbours.
        offsets: Paths of layers, among the new ones too, that have an offset for that.
        version: Of the plan file.
        package: Version of this package that made it.

    Example:
        >>> stages = (Stage("linear", 8, 2), Stage("linear", 2, 8))
        >>> plan = Plan((PlannedLayer("0", "output", (2,), stages, True),), "Sequential")
        >>> Plan.from_json(plan.to_json()) == plan
        True
        >>> plan.apply(nn.Sequential(nn.Linear(8, 8), nn.ReLU()))
        Sequential(
          (0): Sequential(
            (0): Linear(in_features=8, out_features=2, bias=False)
            (1): Linear(in_features=2, out_features=8, bias=True)
          )
          (1): ReLU()
        )
    """

    layers: tuple[PlannedLayer, ...]
    model: str
    channels_last: bool = False
    folded: tuple[str, ...] = ()
    offsets: tuple[str, ...] = ()
    version: int = VERSION
    package: str = ""

    def __post_init__(self) -> None:
        if not self.package:
            object.__setattr__(self, "package", _package())

    def to_json(self) -> str:
        """Write the plan as text, a line for each layer.

        Returns:
            JSON.
        """
        whole = {
            "format": FORMAT,
            "version": self.version,
            "package": self.package,
            "model": self.model,
            "channels_last": self.channels_last,
            "folded": self.folded,
            "offsets": self.offsets,
            "layers": [asdict(layer) for layer in self.layers],
        }
        return encode_object(whole, "the plan").decode()

    @classmethod
    def from_json(cls, text: str, *, where: str = "the plan") -> "Plan":
        """Read a plan; nothing in it is run.

        Args:
            text: What ``to_json`` gave.
            where: What to call it in messages.

        Returns:
            The plan.

        Raises:
            ModelFileError: If it is no plan, a newer one, or anything in it is not as it must be.
        """
        found = decode_plan(text, where)
        layers = tuple(
            PlannedLayer(
                one["path"],
                one["form"],
                tuple(one["rank"]),
                tuple(_stage(stage) for stage in one["stages"]),
                one["bias"],
            )
            for one in found["layers"]
        )
        return cls(
            layers,
            found["model"],
            found["channels_last"],
            tuple(found["folded"]),
            tuple(found["offsets"]),
            found["version"],
            found["package"],
        )

    def apply(self, model: nn.Module) -> nn.Module:
        """Put plain layers of the planned sizes in the places of a model's own.

        Args:
            model: From the original constructor; it is left as it is.

        Returns:
            A copy with the layers replaced; their weights are zeros until a state dict is loaded.
            Training flags, types and devices are those of the layers they replace.

        Raises:
            ModelFileError: If the model has no such layer, or one of other sizes.
        """
        modules = dict(model.named_modules())
        planned = {layer.path: layer for layer in self.layers}
        for path, layer in planned.items():
            self._check(layer, modules.get(path), type(model).__name__)
        model = copy_model(model)
        if self.channels_last:
            lay_channels_last(model)
        modules = dict(model.named_modules())
        built = _replaced(model, {p: one.build(modules[p]) for p, one in planned.items()})
        modules = dict(built.named_modules())
        norms = {path: self._rest(path, modules.get(path)) for path in self.folded}
        layers = {path: self._with_offset(path, modules.get(path)) for path in self.offsets}
        return _replaced(built, {**norms, **layers})

    def _rest(self, path: str, module: nn.Module | None) -> nn.Module:
        """What is left of a batch norm without what it does to channels."""
        known = None if module is None or not is_batch_norm(module) else scaling(module)
        if module is None or not isinstance(known, Scaling):
            self._refuse(path, "a batch norm", module)
        return known.rest.train(module.training)

    def _with_offset(self, path: str, module: nn.Module | None) -> nn.Module:
        if not isinstance(module, LINEAR_MAPS):
            self._refuse(path, "a layer", module)
        return with_offset(module)

    def _refuse(self, path: str, wanted: str, module: nn.Module | None) -> NoReturn:
        got = "no such module" if module is None else f"a {describe(module)}"
        raise ModelFileError(
            f"model must have {wanted} {path!r} as the plan has (of a {self.model}), it has {got}: "
            "build it as it was when it was compressed"
        )

    def _check(self, layer: PlannedLayer, module: nn.Module | None, model: str) -> None:
        """Refuse a layer that is not there, or that the stages cannot stand for."""
        if module is None or kind_of(module) is None:
            got = "no such module" if module is None else f"a {describe(module)}"
            raise ModelFileError(
                f"model must have a layer {layer.path!r} as the plan has (of a {self.model}), the "
                f"{model} has {got}: build it as it was when it was compressed"
            )
        stage = Stage.of(module)
        if not _fit(stage, layer.stages):
            raise ModelFileError(
                f"model must have a layer {layer.path!r} of the sizes that the plan has (of a "
                f"{self.model}), the {model} has a {describe(module)}, the plan has {layer}"
            )


def describe_stages(stages: tuple[Stage, ...], bias: bool) -> str:
    """Say in short what layers one after another are.

    Args:
        stages: The layers.
        bias: Whether the last has an offset.

    Returns:
        A short text.

    Example:
        >>> describe_stages((Stage("linear", 8, 2), Stage("linear", 2, 4)), True)
        'Linear(8, 2) and Linear(2, 4)'
    """
    return _in_a_row(PlannedLayer("", "", (), stages, bias).build(nn.Linear(1, 1, device="meta")))


def _replaced(model: nn.Module, new: Mapping[str, nn.Module]) -> nn.Module:
    """The model with other modules at some places; it is changed."""
    if not new:
        return model
    built, swaps = replace_named(model, lambda path, _: new.get(path), in_place=True)
    for swap in swaps:
        if swap.after is None and swap.path in new:
            where = repr(swap.path)
            raise ModelFileError(f"{where} of the model cannot be replaced: {swap.reason}")
    return built


def _in_a_row(layers: nn.Sequential) -> str:
    names = [describe(layer) for layer in layers]
    return f"{', '.join(names[:-1])} and {names[-1]}" if names[1:] else names[0]


def _stage(entries: Mapping[str, Any]) -> Stage:
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in entries.items()
    }
    return Stage(**values)


def _fit(old: Stage, stages: tuple[Stage, ...]) -> bool:
    """Whether stages give outputs of the shape that the layer gives, and are no larger than any."""
    first, last = stages[0], stages[-1]
    spatial = old.kind in ("conv", "transposed")
    kinds = ("conv", "transposed") if spatial else (old.kind,)
    same_kind = all(s.kind in kinds and len(s.kernel) == len(old.kernel) for s in stages)
    if not same_kind or (first.c_in, last.c_out) != (old.c_in, old.c_out):
        return False
    widest = max(old.c_in, old.c_out) * old.taps  # of an exact form
    taps = [k for stage in stages for k in zip(stage.kernel, old.kernel, strict=True)]
    if any(stage.c_out > widest for stage in stages) or any(new > had for new, had in taps):
        return False
    shape: tuple[int, ...] = (1, old.c_in, *(SIDE for _ in old.kernel))
    wanted = old.output_shape(shape)
    for stage in stages:
        shape = stage.output_shape(shape)
    return shape == wanted


def _package() -> str:
    try:
        return metadata.version("pointwise")
    except metadata.PackageNotFoundError:  # run from a checkout
        return "0+unknown"
