"""Linear layers that follow one another with nothing between, as one where that is smaller."""

import math

from torch import nn

from pointwise.surgery.flow import Call
from pointwise.surgery.folding.maps import (
    channels,
    groups_of,
    is_pointwise,
    macs,
    merged_first,
    merged_second,
    read,
    takes_offsets,
    taps,
    weights_of,
)
from pointwise.surgery.folding.network import Findings, Network, Step


def merge_chains(network: Network) -> Findings:
    """Find pairs of linear layers that can be merged.

    One of the two must be pointwise; the merged layer takes the place of the other one.

    Args:
        network: The network.

    Returns:
        A step for each pair, and the reasons for the others.
    """
    findings = Findings()
    for path in network.linears:
        calls = network.flow.calls_of(path)
        followers = [_follower(network, call) for call in calls]
        second = followers[0] if followers else None
        if second is None:
            continue
        found = _merge(network, calls, followers)
        if isinstance(found, str):
            findings.reasons[path] = f"not merged with {second.path!r}: {found}"
        else:
            findings.add(found)
    return findings


def _follower(network: Network, call: Call) -> Call | None:
    """The call of a linear layer that alone reads the output of another, on the same axis."""
    only = network.sinks[call].only
    if only is None or only[0].path not in network.linears:
        return None
    second, axis = only
    return second if axis == network.axis(second.path, second, output=False) else None


def _merge(network: Network, calls: tuple[Call, ...], followers: list[Call | None]) -> Step | str:
    path = calls[0].path
    seconds = [call for call in followers if call is not None]
    other = seconds[0].path
    if set(seconds) != set(network.flow.calls_of(other)) or len(seconds) != len(calls):
        return "they are called at other places too"
    if network.sinks[calls[0]].moved:
        return "axes are moved or cut between them"
    for layer in (path, other):
        reason = network.refusal(layer)
        if reason is not None:
            return f"{layer!r} {reason}"
    first, second = network.modules[path], network.modules[other]
    if not is_pointwise(first) and not is_pointwise(second):
        return "neither is pointwise"
    why = _hindrance(first, second)
    if why is not None:
        return why
    into_first = is_pointwise(second)
    why = _growth((calls[0], first), (seconds[0], second), into_first)
    if why is not None:
        return why
    merged = merged_first(first, second) if into_first else merged_second(first, second)
    kept, gone = (path, other) if into_first else (other, path)
    remarks = {kept: f"merged with {gone!r}", gone: f"merged into {kept!r}"}
    return Step({kept: merged, gone: nn.Identity()}, remarks)


def _hindrance(first: nn.Module, second: nn.Module) -> str | None:
    """Why a first layer's offset cannot go through the second."""
    if is_pointwise(second):
        return None
    bias = read(first).bias
    offsets = takes_offsets(second)
    if offsets is None or bias is None or not bool(bias.any()):
        return None
    return f"the second is {offsets}"


def _growth(
    one: tuple[Call, nn.Module], two: tuple[Call, nn.Module], into_first: bool
) -> str | None:
    """Why the two layers are better left two: what they take, and what one would."""
    (_, first), (_, second) = one, two
    c_in, c_out = channels(first)[0], channels(second)[1]
    width = c_in // math.gcd(groups_of(first), groups_of(second))
    weights = c_out * width * max(taps(first), taps(second))
    biases = [b for layer in (first, second) if (b := read(layer).bias) is not None]
    old = [macs(layer, call.inputs[0].shape, call.outputs[0].shape) for call, layer in (one, two)]
    kept = first if into_first else second
    positions = old[not into_first] // weights_of(kept)
    old_size = weights_of(first) + weights_of(second) + sum(b.numel() for b in biases)
    new_size, new = weights + (c_out if biases else 0), weights * positions
    if new > sum(old) or new_size > old_size:
        return (
            f"one layer would take {new:,} multiply-adds and {new_size:,} parameters, "
            f"the two take {sum(old):,} and {old_size:,}"
        )
    return None
