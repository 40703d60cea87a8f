"""What layers of the given model put out, kept for a sample of positions.

Only one pass over the data is needed for all layers, and what is kept does not grow with the data:
the more samples there are, the fewer positions of each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pointwise.compression.forms.stages import Stage
from pointwise.compression.statistics.patches import output_rows
from pointwise.errors import DataError, first_line
from pointwise.surgery.equivalence import Example, call, evaluating

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]


@dataclass(frozen=True)
class Wanted:
    """What to keep of a layer.

    Attributes:
        stage: The layer.
        most: At most so many positions of each sample and call.
    """

    stage: Stage
    most: int


@dataclass
class KeptRows:
    """The outputs of a layer at some positions.

    Attributes:
        wanted: The layer, and how much was kept.
        batches: For each batch the rows ``(G, P, O)`` of each call, in the type of the layer.
    """

    wanted: Wanted
    batches: list[list[Tensor]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How often the layer is called for a batch."""
        return len(self.batches[0])


def keep_rows(
    model: nn.Module, wanted: Mapping[str, Wanted], batches: Iterable[Example]
) -> dict[str, KeptRows]:
    """Run data through a model, and keep what its layers put out.

    Args:
        model: The model; it runs in evaluation mode, and is left as it was.
        wanted: What to keep, by path of the layer.
        batches: The data.

    Returns:
        The rows by path, in the order in which the layers are called for the first time.

    Example:
        >>> model = nn.Sequential(nn.Linear(3, 2))
        >>> wanted = {"0": Wanted(Stage.of(model[0]), 10)}
        >>> kept = keep_rows(model, wanted, [torch.ones(5, 3)])
        >>> kept["0"].batches[0][0].shape
        torch.Size([1, 5, 2])
    """
    kept: dict[str, KeptRows] = {}

    def keeping(path: str, want: Wanted) -> Hook:
        def hook(_: nn.Module, _args: Any, _named: Any, y: Any) -> None:
            rows = kept.setdefault(path, KeptRows(want))
            while len(rows.batches) <= number:
                rows.batches.append([])
            found = output_rows(want.stage, y, most=want.most)
            rows.batches[number].append(found.to(y.dtype))

        return hook

    hooks = {path: keeping(path, want) for path, want in wanted.items()}
    for number, batch in enumerate(batches):
        run_hooked(model, hooks, batch)
        for rows in kept.values():  # of layers that some batches do not reach
            rows.batches += [[] for _ in range(number + 1 - len(rows.batches))]
    return kept


class _Stop(BaseException):
    """Ends a forward; no ``except Exception`` of a model catches it."""


def run_hooked(
    model: nn.Module, hooks: Mapping[str, Hook], batch: Example, *, calls: int | None = None
) -> Any:
    """Run a batch through a model, with something to do after some of its layers.

    Args:
        model: The model; it runs in evaluation mode without gradients.
        hooks: What to call, by path.
        batch: The batch.
        calls: Stop after so many calls of hooks. Default: run to the end.

    Returns:
        What the model puts out; ``None`` if it was stopped.

    Raises:
        DataError: If the model fails on the batch.
    """
    left = calls

    def counted(hook: Hook) -> Hook:
        def run(module: nn.Module, args: Any, named: Any, result: Any) -> None:
            nonlocal left
            hook(module, args, named, result)
            if left is not None:
                left -= 1
                if left == 0:
                    raise _Stop

        return run

    handles = [
        model.get_submodule(path).register_forward_hook(counted(hook), with_kwargs=True)
        for path, hook in hooks.items()
    ]
    try:
        with evaluating(model), torch.no_grad():
            return call(model, batch)
    except _Stop:
        return None
    except Exception as error:  # whatever the model raises
        raise DataError(
            f"data must be inputs of the model, which fails on them: {first_line(error)}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()


def first_argument(args: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
    """What a layer was given.

    Args:
        args: Its arguments.
        named: Its arguments by name.

    Returns:
        The first.
    """
    found: Tensor = args[0] if args else next(iter(named.values()))
    return found
