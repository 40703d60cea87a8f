"""What a fit leaves: a checkpoint on its way, and a model folder with its figures."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointwise.cli.words import print_json, print_line, print_scores, say

if TYPE_CHECKING:
    from pointwise.studies import Study


def find_checkpoint(out: Path, resume: bool) -> Path:
    """Say what is resumed, and throw a checkpoint away that is not.

    Args:
        out: Model folder to write.
        resume: Whether a checkpoint that is there is taken up.

    Returns:
        The file to keep the training in.
    """
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    if not resume:
        if checkpoint.exists():
            say(f"starting afresh: what a killed fit left in {checkpoint} is removed")
        checkpoint.unlink(missing_ok=True)
    elif not checkpoint.exists():
        say(f"nothing to resume: there is no {checkpoint}")
    return checkpoint


def keep_study(
    study: "Study[Any]",
    out: Path,
    checkpoint: Path,
    *,
    reading: Mapping[str, Any] | None = None,
    as_json: bool,
) -> None:
    """Write a fitted model with its figures, and print these.

    Args:
        study: What was fitted.
        out: Model folder to write.
        checkpoint: What the training was kept in; it is removed.
        reading: What new tables must be read by, as ``save`` takes it.
        as_json: Whether to print JSON.
    """
    from pointwise.estimators import save

    save(
        study.model,
        out,
        targets=study.targets,
        metrics=study.metrics,
        baselines=study.baselines,
        report=json.loads(study.report.to_json()),
        rows={part: count for part, count in study.report.rows.items() if count},
        reading=reading,
    )
    checkpoint.unlink(missing_ok=True)
    if as_json:
        print_json(
            {
                "task": study.task,
                "target": list(study.targets),
                "metrics": study.metrics,
                "metrics_rows": study.where,
                "baselines": {one["key"]: one["metrics"] for one in study.baselines},
                "seconds": study.seconds,
                "parameters": study.report.parameters,
                "epochs": len(study.model.history_),
                "best_epoch": study.model.best_epoch_,
                "rows": study.report.rows,
                "warnings": study.report.warnings,
                "model": str(out),
            }
        )
        return
    rows = [("pointwise", study.metrics, study.seconds)]
    rows += [(one["name"], one["metrics"], one["seconds"]) for one in study.baselines]
    print_scores(f"{', '.join(study.targets)}: {study.where}", rows)
    print_line(f"model: {out}")
