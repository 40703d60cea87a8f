"""How a fused pipeline is cut: tiles of positions, and blocks of a product that fit the registers.

A product runs in blocks: ``outputs`` channels times ``vectors`` vectors of positions are summed in
registers over all input channels. Each step of the sum loads ``vectors`` vectors of activations and
``outputs`` weights, and does ``outputs * vectors`` multiply-adds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import halide as hl

LATENCY = 4.5
"""Steps of a sum cannot follow one another faster, in cycles: a multiply-add takes 4, and more
where anything holds it up."""

OVERHEAD = 0.5
"""Cycles of a step besides its loads and multiply-adds."""

PADDED = 1.02
"""What blocks cost that do not divide the outputs: they write channels that nobody reads."""

MANY_VECTORS, FEW_VECTORS = 4, 2
"""Vectors of a tile. Long ones take two, so that more layers stay in the first cache; of short ones
four make up for what each tile costs besides."""

LONG = 16
"""Numbers of a long vector."""

WIDE = 2048
"""With a wider layer a tile of four vectors outgrows the second cache."""

POSITIONS_ACROSS = 16
"""Positions of a tile whose vectors run across channels: what it writes last is at hand sooner."""

FEW_TERMS, WRITTEN_OUT = 4, 8
"""Sums of so few terms begin with the bias, and are written out term by term: what comes before and
after the terms would take as long as they do."""

WIDEST = 16384
"""A tile of a wider layer falls out of every cache, and gains nothing."""

STACK_BYTES = 256 * 1024
"""Threads of some systems have a stack of half a MiB."""

TURNED_TILES = 2
"""Tiles of rows that are turned together: what the second reads is on its way meanwhile."""

COPIED_TILES = 8
"""Tiles of planar channels that are copied, or written, together: a channel gives many lines of the
cache in a row then, which a processor fetches ahead."""

COPIED_CHANNELS, COPIED_UNEVEN = 24, 48
"""From how many channels on planar memory is copied first, where they lie whole pages apart and
where they do not. Channels that are pages apart share a few lines of each cache, which then holds
a dozen of them, or half of that where another program runs on the same core; of others a processor
fetches only so many ahead. Copying costs little, and where it is needed spares half of the time."""

COPIED_POSITIONS = 256
"""Fewer are not copied first: they may not fill the tiles that are copied, or written, together."""

LINED_CHANNELS = 16
"""From how many channels on each block of a planar output is written for several tiles in a row:
of more channels at a time a processor loses track of where it may write ahead."""

PAGE_BYTES = 4096

TURNED_CHANNELS, TURNED_BLOCK = 10, 4
"""Rows of so few channels are turned all at a time, those of more in blocks of so many channels:
wider blocks take ever more steps, and longer to compile."""


@dataclass(frozen=True)
class Block:
    """What one product keeps in registers.

    Attributes:
        outputs: Output channels.
        vectors: Vectors of positions; single positions where vectors run across channels.
    """

    outputs: int
    vectors: int


@dataclass(frozen=True)
class Machine:
    """What the compiler needs to know of a processor.

    Attributes:
        lanes: Numbers of float32 in a vector.
        registers: Vectors that it holds at a time.
    """

    lanes: int
    registers: int

    @classmethod
    def of(cls, target: "hl.Target") -> "Machine":
        """Read the vector width and the number of registers from a target.

        Args:
            target: What Halide compiles for.

        Returns:
            The machine.
        """
        import halide as hl

        wide = target.has_feature(hl.TargetFeature.AVX512_Skylake) or target.has_feature(
            hl.TargetFeature.AVX512
        )
        x86 = target.arch == hl.TargetArch.X86
        registers = 32 if wide or (target.arch == hl.TargetArch.ARM and target.bits == 64) else 16
        lanes = target.natural_vector_size(hl.Float(32))
        return cls(16 if wide and x86 else max(lanes, 4), registers)


@dataclass(frozen=True)
class Schedule:
    """How a chain is cut.

    Attributes:
        lanes: Positions in a vector.
        vectors: Vectors in a tile.
        registers: Registers that blocks may use.
        across: Whether vectors run across channels, and not across positions.
    """

    lanes: int
    vectors: int
    registers: int
    across: bool = False

    @property
    def tile(self) -> int:
        """Positions of a tile, carried through all layers before the next one."""
        return self.lanes * self.vectors

    def block(self, c_out: int) -> Block:
        """Choose the block of a product with ``c_out`` outputs: the one with the fewest cycles.

        Outputs are padded to whole blocks, so that 127 of them run as fast as 128.

        Args:
            c_out: Output channels.

        Returns:
            The block.

        Example:
            >>> Schedule(lanes=16, vectors=2, registers=32).block(256)
            Block(outputs=8, vectors=2)
            >>> Schedule(lanes=16, vectors=4, registers=32).block(1)
            Block(outputs=1, vectors=4)
        """
        if self.across:
            return self._across(c_out)
        vectors = [v for v in (2, 1, 4) if self.vectors % v == 0]
        blocks = [
            Block(b, v)
            for v in vectors
            for b in range(min(c_out, self.registers), 0, -1)
            if b * v + v + 1 < self.registers
        ]
        return min(blocks, key=lambda block: _cycles(block, c_out, self.vectors))

    def _across(self, c_out: int) -> Block:
        """Two vectors of channels where they come out even, and as many positions as fit."""
        wide = 2 if c_out % (2 * self.lanes) == 0 else 1
        positions = 1
        while 2 * positions * wide + wide + 1 < self.registers - 1:
            positions *= 2
        return Block(wide * self.lanes, min(positions, self.tile))


def _cycles(block: Block, c_out: int, tile_vectors: int) -> float:
    """Cycles of one step of the sums of all outputs over a tile."""
    b, v = block.outputs, block.vectors
    step = max(b * v / 2, (b + v) / 2, LATENCY) + OVERHEAD
    padded = PADDED if c_out % b else 1.0
    return -(-c_out // b) * (tile_vectors // v) * step * padded


def choose_schedule(
    widths: Sequence[int], machine: Machine, *, across: bool = False, few: bool = False
) -> Schedule:
    """Cut a chain for a machine.

    Args:
        widths: Channels of the input and after every product.
        machine: The machine.
        across: Whether vectors run across channels.
        few: Whether it is for few positions: a tile is one vector of them.

    Returns:
        The schedule.

    Example:
        >>> choose_schedule([64, 64], Machine(lanes=16, registers=32)).tile
        32
        >>> choose_schedule([64, 64], Machine(lanes=4, registers=32)).tile
        16
        >>> choose_schedule([64, 64], Machine(lanes=16, registers=32), few=True).tile
        16
    """
    if across:
        vectors = max(1, POSITIONS_ACROSS // machine.lanes)
        return Schedule(machine.lanes, vectors, machine.registers, across=True)
    if few:
        return Schedule(machine.lanes, 1, machine.registers)
    short = machine.lanes >= LONG or max(widths) > WIDE
    vectors = FEW_VECTORS if short else MANY_VECTORS
    return Schedule(machine.lanes, vectors, machine.registers)


def turned_block(channels: int, lanes: int) -> int:
    """Choose how many channels of rows are turned at a time.

    Args:
        channels: Channels of a row.
        lanes: Numbers of float32 in a vector.

    Returns:
        Their number.

    Example:
        >>> turned_block(3, 16), turned_block(64, 16)
        (3, 4)
    """
    return min(channels, lanes) if channels <= TURNED_CHANNELS else TURNED_BLOCK


def tiles_together(channels: int, tile: int, *, rows: bool) -> int:
    """Choose how many tiles are read, or written, together where memory is not used as it lies.

    Args:
        channels: Channels that are kept of each.
        tile: Positions of a tile.
        rows: Whether the channels of a position lie side by side.

    Returns:
        Their number.

    Example:
        >>> [tiles_together(c, 32, rows=False) for c in (64, 256, 10_000)]
        [8, 4, 1]
    """
    if rows:
        return TURNED_TILES
    fitting = STACK_BYTES * 4 // 5 // (4 * channels * tile)
    return next((tiles for tiles in (COPIED_TILES, 4, 2) if tiles <= fitting), 1)


def is_copied(channels: int, positions: int, bytes_apart: int) -> bool:
    """Whether planar memory of float32 is copied together first, several tiles at a time.

    Args:
        channels: Its channels.
        positions: Its positions.
        bytes_apart: From a channel to the next.

    Returns:
        Whether it is.

    Example:
        >>> is_copied(24, 1024 * 1024, 4 * 1024 * 1024), is_copied(24, 1000 * 1000, 4 * 1000 * 1000)
        (True, False)
    """
    if positions < COPIED_POSITIONS:
        return False
    return channels >= (COPIED_UNEVEN if bytes_apart % PAGE_BYTES else COPIED_CHANNELS)
