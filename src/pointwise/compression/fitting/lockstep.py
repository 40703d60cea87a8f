"""Forwards of all batches side by side, each waiting where a layer is about to be refitted.

A layer is refitted to what all batches bring to it, and what comes after it needs its new weights.
Run from the start for every layer, a network of many layers takes as many forwards of all the
data. Here each batch has a forward in a thread of its own, which waits at the layer and goes on
once that is refitted: one forward of the data for all layers. One thread runs at a time.
"""

import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from pointwise.compression.calibration import batch_size
from pointwise.compression.statistics.checks import find_change
from pointwise.compression.statistics.held import held_bytes
from pointwise.compression.statistics.rows import Hook, first_argument, run_hooked
from pointwise.errors import DataError
from pointwise.inspection.outputs import outputs_of
from pointwise.surgery.equivalence import Example, call, evaluating

MOST_BYTES = 2**31
"""Forwards that wait hold at most so many bytes of activations."""

PATIENCE_S = 5.0
"""Forwards that use no processor for so long wait for each other: for a lock that one holds."""

MOST_THREADS = 512
"""There are at most so many threads, with those that torch starts for each: systems allow few."""

See = Callable[[Tensor], None]


class Lockstep:
    """Forwards of batches through a model whose layers are refitted front to back.

    As many batches wait as ``MOST_BYTES`` allow; the others run from the start for every layer, as
    does a layer that is called more than once in a forward.

    Args:
        model: The model. While this is open it is in evaluation mode, and has hooks.
        paths: The layers that will be visited, in the order of their calls.
        batches: The batches.
        waiting: How many of the batches have forwards that wait. Default: as many as fit.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> with Lockstep(model, ["0", "1"], [torch.ones(3, 2)]) as runs:
        ...     runs.visit(0, "0", 1, lambda x: print(tuple(x.shape)))
        ...     _ = nn.init.zeros_(model[0].weight), nn.init.ones_(model[0].bias)
        ...     runs.visit(0, "1", 1, lambda x: print(x[0]))
        (3, 2)
        tensor([1., 1.])
    """

    def __init__(
        self,
        model: nn.Module,
        paths: Sequence[str],
        batches: Sequence[Example],
        *,
        waiting: int | None = None,
    ) -> None:
        self._model, self._paths, self._batches = model, paths, batches
        self._waiting = waiting
        self._alone: set[int] = set()
        self._forwards: dict[int, _Forward] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(evaluating(self._model))
            opened.enter_context(_kept_switches())
            waiting = self._count_waiting() if self._waiting is None else self._waiting
            self._alone.update(range(waiting, len(self._batches)))
            for path in self._paths if waiting else ():
                layer = self._model.get_submodule(path)
                hook = layer.register_forward_pre_hook(_waiting_at(path), with_kwargs=True)
                opened.callback(hook.remove)
            self._open = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        forwards = list(self._forwards.values())[::-1]
        for forward in forwards:  # all at once: one may wait for what another holds
            forward.end()
        for forward in forwards:
            forward.join()
        self._open.close()

    def visit(self, number: int, path: str, calls: int, see: See) -> None:
        """Bring a batch to a layer, with all layers before it as they are now.

        Args:
            number: Number of the batch.
            path: The layer: later in the order of calls than those that were visited before.
            calls: How often a forward of the batch calls it.
            see: Called with its input ``x``, for every call.

        Raises:
            DataError: If the model fails on the batch.
        """
        x = self._reach(number, path) if calls == 1 else None
        if x is not None:
            see(x)
        elif calls:
            run_hooked(self._model, {path: _seeing(see)}, self._batches[number], calls=calls)

    def agree(self) -> bool:
        """Whether the forwards that waited give what forwards without a stop give.

        They do not where a model keeps what belongs to one batch for later in itself, so that
        another batch takes its place. Forwards that wait go on to their ends for this.

        Returns:
            Whether they do.
        """
        for number in list(self._forwards):
            forward = self._forwards[number]
            forward.go_to(None)
            del self._forwards[number]
            whole = run_hooked(self._model, {}, self._batches[number])
            if forward.failed or find_change(outputs_of(whole), outputs_of(forward.output)):
                return False
        return True

    def _reach(self, number: int, path: str) -> Tensor | None:
        """The input of a layer, where the forward of a batch waits; ``None`` if it cannot."""
        while number not in self._alone:
            fresh = number not in self._forwards
            if fresh:
                try:
                    self._forwards[number] = _Forward(self._model, self._batches[number])
                except RuntimeError:  # the system allows no more threads
                    self._alone.add(number)
                    break
            x = self._forwards[number].go_to(path)
            if x is not None:
                return x
            gone = self._forwards.pop(number)  # past the layer
            gone.end()
            gone.join()
            if fresh:
                self._alone.add(number)
        return None

    def _count_waiting(self) -> int:
        """How many forwards may wait at once."""
        if len(self._paths) < 2:  # a single layer is reached once anyway
            return 0
        largest = max(self._batches, key=batch_size)
        try:
            held = held_bytes(self._model, self._paths, largest)
        except DataError:  # some layers run under no mode of torch's dispatcher
            return 0
        threads = MOST_THREADS // torch.get_num_threads()
        return min(len(self._batches), threads, MOST_BYTES // max(held, 1))


class StuckError(Exception):
    """Forwards that wait keep each other from going on."""


class _Closed(BaseException):
    """Ends a forward that waits; no ``except Exception`` of a model catches it."""


class _Forward(threading.Thread):
    """A forward that runs to a layer, waits there, and goes on."""

    def __init__(self, model: nn.Module, batch: Example) -> None:
        super().__init__(daemon=True)
        self._model, self._batch = model, batch
        self._goal: str | None = None
        self._seen: Tensor | None = None
        self._closed = self._ended = False
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self.output: Any = None
        self.failed = False
        self.start()

    def go_to(self, path: str | None) -> Tensor | None:
        """The input of the layer, where the forward waits; ``None`` once it has ended."""
        self._goal, self._seen = path, None
        if not self._ended:
            self._go.release()
            used = self._used()
            while not self._back.acquire(timeout=PATIENCE_S):
                before, used = used, self._used()
                if used - before < PATIENCE_S / 1000:
                    raise StuckError
        return self._seen

    def end(self) -> None:
        """End it where it waits, or will wait next."""
        self._closed = True
        self._go.release()

    def _used(self) -> float:
        """Seconds of processor time that it has used; those that went by, where no system tells."""
        if self.ident is None or not hasattr(time, "pthread_getcpuclockid"):
            return time.monotonic()
        return time.clock_gettime(time.pthread_getcpuclockid(self.ident))

    def wait_at(self, path: str, x: Tensor) -> None:
        """Wait, if this is where to."""
        if path == self._goal:
            self._seen = x
            self._back.release()
            self._wait()

    def run(self) -> None:
        """The forward; what it raises is found again by one without a stop."""
        try:
            self._wait()
            with torch.no_grad():
                self.output = call(self._model, self._batch)
        except BaseException:
            self.failed = True
        self._ended = True
        self._back.release()

    def _wait(self) -> None:
        self._go.acquire()
        if self._closed:
            raise _Closed


@contextmanager
def _kept_switches() -> Iterator[None]:
    """Put what the whole process shares back: forwards that wait leave their contexts in any order.

    These are the filters of warnings, and which kernels of attention and of oneDNN torch may use.
    """
    cuda = torch.backends.cuda
    kernels = {
        cuda.enable_flash_sdp: cuda.flash_sdp_enabled(),
        cuda.enable_mem_efficient_sdp: cuda.mem_efficient_sdp_enabled(),
        cuda.enable_math_sdp: cuda.math_sdp_enabled(),
        cuda.enable_cudnn_sdp: cuda.cudnn_sdp_enabled(),
        torch._C._set_mkldnn_enabled: torch._C._get_mkldnn_enabled(),
    }
    with warnings.catch_warnings():
        try:
            yield
        finally:
            for switch, was in kernels.items():
                switch(was)


def _seeing(see: See) -> Hook:
    return lambda _, args, named, __: see(first_argument(args, named))


def _waiting_at(path: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_: nn.Module, args: Any, named: Any) -> None:
        thread = threading.current_thread()
        if isinstance(thread, _Forward):
            thread.wait_at(path, first_argument(args, named))

    return hook
