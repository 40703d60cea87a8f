"""Tables of what ``surgery_zoo.py`` found."""

from collections import Counter
from typing import Any

from zoo_models import FAMILIES


def rows(records: list[dict[str, Any]]) -> list[str]:
    """What became of each network. The last two columns are off the given model in float64."""
    lines = [
        "| network | function | converted | left | MACs of eligible layers | float32 | float64 "
        "| given model's float32 | new model's float32 |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for record in records:
        title = f"{record['family']} {record['name']}"
        if "error" in record:
            lines.append(f"| {title} | | {record['error']} | | | | | | |")
            continue
        for name, one in record["operations"].items():
            if "error" in one:
                lines.append(f"| {title} | {name} | {one['error']} | | | | | | |")
                continue
            left = sum(one["left"].values())
            lines.append(
                f"| {title} | {name} | {one['converted']} | {left} | {_share(name, [record])} "
                f"| {one['float32']:.1e} | {one['float64']:.1e} "
                f"| {record['rounding']:.1e} | {one['rounding']:.1e} |"
            )
    return lines


def _share(name: str, records: list[dict[str, Any]]) -> str:
    """The share of the multiply-adds of eligible layers that are in the new spelling."""
    total = sum(record["macs"] for record in records)
    if name == "fold" or not total:  # it converts no layer
        return ""
    refused = sum(record["operations"][name]["refused_macs"] for record in records)
    return f"{1 - refused / total:.2%}"


def summary(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| family | function | networks | errors | MACs converted | largest float32 | above 1e-5 "
        "| of these: more than twice the given model's own error | largest float64 "
        "| above 1e-12 | without signal |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for family in FAMILIES:
        mine = [record for record in records if record["family"] == family]
        ran = [record for record in mine if "error" not in record]
        for name in dict.fromkeys(key for record in ran for key in record["operations"]):
            fine = [r for r in ran if "error" not in r["operations"][name]]
            found = [(record, record["operations"][name]) for record in fine]
            above = [(record, one) for record, one in found if one["float32"] > 1e-5]
            worse = sum(one["rounding"] > 2 * record["rounding"] for record, one in above)
            single = max((one["float32"] for _, one in found), default=0.0)
            double = [one["float64"] for _, one in found] or [0.0]
            lines.append(
                f"| {family} | {name} | {len(mine)} | {len(mine) - len(fine)} "
                f"| {_share(name, fine)} | {single:.1e} | {len(above)} | {worse} "
                f"| {max(double):.1e} | {sum(d > 1e-12 for d in double)} "
                f"| {sum(not one['signal'] for _, one in found)} |"
            )
    lines.append("")
    ran = [record for record in records if "error" not in record]
    exact = sum(record["round_trip"] for record in ran)
    lines.append(f"Round trips with every bit equal: {exact} of {len(ran)} networks.")
    return lines


def rounding(records: list[dict[str, Any]]) -> list[str]:
    """The differences above 1e-5 in float32, and how far both models are off float64."""
    lines = [
        "| above 1e-5 in float32 | function | difference | given model's own error "
        "| new model's error |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for record in records:
        for name, one in record.get("operations", {}).items():
            if "error" not in one and one["float32"] > 1e-5:
                lines.append(
                    f"| {record['family']} {record['name']} | {name} | {one['float32']:.1e} "
                    f"| {record['rounding']:.1e} | {one['rounding']:.1e} |"
                )
    return lines


def reasons(records: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| function | why eligible layers were left alone | layers | networks |",
        "| --- | --- | ---: | ---: |",
    ]
    counts: Counter[tuple[str, str]] = Counter()
    networks: Counter[tuple[str, str]] = Counter()
    for record in records:
        for name, one in record.get("operations", {}).items():
            for reason, count in one.get("refused", {}).items():
                counts[name, reason] += count
                networks[name, reason] += 1
    for key, count in counts.most_common():
        lines.append(f"| {key[0]} | {key[1]} | {count} | {networks[key]} |")
    return lines
