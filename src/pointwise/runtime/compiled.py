"""A chain as a callable on arrays of any layout, NumPy's or PyTorch's."""

from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from pointwise.runtime.chain import Chain
from pointwise.runtime.chunks import Chunks
from pointwise.runtime.launches import Launches, kind_of_call
from pointwise.runtime.simplify import simplify
from pointwise.runtime.views import as_tensor, empty_like, flat_view, is_rows, overlap

Engine: TypeAlias = Literal["auto", "fused", "chunks"]

ENGINES = ("auto", "fused", "chunks")

NO_HALIDE = "halide is not installed: pip install 'pointwise[fast]'"

FEW_MACS = 20_000_000_000
"""Fewer MACs than this, times PyTorch's threads, may be over before the code for them has been
made: by a single thread, which PyTorch's products do 17 billion of in a second."""


def pays_to_compile(macs: float) -> bool:
    """Whether so much work is to be done that code for it is made first.

    Args:
        macs: Multiply-adds of a whole prediction.

    Returns:
        Whether there are enough for the threads that PyTorch uses now.

    Example:
        >>> pays_to_compile(1e6), pays_to_compile(1e15)
        (False, True)
    """
    return macs >= FEW_MACS * torch.get_num_threads()


class CompiledChain:
    """Runs a chain on arrays.

    It computes what the chain held when this was made, without gradients. Calls from several
    threads, and after a fork, are safe; a copy or an unpickled one compiles anew.

    Args:
        chain: The chain.
        engine: ``"fused"`` through Halide, ``"chunks"`` through PyTorch, ``"auto"`` the first if
            it is installed and can run the chain.
        dtype: What to compute in: float32, or float64, which runs in chunks.

    Attributes:
        chain: The chain, with folded what could be folded.
        engine: The engine that runs: ``"fused"`` or ``"chunks"``.
        reason: Why it is not the fused one; empty if it is, or if chunks were asked for.

    Raises:
        ImportError: If the fused engine was asked for and Halide is not installed.
        ValueError: If the engine is unknown, or the fused one cannot run the chain.

    Example:
        >>> from pointwise.functional import Affine
        >>> double = CompiledChain(Chain(3, [Affine(2 * torch.eye(3))]), engine="chunks")
        >>> double(np.ones((2, 3, 1), dtype=np.uint8))[0, :, 0]
        array([2., 2., 2.], dtype=float32)
        >>> double(torch.ones(3, 4, 5), axis=0).shape
        torch.Size([3, 4, 5])
    """

    def __init__(
        self, chain: Chain, *, engine: Engine = "auto", dtype: torch.dtype = torch.float32
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        self._made_of = chain, engine, dtype
        self.chain, self.dtype = simplify(chain), dtype
        self.reason = ""
        self._executor: Any = None
        self._launches = Launches()
        if engine != "chunks":
            self._executor = self._fused(engine == "fused")
        self.engine = "chunks" if self._executor is None else "fused"
        if self._executor is None:
            self._executor = Chunks(self.chain, dtype)

    def _fused(self, wanted: bool) -> Any:
        """The fused executor, or ``None`` with the reason noted."""
        from pointwise.runtime.fused import Fused
        from pointwise.runtime.stages import UnsupportedError

        if self.dtype != torch.float32:
            self.reason = "computes in float64"
        else:
            try:
                return Fused(self.chain)
            except ImportError as error:
                self.reason = NO_HALIDE
                if wanted:
                    raise ImportError(NO_HALIDE) from error
            except UnsupportedError as reason:
                self.reason = str(reason)
        if wanted:
            raise ValueError(f"the fused engine cannot run this chain: {self.reason}")
        return None

    def __reduce__(self) -> Any:
        """Compiled code does not travel: the copy compiles anew."""
        return _remake, self._made_of

    @property
    def out_dtype(self) -> torch.dtype:
        """Type of the output: int64 for class numbers, else what it computes in."""
        return self.chain.dtype or self.dtype

    def __call__(self, x: Any, *, axis: int | None = None, out: Any = None) -> Any:
        """Run the chain at every position.

        Args:
            x: A NumPy array or a tensor of any numbers, on the CPU.
            axis: Its channels: 0 for ``(C, *S)``, -1 for ``(*S, C)``. Default: where the model
                takes them, the second axis for ``(N, C, *S)``.
            out: Where to put the output. Default: new memory, laid out as ``x`` is.

        Returns:
            What the model gives, of the kind of ``x``; ``out`` if it was given.

        Raises:
            TypeError: If ``x`` or ``out`` is neither, or ``out`` has another type than the output.
            ValueError: If ``x`` has other channels or axes than the chain takes, or ``out``
                another shape than the output.
        """
        source, target = _tensor(x, "x"), None if out is None else _tensor(out, "out")
        key = kind_of_call(axis, *_kind(source), *_kind(target))
        if target is not None and self._launches.repeat(key, source, target):
            return out
        axis = self._axis(source, axis)
        if source.shape[axis] != self.chain.c_in:
            raise ValueError(
                f"x must have {self.chain.c_in} channels along axis {axis + source.ndim}, "
                f"got shape {tuple(source.shape)}"
            )
        if target is None:
            made = empty_like(source, axis, self.chain.c_out, self.out_dtype)
            if not self._launches.repeat(key, source, made):
                self._run(source, made, axis, key)
            return made.numpy() if isinstance(x, np.ndarray) else made
        self._check_out(target, source, axis)
        if overlap(source, target):
            made = torch.empty_like(target)
            self._run(source, made, axis)
            target.copy_(made)
        else:
            self._run(source, target, axis, key)
        return out

    def _axis(self, x: Tensor, axis: int | None) -> int:
        """The axis of the channels, counted from the end."""
        if axis is None:
            if x.ndim not in self.chain.axes:
                known = ", ".join(str(n) for n in sorted(self.chain.axes))
                raise ValueError(
                    f"x must have one of these numbers of axes: {known}; got shape "
                    f"{tuple(x.shape)}; name the axis of the channels otherwise"
                )
            return self.chain.axes[x.ndim]
        if not -x.ndim <= axis < x.ndim:
            raise ValueError(f"axis must be one of the {x.ndim} of x, got {axis}")
        return axis - x.ndim if axis >= 0 else axis

    def _check_out(self, out: Tensor, x: Tensor, axis: int) -> None:
        shape = list(x.shape)
        shape[axis] = self.chain.c_out
        if tuple(out.shape) != tuple(shape):
            raise ValueError(f"out must have shape {tuple(shape)}, got {tuple(out.shape)}")
        if out.dtype != self.out_dtype:
            raise TypeError(f"out must hold {self.out_dtype}, got {out.dtype}")
        sizes = zip(out.shape, out.stride(), strict=True)
        if any(size > 1 and stride == 0 for size, stride in sizes):
            raise ValueError("out must have memory of its own for each number: it was expanded")

    def _run(self, x: Tensor, out: Tensor, axis: int, key: Any = None) -> None:
        """Run the chain; with a key, calls of this kind are kept in mind."""
        rows = is_rows(x, axis)
        source = flat_view(x, axis, rows=rows)
        if source is None:  # memory that skips unevenly
            x, key = x.contiguous(), None
            rows = is_rows(x, axis)
            source = flat_view(x, axis, rows=rows)
        assert source is not None  # contiguous memory has a flat view
        target = flat_view(out, axis, rows=rows)
        if target is not None:
            launches = self._executor.run(source, target)
            if launches and key is not None:
                self._launches.keep(key, x, out, launches)
            return
        made = empty_like(x, axis, self.chain.c_out, out.dtype)
        self._run(x, made, axis)
        out.copy_(made)


def _remake(chain: Chain, engine: Engine, dtype: torch.dtype) -> CompiledChain:
    return CompiledChain(chain, engine=engine, dtype=dtype)


def _tensor(x: Any, name: str) -> Tensor:
    if isinstance(x, np.ndarray):
        made = as_tensor(x)
        if name == "out" and not (x.flags.writeable and _same_memory(made, x)):
            raise ValueError(
                "out must be a writable array of native numbers that does not run backwards"
            )
        return made
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a NumPy array or a tensor, got {type(x).__name__}")
    if not x.is_cpu:
        raise TypeError(f"{name} must be on the CPU, got {x.device}")
    if x.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {x.dtype}")
    return (x.detach() if x.requires_grad else x).resolve_neg()


def _kind(x: Tensor | None) -> tuple[Any, ...]:
    """What decides how a tensor is read or written."""
    return () if x is None else (x.dtype, x.shape, x.stride())


def _same_memory(made: Tensor, array: Any) -> bool:
    return bool(array.size == 0 or made.data_ptr() == array.ctypes.data)
