"""``pointwise evaluate``: how good a model is on rows whose targets are known."""

from pointwise.cli import options
from pointwise.cli.images import evaluate_images, image_model, refuse_given, table_model
from pointwise.cli.tables import read_for_model, warnings_said
from pointwise.cli.words import print_json, print_scores, say


def evaluate(
    model: options.Model,
    data: options.Data,
    columns: options.Columns = None,
    separator: options.Separator = None,
    decimal: options.Decimal = None,
    encoding: options.Encoding = None,
    missing: options.Missing = None,
    labels: options.Labels = None,
    masks: options.Masks = None,
    json: options.Json = False,
) -> None:
    """Score a model on a table that holds its targets, or on images of known classes or masks.

    Example: `pointwise evaluate houses-model new-houses.csv`
    """
    from pointwise.modelfiles import read_config
    from pointwise.studies import check_columns, score, take_apart

    reading = options.as_reading(columns, separator, decimal, encoding, missing)
    if image_model(model, data, {f"--{name}": value for name, value in reading.items()}):
        evaluate_images(model, data, labels=labels, masks=masks, as_json=json)
        return
    refuse_given({"--labels": labels, "--masks": masks}, f"for images only, {data} is none")
    estimator, config = table_model(model), read_config(model)
    targets = config["targets"]
    frame, x = read_for_model(model, estimator, data, targets, **reading)
    check_columns(frame, targets, "target")
    part = take_apart(
        frame,
        targets,
        config["task"],
        learn=False,
        known=getattr(estimator, "classes_", None),
        say=say,
    )
    with warnings_said():
        metrics = score(estimator, x.loc[part.x.index], part.y).metrics
    if json:
        print_json(
            {"task": config["task"], "target": targets, "rows": len(part.y), "metrics": metrics}
        )
    else:
        print_scores(f"{', '.join(targets)}: {len(part.y):,} rows", [(str(model), metrics, None)])
