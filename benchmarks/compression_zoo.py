"""Compression over a zoo of networks: which meet a budget, and what is left alone and why.

    python benchmarks/compression_zoo.py --family timm --match convnext
    python benchmarks/compression_zoo.py --report

Random networks of torchvision, timm and transformers (the latter two must be installed), with
calibrated norms, are compressed to 0.7 of their multiply-adds, with nothing given but an example
input; ``--data`` gives a few random inputs besides. Each finished network is kept in
``build/compression_zoo``, so that a second run goes on where one ended, and ``--report`` prints
the tables of what is there. Costs are counted by torch's ``FlopCounterMode``, and what was saved is
read back into a network from the original constructor.
"""

import argparse
import gc
import json
import re
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from compression_zoo_report import TARGET, Record, reasons, rows, summary, unmet
from pointwise.compression import Budget, Compressed, CompressionReport, compress, load, save
from pointwise.compression.forms.stages import KINDS
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import call
from surgery_zoo import parameters
from zoo_layers import prepare
from zoo_models import FAMILIES, Entry

KEPT = Path("build/compression_zoo")
SAMPLES = 8
"""Random inputs with ``--data``."""

SMALLEST = re.compile(r"the smallest share of the macs is ([0-9.]+)")


def measure(entry: Entry, *, with_data: bool) -> Record:
    torch.manual_seed(0)
    model, x = entry.build(), entry.example()
    prepare(model, x)
    data = [tree_map_only(Tensor, _drawn, x) for _ in range(SAMPLES // 2)] if with_data else None
    state = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [module.training for module in model.modules()]
    outputs = _outputs(model, x)
    random = torch.get_rng_state()
    start = time.process_time()
    done, smallest = _compressed(model, x, data)
    seconds = time.process_time() - start
    untouched = (
        torch.equal(random, torch.get_rng_state())
        and flags == [module.training for module in model.modules()]
        and _same(state, model.state_dict())
        and _same(outputs, _outputs(model, x))
    )
    new = _outputs(done.model, x)
    macs, new_macs = (_count(one, x) for one in (model, done.model))
    return {
        "family": entry.family,
        "name": entry.name,
        "params": sum(p.numel() for p in model.parameters()),
        "macs": macs,
        "new_macs": new_macs,
        "smallest": smallest,
        "counted": [done.report.before.macs, done.report.after.macs] == [macs, new_macs],
        "kind": _same_kind(outputs, new),
        "change": _distance(outputs, new),
        "reload": _reload(entry, done, x, new),
        "untouched": untouched,
        "accounted": _accounted(model, done.report),
        "changed": dict(Counter(row.form for row in done.report.changed)),
        "left": _left(done.report),
        "layers": sum(row.macs for row in done.report.rows),
        "seconds": seconds,
    }


def _compressed(model: nn.Module, x: Any, data: Any) -> tuple[Compressed, float | None]:
    """To the target; if that is out of reach, to the smallest share that is told."""
    try:
        return compress(model, Budget(macs=TARGET), x, data=data), None
    except ValueError as error:
        found = SMALLEST.search(str(error))
        if found is None:
            raise
    smallest = float(found.group(1))
    return compress(model, Budget(macs=smallest), x, data=data), smallest


def _outputs(model: nn.Module, x: Any) -> dict[str, Tensor]:
    with torch.no_grad():
        return {name: value.clone() for name, value in outputs_of(call(model, x)).items()}


def _count(model: nn.Module, x: Any) -> int:
    """Multiply-adds as torch counts them: with gradients on, so that no fused kernel hides any."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            call(model, x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    total: int = counter.get_total_flops()
    return total // 2


def _same_kind(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether outputs have the same names, shapes and types, and hold numbers."""
    return one.keys() == other.keys() and all(
        (value.shape, value.dtype) == (other[name].shape, other[name].dtype)
        and bool(other[name].isfinite().all())
        for name, value in one.items()
    )


def _same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[n]) for n, v in one.items())


def _distance(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """How far outputs are apart, as a share of their size."""
    pairs = [(x.double(), other[name].double()) for name, x in one.items() if x.numel()]
    apart = sum(float((x - y).square().sum()) for x, y in pairs)
    return (apart / max(sum(float(x.square().sum()) for x, _ in pairs), 1e-300)) ** 0.5


def _reload(entry: Entry, done: Compressed, x: Any, wanted: dict[str, Tensor]) -> float:
    """The largest difference of what is read back into a network with other weights."""
    with tempfile.TemporaryDirectory() as home:
        save(done, f"{home}/small")
        torch.manual_seed(1)
        again = load(f"{home}/small", entry.build().eval())
    found = _outputs(again, x)
    if not _same_kind(wanted, found):
        return float("inf")
    return max(float((v.double() - found[n].double()).abs().max()) for n, v in wanted.items())


def _accounted(model: nn.Module, report: CompressionReport) -> bool:
    """Whether the report has every linear layer, with a reason where it was left."""
    told = {row.path: row for row in report.rows}
    layers = {path for path, module in model.named_modules() if isinstance(module, tuple(KINDS))}
    within = {path for path in layers if any(path.startswith(f"{one}.") for one in told)}
    return layers - within <= told.keys() and all(row.reason for row in report.left)


def _left(report: CompressionReport) -> dict[str, list[int]]:
    """Why layers were left: how many, and their multiply-adds."""
    found: dict[str, list[int]] = {}
    for row in report.left:
        counts = found.setdefault(row.reason, [0, 0])
        counts[0] += 1
        counts[1] += row.macs
    return found


def _drawn(x: Tensor) -> Tensor:
    return torch.randn(x.shape) if x.is_floating_point() else torch.randint(5, 90, x.shape)


def kept(entry: Entry, *, with_data: bool) -> Path:
    return KEPT / ("data" if with_data else "weights") / entry.family / f"{entry.name}.json"


def _one(entry: Entry, options: argparse.Namespace) -> Record:
    size = parameters(entry)
    named = {"family": entry.family, "name": entry.name, "params": size}
    if size > options.largest:
        return named | {"skipped": True}
    try:
        return measure(entry, with_data=options.data)
    except Exception as error:  # it is what is looked for
        return named | {"error": f"{type(error).__name__}: {error}"[:500].replace("\n", " ")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--family", choices=FAMILIES, help="only this one")
    parser.add_argument("--match", default="", help="only names that this pattern is found in")
    parser.add_argument("--largest", type=float, default=1e9, help="skip more parameters than this")
    parser.add_argument("--seconds", type=float, default=1e9, help="start no network after so long")
    parser.add_argument("--data", action="store_true", help="with a few random inputs")
    parser.add_argument("--again", action="store_true", help="also what is kept")
    parser.add_argument("--report", action="store_true", help="print the tables of what is kept")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    families = [options.family] if options.family else list(FAMILIES)
    entries = [entry for family in families for entry in FAMILIES[family]()]
    entries = [entry for entry in entries if re.search(options.match, entry.name)]
    files = {entry: kept(entry, with_data=options.data) for entry in entries}
    for entry, file in () if options.report else files.items():
        known = json.loads(file.read_text()) if file.exists() else {"skipped": True}
        if "skipped" not in known and not options.again:
            continue
        if time.perf_counter() - start > options.seconds:
            return
        record = _one(entry, options)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record))
        print(*rows([record])[2:], sep="\n", flush=True)
        gc.collect()
    if options.report:
        records = [json.loads(file.read_text()) for file in files.values() if file.exists()]
        tables = (rows(records), summary(records), unmet(records), reasons(records))
        print("\n\n".join("\n".join(table) for table in tables))


if __name__ == "__main__":
    main()
