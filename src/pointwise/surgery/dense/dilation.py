"""Strides taken out of a dense network: what follows them spreads its kernels instead."""

import copy
import operator
from typing import Any, NoReturn

import torch
from torch import fx, nn

from pointwise.surgery.dense.forms import Pair, pair
from pointwise.surgery.dense.operators import average_pool_apart, crop_to_common, max_pool_apart
from pointwise.surgery.dense.rewriting import Rewriting
from pointwise.surgery.dense.trace import arguments, operator_name

CONV = torch.ops.aten.conv2d.default


class Dilation:
    """The pass over a dense graph that removes its strides.

    Where a stride of 2 is taken out, the values that were neighbours lie 2 cells apart, with new
    ones between them: the layers after it step over those.

    Args:
        state: The rewritten network; its graph is changed.
        stride: Strides that stay, from the first layer on, as long as their product divides this.

    Attributes:
        kept: The product of the strides that stayed.

    Reference:
        Yu and Koltun, Multi-Scale Context Aggregation by Dilated Convolutions, 2016. Long,
        Shelhamer and Darrell, Fully Convolutional Networks, 2015, section 3.2 (filter rarefaction).
    """

    def __init__(self, state: Rewriting, stride: Pair) -> None:
        self.state, self.graph, self.wanted = state, state.graph, stride
        self.apart: dict[fx.Node, Pair] = {}
        self.strides: dict[fx.Node, Pair] = {}
        self.origin = {new: old for old, new in state.values.items() if isinstance(new, fx.Node)}
        self.kept: Pair = (1, 1)

    def run(self) -> None:
        """Rewrite every node in turn.

        Raises:
            ValueError: If an operator cannot be spread, or the strides do not multiply to the one
                that is asked for.
        """
        for node in list(self.graph.nodes):
            if node.op == "placeholder":
                self.apart[node], self.strides[node] = (1, 1), (1, 1)
                continue
            given = [one for one in node.all_input_nodes if one in self.apart]
            if not given:
                continue
            self._join(node, given)
            first = given[0]
            self.apart[node], self.strides[node] = self.apart[first], self.strides[first]
            if node.op == "output":
                self.kept = self.strides[first]
            elif node.op == "call_module":
                self._module(node)
            else:
                self._function(node)
        if self.kept != self.wanted:
            raise ValueError(
                f"stride must be a product of the network's first strides for method 'dilation', "
                f"got {self.wanted}: the nearest below is {self.kept}"
            )

    def _join(self, node: fx.Node, given: list[fx.Node]) -> None:
        """Branches of one size stay so: what a branch has more at the far border is cut."""
        if len({(self.apart[one], self.strides[one]) for one in given}) > 1:
            self._refuse(node, "joins branches whose strides came in another order")
        if len(given) < 2 or self.apart[given[0]] == (1, 1):
            return
        with self.graph.inserting_before(node):
            common = self.graph.call_function(crop_to_common, tuple(given))
            parts = [
                self.graph.call_function(operator.getitem, (common, at)) for at in range(len(given))
            ]
        for one, part in zip(given, parts, strict=True):
            self.apart[part], self.strides[part] = self.apart[one], self.strides[one]
            node.replace_input_with(one, part)

    def _remove(self, node: fx.Node, stride: Pair) -> Pair:
        """Decide what stays of a stride, and remember how far its neighbours lie apart."""
        apart, before = self.apart[node], self.strides[node]
        stays = tuple(
            step if away == 1 and want % (done * step) == 0 else 1
            for step, away, done, want in zip(stride, apart, before, self.wanted, strict=True)
        )
        self.strides[node] = (before[0] * stays[0], before[1] * stays[1])
        self.apart[node] = (
            apart[0] * stride[0] // stays[0],
            apart[1] * stride[1] // stays[1],
        )
        return stays[0], stays[1]

    def _function(self, node: fx.Node) -> None:
        rules = {
            "conv2d": self._conv,
            "max_pool2d": self._max_pool,
            "avg_pool2d": self._average_pool,
            "slice": self._slice,
            "pad": self._pad,
            "constant_pad_nd": self._pad,
            "linear_on_windows": self._windows,
        }
        rule = rules.get(operator_name(node))
        if rule is not None:
            rule(node)

    def _module(self, node: fx.Node) -> None:
        """A convolution or a pool of the head, which has stride 1."""
        apart, module = self.apart[node], self.state.objects[str(node.target)]
        if apart == (1, 1):
            return
        if isinstance(module, nn.AvgPool2d):
            given = (pair(module.kernel_size), apart, (0, 0), (0, 0), True, None)
            self._become(node, average_pool_apart, node.args[0], *given)
        elif isinstance(module, nn.Conv2d | nn.MaxPool2d):
            made = copy.copy(module)
            dilation = _times(pair(module.dilation), apart)
            made.dilation = dilation
            self.state.objects[str(node.target)] = made

    def _conv(self, node: fx.Node) -> None:
        given, apart = arguments(node), self.apart[node]
        stride, padding = pair(given["stride"]), given["padding"]
        stays = self._remove(node, stride)
        if stays == stride and apart == (1, 1):
            return
        dilation = pair(given["dilation"])
        if isinstance(padding, str):
            kernel = pair(self._weight(given["weight"]).shape[2:])
            wide = [step * (size - 1) for step, size in zip(dilation, kernel, strict=True)]
            if padding == "same" and any(size % 2 for size in wide):
                self._refuse(node, "pads one side more than the other ('same' with even kernels)")
            padding = [size // 2 if padding == "same" else 0 for size in wide]
        self._become(
            node, CONV, given["input"], given["weight"], given["bias"], list(stays),
            list(_times(pair(padding), apart)), list(_times(dilation, apart)), given["groups"],
        )  # fmt: skip

    def _max_pool(self, node: fx.Node) -> None:
        given, apart = arguments(node), self.apart[node]
        kernel, padding = pair(given["kernel_size"]), pair(given["padding"])
        dilation = pair(given["dilation"])
        stride = pair(given["stride"] or kernel)
        stays = self._stays(node, stride, apart)
        if stays:
            return
        below, right = self._extra(given["ceil_mode"], kernel, stride, padding, dilation, apart)
        up, left = _times(padding, apart)
        around = (left, left + right, up, up + below)
        step = _times(dilation, apart)
        self._become(node, max_pool_apart, given["self"], kernel, step, around)

    def _average_pool(self, node: fx.Node) -> None:
        given, apart = arguments(node), self.apart[node]
        kernel, padding = pair(given["kernel_size"]), pair(given["padding"])
        stride = pair(given["stride"] or kernel)
        if self._stays(node, stride, apart):
            return
        extra = self._extra(given["ceil_mode"], kernel, stride, padding, (1, 1), apart)
        self._become(
            node, average_pool_apart, given["self"], kernel, apart, _times(padding, apart), extra,
            given["count_include_pad"], given["divisor_override"],
        )  # fmt: skip

    def _stays(self, node: fx.Node, stride: Pair, apart: Pair) -> bool:
        """Whether a pool need not change; one that changes loses its stride on both axes."""
        stays = self._remove(node, stride)
        if stays == stride and apart == (1, 1):
            return True
        if stays != (1, 1):
            self._refuse(node, "is a pool that would keep its stride on one axis only")
        return False

    def _extra(
        self, ceil: bool, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, apart: Pair
    ) -> Pair:
        """Cells added at the far border for windows that ceil mode lets reach over it."""
        if not ceil:
            return 0, 0
        sizes = zip(kernel, stride, padding, dilation, apart, strict=True)
        extra = [max(0, min(s - 1, (k - 1) * d - p)) * r for k, s, p, d, r in sizes]
        return extra[0], extra[1]

    def _slice(self, node: fx.Node) -> None:
        given, form = arguments(node), self.state.forms[self.origin[node]]
        axis = form.axes[given["dim"]]
        if axis not in ("h", "w"):
            return
        step = (given["step"], 1) if axis == "h" else (1, given["step"])
        stays = self._remove(node, step)
        if stays != step:
            self._become(node, torch.ops.aten.alias.default, given["self"])

    def _pad(self, node: fx.Node) -> None:
        given, apart = arguments(node), self.apart[node]
        if apart == (1, 1):
            return
        if given.get("mode", "constant") != "constant":
            self._refuse(node, f"pads by {given['mode']}, which cannot be spread")
        left, right, up, down = (*given["pad"], 0, 0)[:4]
        wide = [left * apart[1], right * apart[1], up * apart[0], down * apart[0]]
        target = torch.ops.aten.constant_pad_nd.default
        self._become(node, target, given["self"], wide, given["value"] or 0.0)

    def _windows(self, node: fx.Node) -> None:
        *given, step = node.args
        node.args = (*given, _times(pair(step), self.apart[node]))

    def _weight(self, node: fx.Node) -> Any:
        held = self.state.objects.get(str(node.target))
        if held is None:
            self._refuse(node, "has a weight that is computed at every run")
        return held

    def _become(self, node: fx.Node, function: Any, *args: Any) -> None:
        """Put another function in the place of a node, which keeps its users."""
        node.op, node.target, node.args, node.kwargs = "call_function", function, args, {}

    def _refuse(self, node: fx.Node, why: str) -> NoReturn:
        old = self.origin.get(node)
        where = node.name if old is None else self.state.trace.where(old)
        raise ValueError(
            f"method 'dilation' cannot take out the strides: {where} {why}; use method='shift'"
        )


def _times(sizes: Pair, apart: Pair) -> Pair:
    return sizes[0] * apart[0], sizes[1] * apart[1]
