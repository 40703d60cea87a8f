"""Conversions over a zoo of networks: what is converted, what is refused and why, and how exactly.

    python benchmarks/surgery_zoo.py --family timm --match convnext
    python benchmarks/surgery_zoo.py --report
    python benchmarks/surgery_zoo.py --refusals

Random networks of torchvision, timm and transformers (the latter two must be installed). Norm
statistics are calibrated and affine parameters drawn first, so that the outputs carry signal. Each
finished network is kept in ``build/surgery_zoo``, so that a second run goes on where one ended.
``--report`` prints the tables of what is there, and which networks are missing. ``--refusals``
prints what becomes of layers that are not plain. How classifiers over larger images compare with
their heads is printed by ``dense_prediction.py``, and what spellings win by ``respell.py``.
"""

import argparse
import gc
import importlib
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.conversion import to_conv, to_linear, to_pointwise
from pointwise.surgery.equivalence import Equivalence, call, check_equivalent
from pointwise.surgery.restoring import restore
from pointwise.surgery.stock import to_torch
from pointwise.surgery.swap import Swap
from zoo_layers import eligible_macs, prepare
from zoo_models import FAMILIES, Entry, known_parameters
from zoo_refusals import refusal_rows
from zoo_report import reasons, rounding, rows, summary

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


def kept(entry: Entry) -> Path:
    return KEPT / entry.family / f"{entry.name}.json"


def parameters(entry: Entry) -> int:
    """How many a network has, without the memory for them where that can be known."""
    try:
        with torch.device("meta"):
            return sum(p.numel() for p in entry.build().parameters())
    except Exception:  # some cannot be built without values
        return known_parameters(entry.name)


def missing(entries: Iterable[Entry]) -> Iterator[str]:
    """Name the networks that were not run."""
    names = [f"{entry.family} {entry.name}" for entry in entries if not kept(entry).exists()]
    yield f"Not run, {len(names)} networks: {', '.join(names) or 'none'}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    parser.add_argument("--match", default="", help="only names that this pattern is found in")
    parser.add_argument("--largest", type=float, default=1e9, help="skip more parameters than this")
    parser.add_argument("--seconds", type=float, default=ANY, help="start no network after so long")
    parser.add_argument("--again", action="store_true", help="also what is kept")
    parser.add_argument("--report", action="store_true", help="print the tables of what is kept")
    parser.add_argument("--refusals", action="store_true", help="print what is left alone and why")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.refusals:
        print(*refusal_rows(), sep="\n")
        return
    start = time.perf_counter()
    families = [options.family] if options.family else list(FAMILIES)
    for family in () if options.report else families:
        for entry in FAMILIES[family]():
            file = kept(entry)
            if not re.search(options.match, entry.name) or (file.exists() and not options.again):
                continue
            if time.perf_counter() - start > options.seconds:
                return
            size = parameters(entry)
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
            "",
            *missing(entry for family in families for entry in FAMILIES[family]()),
            sep="\n",
        )


if __name__ == "__main__":
    main()
