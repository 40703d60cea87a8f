"""Classifiers of images into dense predictors."""

import copy
from collections import Counter
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from pointwise.surgery.dense.classifier import AsRows, DenseClassifier, Grid, ShiftAndStitch
from pointwise.surgery.dense.dilation import Dilation
from pointwise.surgery.dense.forms import Pair, pair
from pointwise.surgery.dense.head import RULES
from pointwise.surgery.dense.raising import bypassed_hooks, drop_unused, raise_modules
from pointwise.surgery.dense.rewriting import Rewriting, WholeImageError, rewrite
from pointwise.surgery.dense.trace import trace
from pointwise.surgery.equivalence import check_equivalent
from pointwise.surgery.swap import Swap

Method = Literal["shift", "dilation"]


def convolutionalize(
    classifier: nn.Module,
    example: Tensor,
    *,
    in_place: bool = False,
    whole_image: bool = False,
) -> tuple[DenseClassifier, list[Swap]]:
    """Let the head of an image classifier slide: larger images give a map of class values.

    What reads the whole feature map on the size of ``example`` reads a window of that size: a
    ``Flatten`` and ``Linear`` become a convolution of the feature map's size, the layers after it
    1x1 convolutions, global and adaptive average pooling a mean over the window (its bins, where
    it gives a grid). At the size of ``example`` the result equals the classifier; on a larger image
    each position equals the classifier's head on that window of the image's feature map. It differs
    from the classifier on the crop where the network pads, since the image goes on where a crop has
    zeros: ``crop_difference`` measures by how much.

    The network is followed by ``torch.export`` in evaluation mode. Modules that need no change are
    called as they are, with their training flags, hooks and names (under ``network.``); operators
    in between are those of evaluation mode, with what the training size made them: a module that
    decides by the size of its input is replaced by its operators.

    Args:
        classifier: A network that maps one ``(N, C, H, W)`` to ``(N, classes)``.
        example: An input of the size that the classifier was made for.
        in_place: Take the classifier's own layers instead of copies. The new layers then share
            their values with it.
        whole_image: Allow statistics of the whole image inside the network: squeeze-and-excitation,
            group and instance norms. They are then those of the larger image, not of a window.

    Returns:
        The dense classifier, and what was changed.

    Raises:
        ValueError: If the network cannot be followed, or looks at all positions in a way that does
            not slide (attention, say); the message names the layer.

    Reference:
        Sermanet et al., OverFeat, 2013, section 3.5. Long, Shelhamer and Darrell, Fully
        Convolutional Networks, 2015, section 3.1.

    Example:
        >>> classifier = nn.Sequential(
        ...     nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)
        ... )
        >>> dense, swaps = convolutionalize(classifier, torch.ones(1, 1, 16, 16))
        >>> print(swaps[-1])
        3: Linear(392, 10) -> Conv2d(8, 10, 7x7)
        >>> dense(torch.ones(1, 1, 48, 32)).shape, dense.grid.stride
        (torch.Size([1, 10, 17, 9]), (2, 2))
    """
    return _convolutionalize(classifier, example, in_place, whole_image, None)


def densify(
    classifier: nn.Module,
    example: Tensor,
    *,
    method: Method = "shift",
    stride: int | Pair = 1,
    in_place: bool = False,
    whole_image: bool = False,
) -> tuple[DenseClassifier | ShiftAndStitch, list[Swap]]:
    """Predict for every window of an image, not only at the network's own stride.

    ``"shift"`` runs the dense classifier on the image at every offset within its stride, and
    interleaves the maps: it works with every network. ``"dilation"`` takes the strides out of the
    network and spreads what follows them, so that nothing is computed twice. Away from padded
    borders they give the same; without padding everywhere.

    Args:
        classifier: A network that maps one ``(N, C, H, W)`` to ``(N, classes)``.
        example: An input of the size that the classifier was made for.
        method: ``"shift"`` or ``"dilation"``.
        stride: Input pixels between two windows, down and across.
        in_place: Take the classifier's own layers instead of copies.
        whole_image: As in ``convolutionalize``; only with ``"shift"``.

    Returns:
        The dense classifier, whose ``grid`` names every position's window, and what was changed.

    Raises:
        ValueError: If the classifier cannot be made dense, its strides cannot be taken out, or
            ``stride`` does not fit.

    Reference:
        Sermanet et al., OverFeat, 2013, section 3.5. Long, Shelhamer and Darrell, Fully
        Convolutional Networks, 2015, section 3.2. Yu and Koltun, Multi-Scale Context Aggregation by
        Dilated Convolutions, 2016.

    Example:
        >>> classifier = nn.Sequential(
        ...     nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, 10)
        ... )
        >>> dense, _ = densify(classifier, torch.ones(1, 1, 16, 16), method="dilation")
        >>> dense(torch.ones(1, 1, 48, 32)).shape
        torch.Size([1, 10, 33, 17])
    """
    if method not in ("shift", "dilation"):
        raise ValueError(f"method must be 'shift' or 'dilation', got {method!r}")
    if whole_image and method == "dilation":
        raise ValueError("method must be 'shift' with whole_image=True, got 'dilation'")
    wanted = pair(stride)
    if min(wanted) < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    if method == "dilation":
        return _convolutionalize(classifier, example, in_place, False, wanted)
    dense, swaps = _convolutionalize(classifier, example, in_place, whole_image, None)
    return ShiftAndStitch(dense, wanted), swaps


def _convolutionalize(
    classifier: nn.Module, example: Tensor, in_place: bool, whole_image: bool, spread: Pair | None
) -> tuple[DenseClassifier, list[Swap]]:
    if not isinstance(example, Tensor) or example.ndim != 4:
        got = tuple(example.shape) if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(f"example must be images of shape (N, C, H, W), got {got}")
    model = classifier if in_place else copy.deepcopy(classifier)
    flags = {module: module.training for module in model.modules()}
    try:
        model.eval()
        state, plain = _rewrite(model, example, whole_image)
        stride = state.forms[state.trace.result].stride
        if spread is not None:
            Dilation(state, spread).run()
            drop_unused(state.graph)
            stride, raised = spread, []
        else:
            raised = _raise_modules(state, plain, example, stride)
        hooked = bypassed_hooks(state, raised)
        if hooked is not None:
            raise ValueError(
                f"classifier must have no forward hooks where it is changed, got one on {hooked}: "
                "remove it first"
            )
        grid = Grid((example.shape[2], example.shape[3]), stride)
        network = _module(state, state.graph)
        dense = DenseClassifier(network, grid, trim=spread is not None)
        _check(model, dense, example)
    finally:
        for module, flag in flags.items():
            module.training = flag
    for module in dense.modules():
        if module not in flags:
            old = state.replaced.get(module, model)
            module.training = flags[old]
    return dense, state.swaps


def _rewrite(
    model: nn.Module, example: Tensor, whole_image: bool
) -> tuple[Rewriting, frozenset[str]]:
    plain = _plain_calls(model, example)
    recorded = trace(model, example)
    pools: frozenset[fx.Node] = frozenset()
    while True:
        try:
            state = rewrite(recorded, RULES, whole_image=whole_image, pools=pools)
        except WholeImageError as found:
            if not whole_image or found.pools <= pools:
                where = recorded.where(found.node)
                raise ValueError(
                    f"classifier cannot be made dense: {where} joins a map with a statistic of the "
                    "whole image, as squeeze-and-excitation does: its value on a window is not "
                    "that of the image; give whole_image=True to take the image's"
                ) from None
            pools |= found.pools
        else:
            return state, plain


def _plain_calls(model: nn.Module, example: Tensor) -> frozenset[str]:
    """Paths of the modules that are only ever called with one tensor, and give one back."""
    calls: Counter[str] = Counter()
    other: set[str] = set()

    def record(path: str) -> Any:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls[path] += 1
            if len(args) != 1 or kwargs or not all(isinstance(v, Tensor) for v in (*args, output)):
                other.add(path)

        return hook

    handles = [
        module.register_forward_hook(record(path), with_kwargs=True)
        for path, module in model.named_modules(remove_duplicate=False)
        if not isinstance(module, torch.jit.ScriptModule)
    ]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(calls) - other


def _raise_modules(
    state: Rewriting, plain: frozenset[str], example: Tensor, stride: Pair
) -> list[str]:
    """Call unchanged modules as they are, unless one of them decides by the size of its input."""
    # The operators are those of the training size: an image that is larger by a step shows whether
    # a module does something else there.
    operators = fx.Graph()
    operators.output(operators.graph_copy(state.graph, {}))
    drop_unused(operators)
    raised = raise_modules(state, plain)
    down, across = stride
    larger = torch.nn.functional.pad(example.to(_floating(example)), (0, across, 0, down))
    larger = larger.to(example.dtype)
    with torch.no_grad():
        expected = _module(state, operators)(larger)
        try:
            found = _module(state, state.graph)(larger)
        except Exception:
            found = None
    same = found is not None and found.shape == expected.shape
    if found is None or not same or not torch.allclose(found, expected, rtol=1e-3, atol=1e-3):
        state.graph = operators
        text = "operators of the training size, since a module decides by the size of its input"
        state.swaps.append(Swap("", type(state.trace.model).__name__, "DenseClassifier", text))
        return []
    return raised


def _floating(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float32


def _module(state: Rewriting, graph: fx.Graph) -> fx.GraphModule:
    """A graph with the modules and tensors that it names."""
    _part_names(state, graph)
    named = {str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")}
    graph.lint()
    objects = {name: value for name, value in state.objects.items() if name in named}
    return fx.GraphModule(objects, graph, type(state.trace.model).__name__)


def _part_names(state: Rewriting, graph: fx.Graph) -> None:
    """Move tensors out of modules of their name that hold something else there."""
    modules = {str(node.target) for node in graph.nodes if node.op == "call_module"}
    for node in graph.nodes:
        owner, _, last = str(node.target).rpartition(".")
        if node.op != "get_attr" or owner not in modules:
            continue
        held = state.objects[str(node.target)]
        if getattr(state.objects[owner], last, None) is not held:
            node.target = f"{owner}_tensors.{last}"
            state.objects[node.target] = held


def _check(model: nn.Module, dense: DenseClassifier, example: Tensor) -> None:
    """Hold the result against the classifier on the example."""
    with torch.no_grad():
        check_equivalent(nn.Sequential(model, nn.Flatten()), AsRows(dense), example)
