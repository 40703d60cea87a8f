"""Operators to layers: one entry per module call and kind of product, and what it moves."""

from collections import defaultdict

from pointwise.inspection.memory import Area
from pointwise.inspection.tracing import Call, Operation, Returned, Shape, Trace


class Entry:
    """The operators of one kind in one call: what they take from outside, and what they leave.

    Args:
        call: The call.
        kind: The kind of its products; ``other`` without any.
        whole: Whether these are all operators of the call, in it and below it.
        storages: Bytes of every storage of the forward.
    """

    def __init__(self, call: Call, kind: str, whole: bool, storages: list[int]) -> None:
        self.call, self.kind = call, kind
        self.operations: list[Operation] = []
        self.params = 0
        self.left: set[int] = set()
        self._whole, self._storages = whole, storages
        self._read: dict[int, set[Area]] = defaultdict(set)
        self._written: dict[int, set[Area]] = defaultdict(set)

    @property
    def input_shape(self) -> Shape:
        """Shape of the first tensor that comes in."""
        given = self.call.inputs if self._whole else [self.operations[0].input_shape]
        return next(iter(given), ())

    @property
    def output_shape(self) -> Shape:
        """Shape of the first tensor that goes out."""
        gives = self.call.outputs if self._whole else [self.operations[-1].output_shape]
        return next(iter(gives), ())

    @property
    def activations(self) -> int:
        """Numbers left for others; the areas of one storage hold numbers of one type."""
        numbers = 0
        for storage in self.left:
            areas = self._written[storage]
            size = max(area.nbytes // max(area.numel, 1) for area in areas) or 1
            numbers += self._at_most(storage, areas) // size
        return numbers

    @property
    def bytes(self) -> int:
        """Bytes read from outside, and written for others."""
        left = {storage: self._written[storage] for storage in self.left}
        parts = (*self._read.items(), *left.items())
        return sum(self._at_most(storage, areas) for storage, areas in parts)

    def reads(self, area: Area) -> None:
        """Note what an operator takes from outside the entry."""
        self._read[area.storage].add(area)

    def writes(self, area: Area) -> None:
        """Note what an operator writes, for the entry or for others."""
        self._written[area.storage].add(area)

    def _at_most(self, storage: int, areas: set[Area]) -> int:
        """Bytes of areas; views that overlap are no more than the storage."""
        return min(sum(area.nbytes for area in areas), self._storages[storage])


def group(traced: Trace) -> tuple[list[Entry], set[int]]:
    """Gather the operators of a forward into layers.

    Args:
        traced: The forward.

    Returns:
        The entries in the order of their first operators, and the ``id`` of each parameter that
        the forward reads.
    """
    grouping = _Grouping(traced)
    for event in traced.events:
        if isinstance(event, Operation):
            grouping.add(event)
        else:
            grouping.end(event)
    grouping.claim_the_rest()
    return list(grouping.entries.values()), grouping.used


class _Grouping:
    """The entries so far, and what the storages hold: who wrote them, which parameters are in."""

    def __init__(self, traced: Trace) -> None:
        self.traced = traced
        self.entries: dict[tuple[int, str], Entry] = {}
        self.used: set[int] = set()
        self._products: dict[int, list[str]] = defaultdict(list)
        self._softmax: set[int] = set()
        for event in traced.events:
            if isinstance(event, Operation):
                self._products[event.call] += [event.kind] if event.kind else []
                self._softmax |= {event.call} if "softmax" in event.name else set()
        self._latest: dict[int, str] = {}
        self._makers: dict[int, Entry] = {}
        self._within = {s: list(p) for s, p in traced.memory.parameters.items()}
        self._waiting: list[tuple[Entry, int]] = []

    def add(self, event: Operation) -> None:
        """An operator ran."""
        entry = self._entry(event)
        entry.operations.append(event)
        for area in event.reads:
            maker = self._makers.get(area.storage)
            if maker is not entry:
                entry.reads(area)
                if maker is not None:
                    maker.left.add(area.storage)
        self._own(entry, event)
        for area in event.writes:
            entry.writes(area)
            self._makers[area.storage] = entry

    def end(self, event: Returned) -> None:
        """A call gave something back."""
        for storage in event.storages & self._makers.keys():
            self._makers[storage].left.add(storage)

    def claim_the_rest(self) -> None:
        """Parameters that were read and never met an activation are those of their reader."""
        for entry, storage in self._waiting:
            self._claim(entry, storage)

    def _entry(self, event: Operation) -> Entry:
        # What is no product itself goes with the product before it, or with the first one.
        products = self._products[event.call]
        kind = event.kind or self._latest.get(event.call, next(iter(products), "other"))
        self._latest[event.call] = kind
        if kind in ("matmul", "made"):
            plain = "matmul" if kind == "matmul" else "linear"
            kind = "attention" if event.call in self._softmax else plain
        key = (event.call, kind)
        if key not in self.entries:
            call = self.traced.calls[event.call]
            whole = call.leaf and len(set(products)) < 2
            self.entries[key] = Entry(call, kind, whole, self.traced.memory.nbytes)
        return self.entries[key]

    def _own(self, entry: Entry, event: Operation) -> None:
        """A parameter belongs to who uses it first; who prepares a weight hands it on."""
        for storage in dict.fromkeys(area.storage for area in event.reads):
            if not event.prepares:
                self._claim(entry, storage)
                continue
            self._waiting.append((entry, storage))
            for area in event.writes:
                if area.storage != storage:
                    inside = self._within.setdefault(area.storage, [])
                    inside += self._within.get(storage, [])

    def _claim(self, entry: Entry, storage: int) -> None:
        for parameter in self._within.get(storage, []):
            if id(parameter) not in self.used:
                self.used.add(id(parameter))
                entry.params += parameter.numel()
