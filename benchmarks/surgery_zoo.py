"""Conversions over a zoo of networks: what is converted, what is refused and why, and how exactly.

    python benchmarks/surgery_zoo.py --family timm --match convnext
    python benchmarks/surgery_zoo.py --report

Random networks of torchvision, timm and transformers (the latter two must be installed). Norm
statistics are calibrated and affine parameters drawn first, so that the outputs carry signal. Each
finished network is kept in ``build/surgery_zoo``, so that a second run goes on where one ended.
``--report`` prints the tables of what is there.
"""

import argparse
import gc
import importlib
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvTransposeNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from pointwise.surgery.axes import is_transposed
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import Equivalence, call, check_equivalent, outputs_of
from pointwise.surgery.restoring import restore
from pointwise.surgery.stock import to_torch
from pointwise.surgery.swap import Swap
from zoo_models import FAMILIES, Entry

KEPT = Path("build/surgery_zoo")
ANY = float("inf")

Operation = Callable[[nn.Module, Any], tuple[nn.Module, list[Swap]]]


def as_torch(model: nn.Module, x: Any) -> tuple[nn.Module, list[Swap]]:
    """To this package's layers, and from there to torch's: what is left must not need it."""
    ours, swaps = to_pointwise(model, example=x)
    new, more = to_torch(ours, x, in_place=True)
    kept = [swap for swap in more if swap.after is None]
    left = {path for path, part in new.named_modules() if "pointwise" in type(part).__module__}
    if not left <= {path for swap in kept for path in (swap.path, f"{swap.path}.layer")}:
        raise ValueError(f"modules of this package are left unsaid: {', '.join(sorted(left))}")
    refused = {swap.path for swap in kept}
    return new, [*(swap for swap in swaps if swap.path not in refused), *kept]


def operations() -> dict[str, Operation]:
    found: dict[str, Operation] = {
        "to_conv": lambda model, x: to_conv(model, example=x),
        "to_linear": lambda model, x: to_linear(model, example=x),
        "to_torch": as_torch,
    }
    try:
        fold = importlib.import_module("pointwise.surgery.fold").fold
    except (ImportError, AttributeError):
        return found
    return found | {"fold": lambda model, x: fold(model, x)}


def prepare(model: nn.Module, x: Any) -> None:
    """Draw what a fresh network leaves at 0, 1 or a tiny constant, and calibrate its norms."""
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.numel() > 1 and parameter.is_floating_point():
                _draw(parameter.data)
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    model.eval()
    with torch.no_grad():
        for norm in norms:
            norm.train()
            norm.momentum = None
            norm.reset_running_stats()
        for _ in range(2):
            call(model, tree_map_only(Tensor, _more, x))
        for norm in norms:
            norm.momentum = 0.1
    model.eval()


def _draw(values: Tensor) -> None:
    """Constant parameters become random ones: scales about 1, offsets about 0, matrices by size."""
    if values.max() > values.min():
        return
    if values.ndim > 1 and values.squeeze().ndim > 1:
        values.normal_(0, values[0].numel() ** -0.5)
    elif values.flatten()[0] == 0:
        values.normal_(0, 0.2)
    else:
        values.uniform_(0.5, 1.5)


def _more(x: Tensor) -> Tensor:
    """Another input like it, of at least four samples."""
    shape = (max(4, len(x)), *x.shape[1:])
    return torch.randn(shape) if x.is_floating_point() else torch.randint(5, 90, shape)


def eligible_macs(model: nn.Module, x: Any) -> dict[str, int]:
    """Multiply-adds by path of linear layers, unit-stride 1x1s and the linear maps of attention."""
    macs: Counter[str] = Counter()

    def note(path: str, c_in: int) -> Any:
        return lambda _module, _args, y: macs.update({path: y.numel() * c_in})

    def attention(path: str) -> Any:
        def hook(module: nn.MultiheadAttention, args: Any, named: dict[str, Any], _y: Any) -> None:
            names = ("query", "key", "value")
            query, key, value = (
                {**dict(zip(names, args, strict=False)), **named}[n] for n in names
            )
            sizes = (
                2 * query.numel() + key.numel() + value.numel()
            )  # queries, outputs, keys, values
            macs.update({path: sizes * module.embed_dim})

        return hook

    handles, linear = [], {}
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_hook(attention(path), with_kwargs=True))
            continue
        if isinstance(module, nn.Linear):
            linear[module.weight] = path
            c_in = module.in_features
        elif is_transposed(module):
            c_in = module.weight.shape[0]
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and _is_plain_1x1(module):
            c_in = module.in_channels // module.groups
        else:
            continue
        handles.append(module.register_forward_hook(note(path, c_in)))
    with torch.no_grad(), _Reading(linear) as reading:
        call(model, x)
    for handle in handles:
        handle.remove()
    return dict(macs) | {p: n for p, n in reading.macs.items() if p not in macs}


class _Reading(TorchFunctionMode):
    """Counts what is done with the weights of linear layers, also where no layer is called."""

    def __init__(self, linear: dict[Tensor, str]) -> None:
        super().__init__()
        self.linear, self.macs = linear, Counter[str]()

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        y = func(*args, **(kwargs or {}))
        if func is torch.nn.functional.linear:
            weight = args[1] if len(args) > 1 else (kwargs or {})["weight"]
            if weight in self.linear:
                self.macs.update({self.linear[weight]: y.numel() * weight.shape[1]})
        return y


def _is_plain_1x1(conv: nn.Conv1d | nn.Conv2d | nn.Conv3d) -> bool:
    unit = set(conv.kernel_size) == {1} and set(conv.stride) == {1}
    pads = not isinstance(conv.padding, str) and set(conv.padding) != {0}
    return unit and not pads and not isinstance(conv, _ConvTransposeNd)


def round_trip(model: nn.Module) -> bool:
    """Whether every spelling leads back to the same names, shapes and bits."""
    state = model.state_dict()
    for there in (to_conv, to_linear, to_pointwise):
        back = restore(there(model)[0], in_place=True)[0].state_dict()
        if back.keys() != state.keys():
            return False
        if not all(torch.equal(value, state[name]) for name, value in back.items()):
            return False
    return True


def measure(entry: Entry) -> dict[str, Any]:
    torch.manual_seed(0)
    start = time.perf_counter()
    model, x = entry.build(), entry.example()
    prepare(model, x)
    macs = eligible_macs(model, x)
    record: dict[str, Any] = {
        "family": entry.family,
        "name": entry.name,
        "params": sum(p.numel() for p in model.parameters()),
        "macs": sum(macs.values()),
        "round_trip": round_trip(model),
        "operations": {},
    }
    reference: dict[str, Tensor] = {}  # the outputs in float64
    for exact in (True, False):
        model = model.double() if exact else model.float()
        x = tree_map_only(Tensor, lambda t, exact=exact: _cast(t, exact), x)
        with torch.no_grad():
            outputs = outputs_of(call(model, x))
        reference = reference or outputs
        record["rounding"] = _distance(reference, outputs)
        for name, operation in operations().items():
            record["operations"].setdefault(name, {})
            record["operations"][name] |= _one(model, x, operation, macs, reference)
            gc.collect()
    record["seconds"] = time.perf_counter() - start
    return record


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The largest difference of an output, over its largest value."""
    pairs = [(x.double(), other[name].double()) for name, x in one.items() if x.numel()]
    return max(((x - y).abs().max() / x.abs().max().clamp(min=1e-30)).item() for x, y in pairs)


def _cast(x: Tensor, exact: bool) -> Tensor:
    return x.to(torch.float64 if exact else torch.float32) if x.is_floating_point() else x


def _one(
    model: nn.Module,
    x: Any,
    operation: Operation,
    macs: dict[str, int],
    reference: dict[str, Tensor],
) -> dict[str, Any]:
    exact = any(p.dtype == torch.float64 for p in model.parameters())
    kind = "float64" if exact else "float32"
    try:
        new, swaps = operation(model, x)
        found: Equivalence = check_equivalent(model, new, x, rtol=ANY)
        with torch.no_grad():
            rounding = _distance(reference, outputs_of(call(new, x)))
    except Exception as error:
        return {kind: None, "error": f"{type(error).__name__}: {error}"[:500]}
    left = {swap.path: swap.reason for swap in swaps if swap.after is None}
    refused = {path: left[path] for path in macs if path in left}
    return {
        kind: found.max_relative,
        "rounding": rounding,
        "signal": found.has_signal,
        "converted": sum(swap.after is not None for swap in swaps),
        "left": dict(Counter(left.values())),
        "refused_macs": sum(macs[path] for path in refused),
        "refused": dict(Counter(refused.values())),
    }


def rows(records: list[dict[str, Any]]) -> list[str]:
    """What became of each network. The last two columns are off the given model in float64."""
    lines = [
        "| network | function | converted | left | MACs of eligible layers | float32 | float64 "
        "| given model's float32 | new model's float32 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for record in records:
        title = f"{record['family']} {record['name']}"
        if "error" in record:
            lines.append(f"| {title} | | {record['error']} | | | | | | |")
            continue
        for name, one in record["operations"].items():
            if "error" in one:
                lines.append(f"| {title} | {name} | {one['error']} | | | | | | |")
                continue
            left = sum(one["left"].values())
            lines.append(
                f"| {title} | {name} | {one['converted']} | {left} | {_share(name, [record])} "
                f"| {one['float32']:.1e} | {one['float64']:.1e} "
                f"| {record['rounding']:.1e} | {one['rounding']:.1e} |"
            )
    return lines


def _share(name: str, records: list[dict[str, Any]]) -> str:
    """The share of the multiply-adds of eligible layers that are in the new spelling."""
    total = sum(record["macs"] for record in records)
    if name == "fold" or not total:  # it converts no layer
        return ""
    refused = sum(record["operations"][name]["refused_macs"] for record in records)
    return f"{1 - refused / total:.2%}"


def summary(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| family | function | networks | errors | MACs converted | largest float32 | above 1e-5 "
        "| of these: more than twice the given model's own error | largest float64 "
        "| above 1e-12 | without signal |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for family in FAMILIES:
        mine = [record for record in records if record["family"] == family]
        ran = [record for record in mine if "error" not in record]
        for name in dict.fromkeys(key for record in ran for key in record["operations"]):
            fine = [r for r in ran if "error" not in r["operations"][name]]
            found = [(record, record["operations"][name]) for record in fine]
            above = [(record, one) for record, one in found if one["float32"] > 1e-5]
            worse = sum(one["rounding"] > 2 * record["rounding"] for record, one in above)
            single = max((one["float32"] for _, one in found), default=0.0)
            double = [one["float64"] for _, one in found] or [0.0]
            lines.append(
                f"| {family} | {name} | {len(mine)} | {len(mine) - len(fine)} "
                f"| {_share(name, fine)} | {single:.1e} | {len(above)} | {worse} "
                f"| {max(double):.1e} | {sum(d > 1e-12 for d in double)} "
                f"| {sum(not one['signal'] for _, one in found)} |"
            )
    lines.append("")
    ran = [record for record in records if "error" not in record]
    exact = sum(record["round_trip"] for record in ran)
    lines.append(f"Round trips with every bit equal: {exact} of {len(ran)} networks.")
    return lines


def rounding(records: list[dict[str, Any]]) -> list[str]:
    """The differences above 1e-5 in float32, and how far both models are off float64."""
    lines = [
        "| above 1e-5 in float32 | function | difference | given model's own error "
        "| new model's error |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for record in records:
        for name, one in record.get("operations", {}).items():
            if "error" not in one and one["float32"] > 1e-5:
                lines.append(
                    f"| {record['family']} {record['name']} | {name} | {one['float32']:.1e} "
                    f"| {record['rounding']:.1e} | {one['rounding']:.1e} |"
                )
    return lines


def reasons(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| function | why eligible layers were left alone | layers | networks |",
        "| --- | --- | ---: | ---: |",
    ]
    counts: Counter[tuple[str, str]] = Counter()
    networks: Counter[tuple[str, str]] = Counter()
    for record in records:
        for name, one in record.get("operations", {}).items():
            for reason, count in one.get("refused", {}).items():
                counts[name, reason] += count
                networks[name, reason] += 1
    for key, count in counts.most_common():
        lines.append(f"| {key[0]} | {key[1]} | {count} | {networks[key]} |")
    return lines


def kept(entry: Entry) -> Path:
    return KEPT / entry.family / f"{entry.name}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    parser.add_argument("--match", default="", help="only names that this pattern is found in")
    parser.add_argument("--largest", type=float, default=1e9, help="skip more parameters than this")
    parser.add_argument("--seconds", type=float, default=ANY, help="start no network after so long")
    parser.add_argument("--again", action="store_true", help="also what is kept")
    parser.add_argument("--report", action="store_true", help="print the tables of what is kept")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    families = [options.family] if options.family else list(FAMILIES)
    for family in () if options.report else families:
        for entry in FAMILIES[family]():
            file = kept(entry)
            if not re.search(options.match, entry.name) or (file.exists() and not options.again):
                continue
            if time.perf_counter() - start > options.seconds:
                return
            try:
                with torch.device("meta"):
                    size = sum(p.numel() for p in entry.build().parameters())
            except Exception:  # some cannot be built without values
                size = 0
            if size > options.largest:
                print(f"{family} {entry.name}: {size:,} parameters, skipped", flush=True)
                continue
            try:
                record = measure(entry)
            except Exception as error:
                words = f"{type(error).__name__}: {error}"[:500].replace("\n", " ")
                record = {"family": family, "name": entry.name, "error": words}
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record))
            print(*rows([record])[2:], sep="\n", flush=True)
            gc.collect()
    if options.report:
        files = [file for family in families for file in sorted((KEPT / family).glob("*.json"))]
        records = [
            json.loads(file.read_text()) for file in files if re.search(options.match, file.stem)
        ]
        print(
            *rows(records),
            "",
            *summary(records),
            "",
            *rounding(records),
            "",
            *reasons(records),
            sep="\n",
        )


if __name__ == "__main__":
    main()
