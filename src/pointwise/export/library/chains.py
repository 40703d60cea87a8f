"""Models as the chains that are compiled."""

from torch import nn

from pointwise.errors import DataError
from pointwise.estimators.base import TableEstimator
from pointwise.runtime import Chain, read_chain
from pointwise.runtime.chain import Scale, Softmax, Spread


def table_chain(model: TableEstimator) -> Chain:
    """Coded columns to the scaled targets, or the probabilities, of all members together.

    Args:
        model: The fitted estimator.

    Returns:
        The chain.

    Raises:
        DataError: If the network is none.
    """
    network = model.network_
    chain = read_chain(network)
    if isinstance(chain, str):
        raise DataError(f"the network is no chain of 1x1s ({chain}): write ONNX instead")
    steps, members = chain.steps, network.mlp.members
    assert isinstance(steps[-1], Scale)  # the last of a table's network
    steps = steps[:-1]
    if getattr(model, "classes_", None) is not None:
        steps = (*steps, Softmax(members))
    if members > 1:
        steps = (*steps, Spread(members, deviation=False))
    return Chain(chain.c_in, steps)


def network_chain(model: nn.Module | Chain) -> Chain:
    """A network as a chain.

    Args:
        model: The network, or a chain.

    Returns:
        The chain.

    Raises:
        DataError: If the network is none, with the reason.
    """
    chain = model if isinstance(model, Chain) else read_chain(model)
    if isinstance(chain, str):
        raise DataError(
            f"{type(model).__name__} is no chain of 1x1s, and only those become a library "
            f"({chain}): write ONNX instead"
        )
    return chain
