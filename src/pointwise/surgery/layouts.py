"""Networks on tokens or channels-last maps as convolutions on channels-first data."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, fx, nn

from pointwise.errors import DifferenceError, first_line
from pointwise.surgery.attention import split
from pointwise.surgery.closeness import closeness
from pointwise.surgery.conversion import eligibility
from pointwise.surgery.equivalence import Example, check_equivalent
from pointwise.surgery.layout.capture import Retracer, capture, is_whole
from pointwise.surgery.layout.network import AxisMove, moves_before, path_of, rewrite
from pointwise.surgery.layout.rewriting import MOVED, Rewriting, word
from pointwise.surgery.refusals import check_has_sizes, refusal
from pointwise.surgery.replace import replace
from pointwise.surgery.swap import Swap, describe


def channels_first(
    model: nn.Module, example: Example, *, in_place: bool = False
) -> tuple[nn.Module, list[Swap]]:
    r"""Turn the linear layers of a whole network into 1x1 convolutions, with no permutes between.

    Inside the new network tokens ``(B, S, C)`` stand as ``(B, C, 1, S)`` and maps
    ``(B, H, W, C)`` as ``(B, C, H, W)``, as neural engines want them. Layer norms run along the
    second axis; activations, dropouts, sums and softmaxes run where the values stand; heads are
    split and merged without moving axes; attention is two products around a softmax, one operand of
    which is transposed. Permutes that are idle then are gone, and others stand only before steps
    that need them. The new network takes and gives what the old one did, its parameters have the
    old names, and those of convolutions two more axes of size 1. It is compared with the old one.

    The forward is written out for evaluation: functional dropouts (not modules) are gone. Sizes
    are read at each call, so batch and sequence may have any length that the model itself takes;
    what it decides by the sizes of the example is held, and other sizes raise an error.

    Args:
        model: Any network whose forward ``torch.fx`` can follow with the example at hand.
        example: An input; a sequence for several arguments, a mapping for arguments by name.
        in_place: Whether the new network shares the parameters and modules of the given one, which
            must not be used any more, in place of copies.

    Returns:
        The new network, a ``torch.fx.GraphModule``, and what became of the layers, of the permutes
        of each module, and last of the whole.

    Raises:
        ValueError: If the model is a single layer or has lazy parts, or its forward depends on
            values, changes tensors in place that are read afterwards, or cannot be followed for
            another reason.
        DifferenceError: If the new network computes something else: a change in place that the
            graph does not show.

    Reference:
        Apple, Deploying Transformers on the Apple Neural Engine, 2022; Liu et al., A ConvNet for
        the 2020s, 2022, whose blocks move the channels to the last axis and back.

    Example:
        >>> class Mlp(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.LayerNorm(8)
        ...         self.head = nn.Linear(8, 4)
        ...
        ...     def forward(self, x):
        ...         x = self.norm(self.conv(x).permute(0, 2, 3, 1))
        ...         return self.head(x).permute(0, 3, 1, 2)
        >>> new, swaps = channels_first(Mlp(), torch.randn(2, 3, 8, 8))
        >>> print(*swaps, sep="\n")
        norm: LayerNorm(8) -> ChannelNorm(8)
        head: Linear(8, 4) -> Conv2d(8, 4, 1x1)
        (the model): 2 permutes -> no permute (takes any batch)
        >>> new(torch.randn(1, 3, 8, 8)).shape
        torch.Size([1, 4, 6, 6])
    """
    if is_whole(model):
        reason = refusal(model) or "it is one layer, which to_conv converts"
        raise ValueError(f"model must be a network, got {type(model).__name__}: {reason}")
    check_has_sizes(model)
    work = model if in_place else copy.deepcopy(model)
    work, attention = replace(work, _split, in_place=True)
    captured = capture(work, example)
    state = rewrite(work, captured)
    new = _assemble(work, state, type(model).__name__)
    try:
        closeness(model, new, example)
    except DifferenceError as error:
        raise DifferenceError(
            "model must not change its values in place where nothing reads what that gives back, "
            f"nor decide by anything else than sizes: the rewritten network differs, {error}"
        ) from error
    swaps = [*attention, *(Swap(path, *what) for path, what in state.changed.items())]
    swaps += _left(work, state, new)
    moved = [AxisMove(path_of(n), n.meta[MOVED]) for n in new.graph.nodes if MOVED in n.meta]
    swaps += _permutes(moves_before(captured), moved, _batch(model, new, example))
    return new, swaps


def _split(module: nn.Module) -> nn.Module | str | None:
    return split(module) if isinstance(module, nn.MultiheadAttention) else None


def _assemble(work: nn.Module, state: Rewriting, name: str) -> fx.GraphModule:
    """The module of the new graph, with all names of the old model's state."""
    root: dict[str, Any] = {}
    for node in state.graph.nodes:
        if node.op == "call_module":
            root[node.target] = state.modules.get(node.target) or work.get_submodule(node.target)
        elif node.op == "get_attr":
            root[node.target] = attrgetter(node.target)(work)
    new = fx.GraphModule(root, state.graph, name)
    new._tracer_cls = Retracer
    new.graph.eliminate_dead_code()
    new.recompile()
    same = {id(work.get_submodule(path)): made for path, made in state.modules.items()}
    for path, part in work.named_modules(remove_duplicate=False):
        if path and id(part) in same and not _has(new, path):
            _assign(new, path, same[id(part)])
    lasting = set(work.state_dict(keep_vars=True))
    for path, tensor in work.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and not _has(new, path):
            _assign(new, path, tensor)
    for path, _ in list(new.named_buffers(remove_duplicate=False)):
        if path not in lasting:
            owner, _, last = path.rpartition(".")
            new.get_submodule(owner)._non_persistent_buffers_set.add(last)
    for path, part in new.named_modules():
        if type(part) is nn.Module:  # what only holds others
            part.training = work.get_submodule(path).training if _has(work, path) else work.training
    new.training = work.training
    for constant in [key for key in vars(work) if key.startswith("_tensor_constant")]:
        delattr(work, constant)
    return new


def _has(model: nn.Module, path: str) -> bool:
    try:
        attrgetter(path)(model)
    except AttributeError:
        return False
    return True


def _assign(model: nn.Module, path: str, value: nn.Module | Tensor) -> None:
    owner, _, last = path.rpartition(".")
    at = model
    for part in owner.split(".") if owner else []:
        if not hasattr(at, part):
            at.add_module(part, nn.Module())
        at = at.get_submodule(part)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        at.register_buffer(last, value)
    else:
        setattr(at, last, value)


def _left(work: nn.Module, state: Rewriting, new: fx.GraphModule) -> list[Swap]:
    """Linear layers that the graph does not call."""
    found = []
    done = {id(work.get_submodule(path)) for path in state.changed if _has(work, path)}
    for path, module in work.named_modules():
        if id(module) in done or not isinstance(eligibility(module), (tuple, str)):
            continue
        kinds = eligibility(module)
        if isinstance(kinds, tuple) and kinds[1] not in ("linear", "transposed"):
            continue
        if isinstance(kinds, str) and not isinstance(module, nn.Linear):
            continue
        found.append(Swap(path, describe(module), None, _why_left(work, new, path)))
    return found


def _why_left(work: nn.Module, new: fx.GraphModule, path: str) -> str:
    outer = path
    while outer:
        outer = outer.rpartition(".")[0]
        part = work.get_submodule(outer)
        if outer and is_whole(part):
            reason = refusal(part) or "its forward is not followed"
            return f"it runs inside {outer} ({type(part).__name__}), which is kept whole: {reason}"
    for node in new.graph.nodes:
        if node.op == "get_attr" and str(node.target).rpartition(".")[0] == path:
            users = ", ".join(sorted({word(user) for user in node.users}))
            return f"its {str(node.target).rpartition('.')[2]} is read by {users}, not its forward"
    return "it is not called with the example"


def _permutes(before: list[AxisMove], after: list[AxisMove], batch: str) -> list[Swap]:
    """What became of the permutes: by module where some are there now, and altogether."""
    found = []
    had = Counter(move.path for move in before)
    for path, count in Counter(move.path for move in after).items():
        if path:
            whys = Counter(move.why for move in after if move.path == path)
            found.append(Swap(path, _count(had[path]), _count(count), _reasons(whys)))
    whole = _reasons(Counter(move.why for move in after))
    remark = "; ".join(part for part in (whole, batch) if part)
    return [*found, Swap("", _count(len(before)), _count(len(after)), remark)]


def _count(number: int) -> str:
    return f"{number or 'no'} permute{'s' if number > 1 else ''}"


def _reasons(whys: Counter[str]) -> str:
    return ", ".join(f"{count} for {why}" for why, count in whys.items())


def _batch(model: nn.Module, new: nn.Module, example: Example) -> str:
    """Whether the new network takes other batches too, wherever the old one does."""
    larger = _resized(example, lambda one: torch.cat([one, one[:1]]))
    single = _resized(example, lambda one: one[:1])
    if larger is None or single is None:
        return ""
    if not _takes(model, larger):
        return "the model itself takes no other batch"
    reason = _differs(model, new, larger)
    if reason is not None:
        return f"takes the example's batch only: {reason}"
    reason = _differs(model, new, single) if _takes(model, single) else None
    return "takes any batch" if reason is None else f"takes any batch but of one: {reason}"


def _takes(model: nn.Module, example: Example) -> bool:
    try:
        with torch.no_grad():
            check_equivalent(model, model, example)
    except Exception:  # whatever a model may raise on a batch that it does not take
        return False
    return True


def _differs(model: nn.Module, new: nn.Module, example: Example) -> str | None:
    """In what the new network differs from the old one, or why it refuses an input."""
    try:
        with redirect_stderr(StringIO()):  # torch prints where in a graph an error came up
            closeness(model, new, example)
    except Exception as error:  # whatever a step may raise on other sizes
        return first_line(error)
    return None


def _resized(example: Example, change: Callable[[Tensor], Tensor]) -> Example | None:
    """The example with another batch; ``None`` where its tensors have none in common."""
    if isinstance(example, Tensor):
        return change(example) if example.ndim > 1 else None
    values = list(example.values() if isinstance(example, Mapping) else example)
    tensors = [one for one in values if isinstance(one, Tensor)]
    if not tensors or any(one.ndim < 2 for one in tensors):
        return None
    if len({len(one) for one in tensors}) > 1:
        return None
    made = [change(one) if isinstance(one, Tensor) else one for one in values]
    if isinstance(example, Mapping):
        return dict(zip(example, made, strict=True))
    return tuple(made) if isinstance(example, Sequence) else None
