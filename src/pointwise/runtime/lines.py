"""Which modules of a larger one feed one another: in a sequence, or in a traced forward."""

from collections import Counter
from itertools import pairwise
from typing import Any

from torch import fx, nn

from pointwise.runtime.lowering import READERS


def lines_of(module: nn.Module) -> list[list[str]]:
    """Modules inside a larger one that run one after the other, and nothing else in between.

    Of a sequence these are its children. A forward that was written by hand is traced: a value
    that one module puts out and a single other module takes makes them neighbours. Modules that
    run twice, or have two names, stand in no line.

    Args:
        module: The larger module.

    Returns:
        Lines of two modules or more, by their names within ``module``; none where the forward
        cannot be traced.

    Example:
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.enter, self.leave = nn.Linear(3, 8), nn.Linear(8, 3)
        ...         self.act = nn.ReLU()
        ...     def forward(self, x):
        ...         return x + self.leave(self.act(self.enter(x)))
        >>> lines_of(Block())
        [['enter', 'act', 'leave']]
    """
    if type(module) is nn.Sequential:
        names = [name for name, _ in module.named_children()]
        return [names] if len(set(module)) == len(module) > 1 else []
    if type(module) in READERS or not any(module.children()):
        return []
    graph = _traced(module)
    return [] if graph is None else _lines(graph, _plain_names(module, graph))


class _OneLevel(fx.Tracer):
    """Records calls of modules without looking into them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Every module is one."""
        return True


def _traced(module: nn.Module) -> fx.Graph | None:
    try:
        return _OneLevel().trace(module)
    except Exception:
        return None  # what a forward does with a stand-in for a tensor is its own affair


def _plain_names(module: nn.Module, graph: fx.Graph) -> set[str]:
    """Names of modules that run once, have no other name, and of which nothing else is read."""
    calls = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    read = [str(node.target) for node in graph.nodes if node.op == "get_attr"]
    known = list(module.named_modules(remove_duplicate=False))
    names = Counter(id(inner) for _, inner in known)
    return {
        name
        for name, inner in known
        if calls[name] == 1
        and names[id(inner)] == 1
        and not any(target.startswith(f"{name}.") for target in read)
    }


def _lines(graph: fx.Graph, plain: set[str]) -> list[list[str]]:
    lines: list[list[str]] = []
    nodes = [n for n in graph.nodes if n.op == "call_module" and str(n.target) in plain]
    ends: dict[Any, list[str]] = {}
    for node in nodes:
        feeds = node.args[0] if len(node.args) == 1 and not node.kwargs else None
        line = ends.pop(feeds, None) if isinstance(feeds, fx.Node) else None
        if line is None:
            lines.append(line := [])
        line.append(str(node.target))
        if len(node.users) == 1:
            ends[node] = line
    return [line for line in lines if len(line) > 1 and not _nested(line)]


def _nested(line: list[str]) -> bool:
    """Whether one module of a line is inside its neighbour."""
    return any(b.startswith(f"{a}.") or a.startswith(f"{b}.") for a, b in pairwise(line))
