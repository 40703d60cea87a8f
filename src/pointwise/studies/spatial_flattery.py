"""By how much pixels drawn at random would flatter: one model scored both ways."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5

LITTLE = 0.02
"""A difference in accuracy or R2 up to this may be chance."""

_TREES = 50
_MOST = 5_000


def compare_holdouts(
    x: "pd.DataFrame", labels: NDArray[Any], blocks: NDArray[np.int64]
) -> str | None:
    """Score a random forest by five folds of pixels at random, and by five folds of whole blocks.

    Both score every pixel once, and learn from about as many. At most 5,000 pixels are taken;
    classes that lie in one block only are left out of both.

    Args:
        x: The bands.
        labels: Class of each row; floats are numbers to predict.
        blocks: Block of each row.

    Returns:
        A sentence, or ``None`` where blocks or pixels are too few to be compared.

    Example:
        >>> import pandas as pd
        >>> blocks = np.arange(200) // 20
        >>> x = pd.DataFrame({"block": blocks})
        >>> compare_holdouts(x, blocks * 1.5, blocks)
        'a random forest has an R2 of 1.000 where pixels are held out at random, and ...'
    """
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.model_selection import GroupKFold, KFold, cross_val_score

    numbers = labels.dtype.kind == "f"
    kept = np.full(len(labels), True) if numbers else _in_several_blocks(labels, blocks)
    few = np.random.default_rng(0).permutation(np.flatnonzero(kept))[:_MOST]
    values, labels, blocks = x.to_numpy()[few], labels[few], blocks[few]
    if len(np.unique(blocks)) < 2 * FOLDS or len(labels) < 10 * FOLDS:
        return None
    kind = RandomForestRegressor if numbers else RandomForestClassifier
    at_random = KFold(FOLDS, shuffle=True, random_state=0).split(values)
    whole = GroupKFold(FOLDS, shuffle=True, random_state=0).split(values, groups=blocks)
    easy, fair = (
        cross_val_score(kind(_TREES, random_state=0), values, labels, cv=list(folds)).mean()
        for folds in (at_random, whole)
    )
    what = "has an R2 of" if numbers else "is right for"
    shown = [f"{one:.3f}" if numbers else f"{one:.1%}" for one in (easy, fair)]
    little = "random pixels would flatter little here"
    verdict = "so much would random pixels flatter" if easy - fair > LITTLE else little
    return (
        f"a random forest {what} {shown[0]} where pixels are held out at random, and {shown[1]} "
        f"where whole blocks are, of the same pixels in five folds: {verdict}"
    )


def _in_several_blocks(labels: NDArray[Any], blocks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which pixels are of classes that blocks elsewhere teach: others cannot be right."""
    codes = np.unique(labels, return_inverse=True)[1]
    pairs = np.unique(np.stack([codes, blocks]), axis=1)
    return np.bincount(pairs[0])[codes] > 1
