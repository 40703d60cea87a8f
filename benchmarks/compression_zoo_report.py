"""Tables of what ``compression_zoo.py`` found."""

from collections import Counter
from typing import Any

from zoo_models import FAMILIES

Record = dict[str, Any]

TARGET = 0.7
"""The share of the multiply-adds that is asked for."""

NEAR = 0.97
"""What a network should use up of that at least."""

EXACT = 0.0
"""How far outputs may move when a network is saved and read back."""


def share(record: Record) -> float:
    """What is left of the multiply-adds."""
    return record["new_macs"] / record["macs"] if record["macs"] else 1.0


def is_met(record: Record) -> bool:
    return "new_macs" in record and share(record) <= TARGET


def is_near(record: Record) -> bool:
    return is_met(record) and share(record) >= NEAR * TARGET


def rows(records: list[Record]) -> list[str]:
    """What became of each network."""
    lines = [
        "| network | parameters | MACs left | layers changed | left alone | outputs moved by "
        "| reload | faults | processor seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for record in records:
        title = f"{record['family']} {record['name']} | {record['params'] / 1e6:.1f} M"
        if "new_macs" not in record:
            said = record.get("error", "not run: too large")
            lines.append(f"| {title} | | | | | | {said} | |")
            continue
        left = sum(count for count, _ in record["left"].values())
        lines.append(
            f"| {title} | {share(record):.4f} | {sum(record['changed'].values())} | {left} "
            f"| {record['change']:.0%} | {record['reload']:.0e} | {', '.join(faults(record))} "
            f"| {record['seconds']:.0f} |"
        )
    return lines


def faults(record: Record) -> list[str]:
    """What is wrong with a network that was compressed."""
    found = {
        "costs differ from torch's": not record["counted"],
        "outputs of another kind": not record["kind"],
        "reload differs": record["reload"] > EXACT,
        "the given model was changed": not record["untouched"],
        "layers are not accounted for": not record["accounted"],
        "target passed": record["smallest"] is None and not is_met(record),
    }
    return [name for name, wrong in found.items() if wrong]


def summary(records: list[Record]) -> list[str]:
    """One line for each family."""
    lines = [
        f"| family | networks | meet {TARGET} of the MACs | of these within 3 % below it "
        "| out of reach | errors | costs as torch counts them | same kind of outputs "
        "| reload to the bit | given model untouched | not run |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    families = {family: [r for r in records if r["family"] == family] for family in FAMILIES}
    for family, mine in {**families, "all": records}.items():
        ran = [record for record in mine if "skipped" not in record]
        done = [record for record in ran if "error" not in record]
        met = [record for record in done if is_met(record)]
        if not mine:
            continue
        counts = [
            len(ran),
            len(met),
            sum(map(is_near, met)),
            sum(record["smallest"] is not None for record in done),
            len(ran) - len(done),
            *(sum(record[name] for record in done) for name in ("counted", "kind")),
            sum(record["reload"] <= EXACT for record in done),
            sum(record["untouched"] for record in done),
            len(mine) - len(ran),
        ]
        lines.append(f"| {family} | {' | '.join(map(str, counts))} |")
    return lines


def unmet(records: list[Record]) -> list[str]:
    """Networks that miss the target, or stay far below it, and what holds most of their costs."""
    lines = [
        "| network | MACs left | what the MACs that were left alone are in |",
        "| --- | ---: | --- |",
    ]
    for record in records:
        title = f"{record['family']} {record['name']}"
        if "new_macs" not in record or is_near(record):
            continue
        told = sorted(record["left"].items(), key=lambda item: -item[1][1])
        parts = [
            f"{macs / record['macs']:.0%}: {short(reason)} ({count} layers)"
            for reason, (count, macs) in told
            if macs >= 0.01 * record["macs"]
        ]
        others = record["macs"] - record["layers"]
        if others >= 0.01 * record["macs"]:
            parts.append(f"{others / record['macs']:.0%}: products that no known layer makes")
        lines.append(f"| {title} | {share(record):.4f} | {'; '.join(parts)} |")
    skipped = [f"{r['family']} {r['name']}" for r in records if "skipped" in r]
    return [*lines, "", f"Not run: {', '.join(skipped) or 'none'}."]


def short(reason: str) -> str:
    """Of the reasons of all forms that of the first."""
    return reason.partition("; input: ")[0].removeprefix("output: ")


def reasons(records: list[Record]) -> list[str]:
    """Why layers were left, over all networks."""
    lines = ["| why layers were left alone | layers | networks |", "| --- | ---: | ---: |"]
    layers: Counter[str] = Counter()
    networks: Counter[str] = Counter()
    for record in records:
        for reason, (count, _) in record.get("left", {}).items():
            layers[short(reason)] += count
        networks.update({short(reason) for reason in record.get("left", {})})
    for reason, count in layers.most_common():
        lines.append(f"| {reason} | {count} | {networks[reason]} |")
    return lines
