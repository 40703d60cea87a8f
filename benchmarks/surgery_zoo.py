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
from torch.utils._pytree import tree_map_only

from pointwise.surgery.conversion import restore, to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import Equivalence, call, check_equivalent
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
    """Multiply-adds of the linear layers and unit-stride 1x1s that are called, by path."""
    macs: Counter[str] = Counter()

    def note(path: str, c_in: int) -> Any:
        return lambda _module, _args, y: macs.update({path: y.numel() * c_in})

    handles = []
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear):
            c_in = module.in_features
        elif isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and _is_plain_1x1(module):
            c_in = module.in_channels // module.groups
        else:
            continue
        handles.append(module.register_forward_hook(note(path, c_in)))
    with torch.no_grad():
        call(model, x)
    for handle in handles:
        handle.remove()
    return dict(macs)


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
    for exact in (True, False):
        model = model.double() if exact else model.float()
        x = tree_map_only(Tensor, lambda t, exact=exact: _cast(t, exact), x)
        for name, operation in operations().items():
            record["operations"].setdefault(name, {})
            record["operations"][name] |= _one(model, x, operation, exact, macs)
            gc.collect()
    record["seconds"] = time.perf_counter() - start
    return record


def _cast(x: Tensor, exact: bool) -> Tensor:
    return x.to(torch.float64 if exact else torch.float32) if x.is_floating_point() else x


def _one(
    model: nn.Module, x: Any, operation: Operation, exact: bool, macs: dict[str, int]
) -> dict[str, Any]:
    kind = "float64" if exact else "float32"
    try:
        new, swaps = operation(model, x)
        found: Equivalence = check_equivalent(model, new, x, rtol=ANY)
    except Exception as error:
        return {kind: None, "error": f"{type(error).__name__}: {error}"[:500]}
    left = {swap.path: swap.reason for swap in swaps if swap.after is None}
    refused = {path: left[path] for path in macs if path in left}
    return {
        kind: found.max_relative,
        "signal": found.has_signal,
        "converted": sum(swap.after is not None for swap in swaps),
        "left": dict(Counter(left.values())),
        "refused_macs": sum(macs[path] for path in refused),
        "refused": dict(Counter(refused.values())),
    }


def rows(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| network | function | converted | left | MACs of eligible layers | float32 | float64 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for record in records:
        for name, one in record["operations"].items():
            title = f"{record['family']} {record['name']}"
            if "error" in one:
                lines.append(f"| {title} | {name} | {one['error']} | | | | |")
                continue
            share = 1 - one["refused_macs"] / record["macs"] if record["macs"] else 1.0
            left = sum(one["left"].values())
            exact = f"{one['float32']:.1e} | {one['float64']:.1e}"
            lines.append(
                f"| {title} | {name} | {one['converted']} | {left} | {share:.1%} | {exact} |"
            )
    return lines


def summary(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| family | function | networks | errors | MACs converted | largest float32 | above 1e-5 "
        "| largest float64 | above 1e-12 | without signal |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for family in FAMILIES:
        mine = [record for record in records if record["family"] == family]
        for name in dict.fromkeys(key for record in mine for key in record["operations"]):
            pairs = [(r, r["operations"][name]) for r in mine if name in r["operations"]]
            fine = [(r, one) for r, one in pairs if "error" not in one]
            total = sum(r["macs"] for r, _ in fine) or 1
            share = 1 - sum(one["refused_macs"] for _, one in fine) / total
            single = [one["float32"] for _, one in fine] or [0.0]
            double = [one["float64"] for _, one in fine] or [0.0]
            lines.append(
                f"| {family} | {name} | {len(pairs)} | {len(pairs) - len(fine)} | {share:.2%} "
                f"| {max(single):.1e} | {sum(d > 1e-5 for d in single)} "
                f"| {max(double):.1e} | {sum(d > 1e-12 for d in double)} "
                f"| {sum(not one['signal'] for _, one in fine)} |"
            )
    lines.append("")
    exact = sum(record["round_trip"] for record in records)
    lines.append(f"Round trips with every bit equal: {exact} of {len(records)} networks.")
    return lines


def reasons(records: list[dict[str, Any]]) -> list[str]:
    lines = ["| function | why eligible layers were left alone | layers |", "| --- | --- | ---: |"]
    counts: Counter[tuple[str, str]] = Counter()
    for record in records:
        for name, one in record["operations"].items():
            for reason, count in one.get("refused", {}).items():
                counts[name, reason] += count
    lines += [f"| {name} | {why} | {count} |" for (name, why), count in counts.most_common()]
    return lines


def kept(entry: Entry) -> Path:
    return KEPT / entry.family / f"{entry.name}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    parser.add_argument("--match", default="", help="only names that hold this text")
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
            if options.match not in entry.name or (file.exists() and not options.again):
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
                print(f"{family} {entry.name}: {type(error).__name__}: {error}", flush=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(record))
            print(*rows([record])[2:], sep="\n", flush=True)
            gc.collect()
    if options.report:
        files = [file for family in families for file in sorted((KEPT / family).glob("*.json"))]
        records = [json.loads(file.read_text()) for file in files if options.match in file.stem]
        print(*rows(records), "", *summary(records), "", *reasons(records), sep="\n")


if __name__ == "__main__":
    main()
