"""Blocks that add up convolutions of one input, as one convolution."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pointwise.functional import Affine, add
from pointwise.nn.pointwise import CONVOLUTIONS, PointwiseConv
from pointwise.surgery.flow import Call, Operator, Value
from pointwise.surgery.folding.maps import groups_of, read, taps, write
from pointwise.surgery.folding.network import Findings, Network, Step
from pointwise.surgery.refusals import refusal

MERGED = (*CONVOLUTIONS.values(), PointwiseConv, nn.Linear)


@dataclass
class Block:
    """A module's forward, read as a sum of branches and what comes after it.

    Attributes:
        terms: The paths of the branches' layers, ``None`` for the input itself.
        tail: The paths of the modules that the sum goes through, in turn.
        used: The calls and operators that make up the block.
    """

    terms: list[str | None] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)
    used: set[Call | Operator] = field(default_factory=set)


def merge_branches(network: Network) -> Findings:
    """Find the blocks that are one convolution in disguise.

    Such a block takes one tensor, adds up what convolutions and scalings of it give, and puts the
    sum through modules one after another. It is replaced by the sum of its branches as one
    convolution, followed by these modules. The branches must have one stride, one centre and one
    number of groups.

    Args:
        network: The network.

    Returns:
        A step for each block, and the reasons for sums of branches that stay.

    Reference:
        Ding et al., RepVGG: Making VGG-style ConvNets Great Again, 2021, section 3.3.
    """
    findings = Findings()
    for path in _with_sums(network):
        blocks = [_read_block(network, call) for call in network.flow.calls_of(path)]
        first = blocks[0]
        if first is None:
            continue
        if any(b is None or (b.terms, b.tail) != (first.terms, first.tail) for b in blocks):
            findings.reasons[path] = "its calls do not all add up the same branches"
            continue
        found = _merge(network, path, first)
        if isinstance(found, str):
            findings.reasons[path] = f"its branches are not merged: {found}"
        else:
            findings.add(found)
    return findings


def _with_sums(network: Network) -> list[str]:
    """The paths of modules that add in their own forward."""
    calls = network.flow.calls
    adders = (op.call for op in network.flow.operators if str(op) == "add")
    return list(dict.fromkeys(calls[number].path for number in adders))


def _read_block(network: Network, call: Call) -> Block | None:
    """The sum and the tail of a call; ``None`` if there is something else in it."""
    flow = network.flow
    if not call.plain:
        return None
    block = Block()
    total = _before_tail(network, call, block)
    if total is None or not _terms(network, call, total, block, top=True):
        return None
    inside = (op for op in flow.operators if any(c is call for c in flow.around(op.call)))
    used = block.used
    if any(op not in used and used.isdisjoint(flow.around(op.call)) for op in inside):
        return None
    convs = [term for term in block.terms if term in network.linears]
    return block if len(block.terms) > 1 and convs else None


def _before_tail(network: Network, call: Call, block: Block) -> Value | None:
    """The sum: from the output back through modules of one input."""
    flow, value = network.flow, call.outputs[0]
    while True:
        source = flow.source(value)
        if isinstance(source, Operator):
            return value if source.call == call.number else None
        if source is None:
            return None
        if source is call:  # the sum itself is the output
            maker = flow.maker(value)
            return value if maker is not None and maker.call == call.number else None
        direct = next((c for c in flow.around(source.number) if c.parent == call.number), None)
        if direct is None or value not in direct.outputs or not direct.plain:
            return None
        before = direct.inputs[0]
        others = (op for op in flow.readers(before) if direct not in flow.around(op.call))
        if before in flow.kept or any(others):
            return None
        block.tail.insert(0, direct.path)
        block.used.add(direct)
        value = before


def _terms(network: Network, call: Call, value: Value, block: Block, *, top: bool = False) -> bool:
    """Take a sum apart; whether all of it is branches of the call's input."""
    flow = network.flow
    maker = flow.maker(value)
    if value is call.inputs[0]:
        block.terms.append(None)
        return True
    if not top and (len(flow.readers(value)) != 1 or value in flow.kept):
        return False
    if maker is not None and maker.call == call.number and str(maker) == "add":
        block.used.add(maker)
        return all(_terms(network, call, part, block) for part in _addends(maker))
    source = flow.source(value)
    if not isinstance(source, Call) or source.inputs[:1] != call.inputs:
        return False
    if source.path not in network.linears and source.path not in network.scalings:
        return False
    block.terms.append(source.path)
    block.used.add(source)
    return True


def _addends(adder: Operator) -> Iterator[Any]:
    one, two = adder.args.get("self"), adder.args.get("other")
    if adder.args.get("alpha", 1) != 1 or (not isinstance(two, Value) and two != 0):
        yield object()  # no branch
    yield one
    if isinstance(two, Value):
        yield two


def _merge(network: Network, path: str, block: Block) -> Step | str:
    """One convolution for all branches, or the reason why not."""
    reason = _refusal(network, path, block)
    if reason is not None:
        return reason
    layers = [network.linears[term] for term in block.terms if term in network.linears]
    carrier = max(layers, key=lambda layer: (taps(layer), len(_kernel(layer))))
    maps = []
    for term in block.terms:
        found = _branch(network, term, carrier)
        if isinstance(found, str):
            return f"{repr(term) if term is not None else 'the input'} {found}"
        maps.append(found)
    merged = write(carrier, add(*maps))
    tail = [network.modules[name] for name in block.tail]
    tail = [module for module in tail if type(module) is not nn.Identity]
    branches = " and ".join("the input" if t is None else repr(t) for t in block.terms)
    remark = {path: f"the sum of {branches} as one layer"}
    return Step({path: nn.Sequential(merged, *tail) if tail else merged}, remark)


def _refusal(network: Network, path: str, block: Block) -> str | None:
    for term in (term for term in block.terms if term is not None):
        reason = network.refusal(term)
        if reason is not None:
            return f"{term!r} {reason}"
    inner = f"{path}." if path else ""
    tails = tuple(f"{name}." for name in block.tail)
    for name, module in network.modules.items():
        own = name == path or (name.startswith(inner) and name not in block.tail)
        if own and not name.startswith(tails):
            reason = refusal(module) or network.held.get(name)
            if reason is not None:
                return f"{name!r} {reason}"
    return None


def _branch(network: Network, term: str | None, carrier: nn.Module) -> Affine | str:
    """A branch as a map on the patches of the carrier."""
    if term in network.linears:
        return _layer_branch(network.linears[term], carrier)
    rank = len(_kernel(carrier))
    if _geometry(carrier, rank)[:2] != ((1,) * rank, (0.0,) * rank):
        return "keeps all positions, another branch does not"
    channels = read(carrier).c_in // taps(carrier)
    known = network.scalings[term] if term is not None else None
    if channels != read(carrier).c_out:
        return "is added to another number of channels"
    if known is None:
        scale, shift = next(carrier.parameters()).new_ones(channels, dtype=torch.float64), None
    elif isinstance(known, str):
        return known
    elif known.follows or type(known.rest) is not nn.Identity:
        return "does more than scale channels"
    elif known.axis != (-1 if isinstance(carrier, nn.Linear) else 1):
        return "scales another axis"
    else:
        scale, shift = known.scale, known.shift
    return _embedded(_diagonal(scale, shift, groups_of(carrier)), (1,) * rank, _kernel(carrier))


def _layer_branch(layer: nn.Module, carrier: nn.Module) -> Affine | str:
    kinds = [isinstance(one, nn.Linear) for one in (layer, carrier)]
    if type(layer) not in MERGED or len(set(kinds)) != 1:
        return f"is a {type(layer).__name__}, which cannot be added to the others"
    if groups_of(layer) != groups_of(carrier):
        return f"has {groups_of(layer)} groups, another branch {groups_of(carrier)}"
    wide = _kernel(carrier)
    small = _kernel(layer) or (1,) * len(wide)
    if any(k > large for k, large in zip(small, wide, strict=True)):
        return f"has a kernel {small} that does not fit into another's {wide}"
    dilations = [getattr(one, "dilation", None) for one in (layer, carrier)]
    same = taps(layer) == 1 or dilations[0] == dilations[1]
    if not same or _geometry(layer, len(wide)) != _geometry(carrier, len(wide)):
        return "has another stride, centre, dilation or padding mode than another branch"
    if read(layer).c_out != read(carrier).c_out:
        return "has another number of channels than another branch"
    return _embedded(read(layer), small, wide)


def _diagonal(scale: Tensor, shift: Tensor | None, groups: int) -> Affine:
    """A scaling of channels as a map with groups."""
    width = scale.numel() // groups
    columns = torch.arange(scale.numel(), device=scale.device) % width
    weight = F.one_hot(columns, width) * scale[:, None]
    return Affine(weight, shift, groups)


def _embedded(affine: Affine, small: tuple[int, ...], wide: tuple[int, ...]) -> Affine:
    """A map on small patches as one on larger patches around the same middle."""
    if not wide:
        return affine
    weight = affine.weight.unflatten(1, (-1, *small))
    pads: list[int] = []
    for k, large in zip(small, wide, strict=True):
        pads = [(large - k) // 2, (large - k) // 2, *pads]
    return affine._replace(weight=F.pad(weight, pads).flatten(1))


def _kernel(layer: nn.Module) -> tuple[int, ...]:
    return tuple(getattr(layer, "kernel_size", ()))


def _geometry(layer: nn.Module, rank: int) -> tuple[Any, ...]:
    """What branches must agree on: stride, where the kernel's middle lies, padding mode."""
    conv: Any = layer
    if not _kernel(layer):
        return (1,) * rank, (0.0,) * rank, "zeros"
    reach = [d * (k - 1) / 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    padding = {"valid": [0] * rank, "same": reach}.get(conv.padding, conv.padding)
    middle = tuple(r - p for r, p in zip(reach, padding, strict=True))
    return tuple(conv.stride), middle, conv.padding_mode
