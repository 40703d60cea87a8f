"""torchvision's models, also where its compiled operators are missing (no CPU build, say).

There the schemas of three operators are declared, with kernels in plain PyTorch, before the import.
Use this module in place of ``import torchvision``.
"""

import sys

import torch
from torch import Tensor

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "roi_align(Tensor input, Tensor rois, float spatial_scale, SymInt pooled_height,"
    " SymInt pooled_width, int sampling_ratio, bool aligned) -> Tensor",
)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes kept, the best first: each drops those that it overlaps."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    order, kept = scores.argsort(descending=True, stable=True), []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        order = order[shared / (area[best] + area[order] - shared) <= threshold]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.long, device=boxes.device)


def roi_align(
    x: Tensor, rois: Tensor, scale: float, height: int, width: int, samples: int, aligned: bool
) -> Tensor:
    """Mean of ``samples ** 2`` bilinear samples in each of ``height * width`` cells of a box."""
    per_cell = samples if samples > 0 else 2
    shift = 0.5 if aligned else 0.0
    pooled = []
    for image, *box in rois.unbind():
        left, top, right, bottom = (edge * scale - shift for edge in box)
        wide, tall = right - left, bottom - top
        if not aligned:
            wide, tall = wide.clamp(min=1), tall.clamp(min=1)
        ys = top + _middles(height * per_cell, rois) * tall
        xs = left + _middles(width * per_cell, rois) * wide
        values = _bilinear(x[image.long()], ys, xs)
        pooled.append(values.unflatten(2, (width, -1)).unflatten(1, (height, -1)).mean((2, 4)))
    return torch.stack(pooled) if pooled else x.new_zeros(0, x.shape[1], height, width)


def _middles(count: int, like: Tensor) -> Tensor:
    """The middles of equal parts of 0 to 1."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count


def _bilinear(maps: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """``(C, H, W)`` at every pair of ``ys`` and ``xs``: ``(C, len(ys), len(xs))``."""
    _, h, w = maps.shape
    inside = ((ys >= -1) & (ys <= h))[:, None] & ((xs >= -1) & (xs <= w))
    ys, xs = ys.clamp(0, h - 1), xs.clamp(0, w - 1)
    y0, x0 = ys.floor().long(), xs.floor().long()
    y1, x1 = (y0 + 1).clamp(max=h - 1), (x0 + 1).clamp(max=w - 1)
    fy, fx = (ys - y0)[:, None], xs - x0
    top = maps[:, y0][:, :, x0] * (1 - fx) + maps[:, y0][:, :, x1] * fx
    bottom = maps[:, y1][:, :, x0] * (1 - fx) + maps[:, y1][:, :, x1] * fx
    return (top * (1 - fy) + bottom * fy) * inside


def _register() -> torch.library.Library:
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    library.impl("nms", nms, "CPU")
    library.impl("roi_align", roi_align, "CompositeImplicitAutograd")
    return library


try:
    import torchvision
except RuntimeError:  # "operator torchvision::nms does not exist"
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    LIBRARY = _register()  # the operators live as long as this does
    import torchvision

    torchvision.extension._has_ops = lambda: True
    # This one keeps a reference of its own; the package's attribute of its name is the function.
    sys.modules["torchvision.ops.roi_align"]._has_ops = torchvision.extension._has_ops
