"""The lower convex hull of costs and errors."""

from collections.abc import Sequence


def lower_hull(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the points at which some price of a unit of cost makes cost and error least together.

    Args:
        points: Cost and error of each.

    Returns:
        Their indices, from the least error on; each further one costs less, and saves less cost
        for each bit of error.

    Example:
        >>> lower_hull([(16, 0.0), (12, 3.0), (8, 2.0), (4, 8.0)])
        [0, 2, 3]
    """
    hull: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][1], points[i][0])):
        cost, error = points[index]
        if hull and cost >= points[hull[-1]][0]:
            continue
        while len(hull) > 1:
            (dear, least), (cheap, more) = points[hull[-2]], points[hull[-1]]
            if (error - least) * (dear - cheap) > (more - least) * (dear - cost):
                break
            hull.pop()
        hull.append(index)
    return hull
