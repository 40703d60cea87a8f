"""``pointwise fit`` on images: a folder with a folder per class, or an idx file, to a model."""

from pathlib import Path
from typing import TYPE_CHECKING

from pointwise.cli.images import read
from pointwise.cli.words import print_json, print_line, print_scores, say
from pointwise.errors import DataError

if TYPE_CHECKING:
    from pointwise.studies.images import ImageStudy


def fit_images(
    data: str,
    out: Path,
    *,
    seed: int,
    time_limit: float | None,
    epochs: int | None,
    size: int | None,
    skip_unreadable: bool,
    valid: str | None,
    test: float | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Fit a classifier to images, score it beside plain models, and keep it in a folder.

    Args:
        data: Folder or idx file.
        out: Model folder to write.
        seed: Seed of everything random.
        time_limit: Seconds after which training stops.
        epochs: Times that every image is seen.
        size: Rows and columns to bring all images to.
        skip_unreadable: Whether files that cannot be read are left out.
        valid: Share of the images to choose the best epoch with.
        test: Share to score on.
        resume: Whether to go on where a killed fit of the same command was.
        as_json: Whether to print JSON.

    Raises:
        DataError: If the images or an option are not as they must be.
    """
    from pointwise.modelfiles import check_target
    from pointwise.studies.images import ImageOptions, study_images

    if test == 0:
        raise DataError("--test must be above 0 for images: none would be left to score on")
    check_target(out)
    shares = ImageOptions(valid=_share(valid), test=0.2 if test is None else test)
    found = read(data, size=size, skip=skip_unreadable)
    channels, height, width = found.images.shape[1:]
    say(
        f"{len(found.images):,} images, {'grey' if channels == 1 else 'in colour'}, "
        f"{height} x {width}; classification of {len(found.classes):,} classes"
    )
    checkpoint = find_checkpoint(out, resume)
    study = study_images(
        found,
        ImageOptions(
            seed=seed,
            time_limit=time_limit,
            epochs=epochs or shares.epochs,
            valid=shares.valid,
            test=shares.test,
            progress=not as_json,
            checkpoint=checkpoint,
        ),
        title=Path(data).resolve().name,
        say=say,
    )
    _keep(study, out)
    checkpoint.unlink(missing_ok=True)
    _print(study, out, as_json)


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


def _share(valid: str | None) -> float:
    try:
        fraction = 0.1 if valid is None else float(valid)
    except ValueError:
        fraction = 0.0
    if not 0 < fraction < 1:
        raise DataError(f"--valid must be a share between 0 and 1 for images, got {valid}")
    return fraction


def _keep(study: "ImageStudy", out: Path) -> None:
    import json

    from pointwise.estimators import save

    save(
        study.model,
        out,
        targets=study.report.target,
        metrics=study.metrics,
        baselines=study.baselines,
        report=json.loads(study.report.to_json()),
        rows={part: count for part, count in study.report.rows.items() if count},
    )


def _print(study: "ImageStudy", out: Path, as_json: bool) -> None:
    report = study.report
    if as_json:
        print_json(
            {
                "task": report.task,
                "target": report.target,
                "metrics": study.metrics,
                "metrics_rows": study.where,
                "baselines": {one["key"]: one["metrics"] for one in study.baselines},
                "seconds": study.seconds,
                "parameters": report.parameters,
                "epochs": len(study.model.history_),
                "best_epoch": study.model.best_epoch_,
                "rows": report.rows,
                "warnings": report.warnings,
                "model": str(out),
            }
        )
        return
    rows = [("pointwise", study.metrics, study.seconds)]
    rows += [(one["name"], one["metrics"], one["seconds"]) for one in study.baselines]
    print_scores(f"{report.target[0]}: {study.where}", rows)
    print_line(f"model: {out}")
