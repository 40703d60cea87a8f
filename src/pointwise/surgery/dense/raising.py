"""Operators that came from one call of an unchanged module become a call of that module again."""

from torch import fx, nn

from pointwise.surgery.dense.rewriting import Rewriting
from pointwise.surgery.dense.trace import Call


def raise_modules(state: Rewriting, plain: frozenset[str]) -> list[str]:
    """Replace runs of kept operators by the outermost module calls that they are.

    Args:
        state: The finished rewriting; its graph is changed.
        plain: Paths of the modules that were called with one tensor, and nothing else, and gave
            one back.

    Returns:
        Paths of the modules called.
    """
    raised: list[str] = []
    done: set[fx.Node] = set()
    for call in state.trace.calls.values():
        if done & set(call.nodes) or not _may_be_raised(state, call, plain):
            continue
        done.update(call.nodes)
        _raise(state, call)
        raised.append(call.path)
    drop_unused(state.graph)
    return raised


def _may_be_raised(state: Rewriting, call: Call, plain: frozenset[str]) -> bool:
    if call.path not in plain or not call.path or call.source is None or call.result is None:
        return False
    data = {node for node in call.nodes if node in state.trace.data}
    if data <= state.kept:
        return True
    return data <= state.kept | state.kept_vectors and not list(call.module.children())


def _raise(state: Rewriting, call: Call) -> None:
    assert call.source is not None
    assert call.result is not None
    data = [node for node in call.nodes if node in state.trace.data]
    first = next(state.values[node] for node in data if node in state.values)
    with state.graph.inserting_before(first):
        name = state.name_of(call.path, call.module)
        made = state.graph.call_module(name, (state.values[call.source],))
    before = state.values[call.result]
    before.replace_all_uses_with(made)
    for node in reversed(data):
        value = state.values.get(node)
        if isinstance(value, fx.Node) and not value.users:
            state.graph.erase_node(value)
    for node, value in state.values.items():  # also what was the same value under another name
        if value is before:
            state.values[node] = made


def drop_unused(graph: fx.Graph) -> None:
    """Erase constants that nothing reads any more.

    Args:
        graph: A graph; changed.
    """
    fed: set[fx.Node] = set()
    for node in graph.nodes:
        if node.op == "placeholder" or fed & set(node.all_input_nodes):
            fed.add(node)
    for node in reversed(list(graph.nodes)):
        if node not in fed and node.op != "output" and not node.users:
            graph.erase_node(node)


def bypassed_hooks(state: Rewriting, raised: list[str]) -> str | None:
    """The path of a module with forward hooks that the new graph does not call.

    Args:
        state: The finished rewriting.
        raised: Paths of the modules that it does call.

    Returns:
        The first such path, or ``None``.
    """
    called = tuple(raised)
    for call in state.trace.calls.values():
        inside = any(call.path == path or call.path.startswith(path + ".") for path in called)
        if not inside and _has_hooks(call.module):
            return call.path or "(the model)"
    return None


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
