"""Scalings of channels, batch norms above all, into the linear layers before or after them."""

from collections.abc import Mapping

from torch import Tensor, nn

from pointwise.surgery.flow import Call
from pointwise.surgery.folding.maps import scaled_after, scaled_before, takes_offsets
from pointwise.surgery.folding.network import Findings, Network, Step
from pointwise.surgery.folding.scalings import Scaling, is_batch_norm


def fold_scalings(network: Network) -> Findings:
    """Find the scalings that can be folded: into the layer before, else into those after.

    Args:
        network: The network.

    Returns:
        A step for each of them, and the reasons for the others.
    """
    return _find(network, network.scalings)


def fold_batch_norms(network: Network) -> Findings:
    """Find the batch norms that can be folded, and no other scalings.

    Args:
        network: The network.

    Returns:
        A step for each of them, and the reasons for the others.
    """
    modules = network.modules
    return _find(network, {p: s for p, s in network.scalings.items() if is_batch_norm(modules[p])})


def _find(network: Network, scalings: Mapping[str, Scaling | str]) -> Findings:
    findings = Findings()
    for path, known in scalings.items():
        found = _fold(network, path, known)
        if isinstance(found, str):
            findings.reasons[path] = found
        elif not findings.add(found):
            continue  # in the next round: another step changes the same layer
    return findings


def _fold(network: Network, path: str, known: Scaling | str) -> Step | str:
    reason = known if isinstance(known, str) else network.refusal(path)
    calls = network.flow.calls_of(path)
    if reason is None and not calls:
        reason = "is not called by the model, for this example"
    if reason is not None or isinstance(known, str):
        return reason or ""
    if any(call.inputs[0].dtype != call.outputs[0].dtype for call in calls):
        return "also changes the type of its input"
    before = None if known.follows else _into_layer_before(network, path, known, calls)
    if isinstance(before, Step):
        return before
    after = _into_layers_after(network, path, known, calls)
    if isinstance(after, Step) or before is None:
        return after
    return f"before it: {before}; after it: {after}"


def _into_layer_before(
    network: Network, path: str, known: Scaling, calls: tuple[Call, ...]
) -> Step | str:
    """Into the one layer whose outputs all go to the scaling, and to nothing else."""
    feeders = [network.fed_by.get(call, []) for call in calls]
    if any(len(calls_before) != 1 for calls_before in feeders):
        return f"{_what_comes(network, calls[0])}, not a linear layer alone"
    layer = feeders[0][0].path
    if {call for (call,) in feeders} != set(network.flow.calls_of(layer)):
        return f"{layer!r} is called at other places too"
    for (feeder,), call in zip(feeders, calls, strict=True):
        sinks = network.sinks[feeder]
        if sinks.only is None:
            others = sorted({taker.path for taker, _ in sinks.calls} - {path})
            return f"what {layer!r} gives goes elsewhere too: " + (sinks.blocked or str(others[0]))
        if sinks.only[1] != network.axis(path, call, output=False):
            return f"{layer!r} has its channels on another axis"
    reason = network.refusal(layer)
    if reason is not None:
        return f"{layer!r} {reason}"
    new = scaled_after(network.modules[layer], known.scale, known.shift)
    remarks = {layer: f"with {path!r} in it", path: f"folded into {layer!r}"}
    return Step({layer: new, path: known.rest}, remarks)


def _into_layers_after(
    network: Network, path: str, known: Scaling, calls: tuple[Call, ...]
) -> Step | str:
    """Into all the layers that read the scaling's output, if nothing else does."""
    if not known.follows and type(known.rest) is not nn.Identity:
        return f"{type(known.rest).__name__} follows in the same module"
    reached: set[Call] = set()
    for call in calls:
        writer = network.written_later(call, call.inputs[0])
        if writer is not None and type(known.rest) is nn.Identity:
            return writer
        sinks = network.sinks[call]
        if sinks.blocked is not None:
            return sinks.blocked
        for taker, axis in sinks.calls:
            if taker.path not in network.linears:
                return f"{taker.path!r} reads it"
            if axis != network.axis(taker.path, taker, output=False):
                return f"{taker.path!r} reads another axis"
            reached.add(taker)
    if not reached:
        return "nothing reads it"
    layers = sorted({call.path for call in reached})
    for layer in layers:
        reason = _layer_after(network, layer, known, reached)
        if reason is not None:
            return f"{layer!r} {reason}"
    new = {
        layer: scaled_before(network.modules[layer], known.scale, _shift(known)) for layer in layers
    }
    names = " and ".join(map(repr, layers))
    remarks = dict.fromkeys(layers, f"with {path!r} in it")
    return Step({**new, path: known.rest}, {**remarks, path: f"folded into {names}"})


def _layer_after(network: Network, layer: str, known: Scaling, reached: set[Call]) -> str | None:
    if not reached.issuperset(network.flow.calls_of(layer)):
        return "is called at other places too"
    reason = network.refusal(layer)
    if reason is None and not known.offset_is_zero():
        offsets = takes_offsets(network.modules[layer])
        reason = None if offsets is None else f"is {offsets}"
    return reason


def _shift(known: Scaling) -> Tensor | None:
    return None if known.offset_is_zero() else known.shift


def _what_comes(network: Network, call: Call) -> str:
    """What makes the input of a call, in words."""
    source = network.flow.source(call.inputs[0])
    if source is None:
        return "it reads an input of the model"
    if isinstance(source, Call):
        kind = type(network.modules[source.path]).__name__
        return f"it reads what {source.path!r} ({kind}) gives" if source.path else "it reads"
    if source.name == "hook":
        return "it reads what a module's hooks leave"
    return f"it reads the result of {str(source)!r}"
