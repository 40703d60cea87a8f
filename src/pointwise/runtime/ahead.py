"""Chains compiled ahead of time: object code for any processor, which holds the numbers."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pointwise.errors import DataError, first_line
from pointwise.runtime.chain import Chain
from pointwise.runtime.compiled import NO_HALIDE
from pointwise.runtime.pipeline import build_pipeline
from pointwise.runtime.schedules import Machine
from pointwise.runtime.stages import Layout

MOST_BYTES = 1 << 30
"""Of numbers that one object holds: code reaches them by distances of 32 bits."""


REFUSED = (
    *("ASAN", "CPlusPlusMangling", "CUDA", "CheckUnsafePromises", "D3D12Compute", "Debug"),
    *("HVX", "HexagonDma", "MSAN", "Metal", "OpenCL", "Profile", "ProfileByTimer"),
    *("SanitizerCoverage", "TSAN", "TraceLoads", "TracePipeline", "TraceRealizations"),
    *("TraceStores", "UserContext", "Vulkan", "WebGPU"),
)
"""Of a target, in Halide's names: what calls Halide's own library, or is called in another way."""


@dataclass(frozen=True)
class Function:
    """One function and the object that holds it, as C calls it: ``int NAME(x, out)``.

    Both arguments are Halide's buffers, of axes ``(position, channel, batch)``; where the chain's
    output keeps members apart, that of the output are ``(position, channel, member, batch)``.

    Attributes:
        name: Its name.
        code: The object file.
        layout: How its arrays lie in memory.
        fewest: Positions that it must be given at least.
        whole: Whether it must be given whole multiples of these.
        members: Members that its output keeps apart; 1 if there are none.
    """

    name: str
    code: bytes
    layout: Layout
    fewest: int
    whole: bool
    members: int


@dataclass(frozen=True)
class ObjectCode:
    """Object code, to be linked into a program: one file for each function.

    It needs nothing of the system but memory: where it calls ``halide_malloc`` and ``halide_free``,
    whoever links it gives these.

    Attributes:
        functions: What can be called.
        target: What it runs on, in Halide's words.
        suffix: Of such files there.
        allocates: Whether it asks for memory; if not, its tiles lie on the stack.
    """

    functions: tuple[Function, ...]
    target: str
    suffix: str
    allocates: bool


def compile_ahead(chain: Chain, layouts: Mapping[str, Layout], target: str = "host") -> ObjectCode:
    """Compile a chain to objects, without a compiler of C.

    Args:
        chain: The chain, with folded what can be folded (``simplify``).
        layouts: By each function's name how its arrays lie in memory.
        target: The processor and system to compile for, in Halide's words: ``"arm-64-android"``,
            ``"x86-64-linux-avx-avx2-f16c-fma-sse41"``. Default: this machine, with all that its
            processor can do.

    Returns:
        The objects.

    Raises:
        DataError: If Halide is not installed, does not know the target or has no code for it that
            needs nothing else, or the chain holds more numbers than an object can.
        UnsupportedError: If the chain cannot be one pipeline, with the reason.

    Example:
        >>> import torch
        >>> from pointwise.functional import Affine
        >>> chain = Chain(3, [Affine(torch.ones(8, 3))])
        >>> made = compile_ahead(chain, {"run": Layout("float32", True, True, False, True)})
        >>> made.functions[0].name, made.allocates
        ('run', False)
    """
    try:
        import halide as hl
    except ImportError as error:
        raise DataError(NO_HALIDE) from error
    words, aim = _target(target)
    machine = Machine.of(aim)
    functions = []
    for name, layout in layouts.items():
        made = build_pipeline(chain, layout, machine, embedded=True)
        if sum(array.nbytes for array in made.constants) > MOST_BYTES:
            raise DataError("the network holds more numbers than an object file can")
        try:
            # by itself: modules linked to one forget which comparisons are strict about NaN
            code = _object(made.out.compile_to_module(made.inputs, name, aim))
        except hl.HalideError as error:
            raise DataError(f"Halide has no code for {target}: {first_line(error)}") from error
        functions.append(Function(name, code, layout, made.tile, layout.copied, made.members))
    windows = aim.os == hl.TargetOS.Windows
    return ObjectCode(
        tuple(functions),
        words,
        ".obj" if windows else ".o",
        any(b"halide_malloc" in function.code for function in functions),
    )


def _target(words: str) -> tuple[str, Any]:
    """What to compile for, in full, and the same without Halide's own checks and library."""
    import halide as hl

    try:
        target = hl.get_host_target() if words == "host" else hl.Target(words)
    except hl.HalideError as error:
        raise DataError(
            f"{words!r} is no target that Halide knows: give processor, bits, system and what the "
            "processor can do, such as arm-64-android or x86-64-linux-avx-avx2-f16c-fma-sse41"
        ) from error
    unknown = hl.TargetArch.ArchUnknown, hl.TargetOS.OSUnknown
    if not words or target.arch in unknown or target.os in unknown:
        raise DataError(f"the target {words!r} does not name processor, bits and system")
    full, features = target.to_string(), hl.TargetFeature
    for name in REFUSED:
        if target.has_feature(getattr(features, name)):
            raise DataError(
                f"the target {words!r} has {name}, whose code needs more of Halide than a library "
                "holds: leave it out"
            )
    for feature in (features.NoAsserts, features.NoBoundsQuery, features.NoRuntime):
        target = target.with_feature(feature)
    return full, target


def _object(module: Any) -> bytes:
    import halide as hl

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "code.o"
        module.compile({hl.OutputFileType.object: str(path)})
        return path.read_bytes()
