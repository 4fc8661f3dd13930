"""torchvision's SSDlite; where torchvision's compiled part does not fit this torch, with an NMS in Python."""

from __future__ import annotations

from typing import Any

import torch


def ssdlite(**arguments: Any) -> torch.nn.Module:
    from torchvision.extension import _has_ops
    from torchvision.models.detection import ssdlite320_mobilenet_v3_large
    from torchvision.ops import boxes

    if not _has_ops():
        boxes.nms = nms
    return ssdlite320_mobilenet_v3_large(topk_candidates=20, detections_per_img=10, **arguments)


def nms(found: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Return the places of the boxes that are kept, the best first, as torchvision.ops.nms does."""
    from torchvision.ops import box_iou

    order = scores.argsort(descending=True)
    overlap = box_iou(found[order], found[order]) > iou_threshold
    kept: list[int] = []
    for place in range(len(order)):
        if not any(overlap[place, other] for other in kept):
            kept.append(place)
    return order[kept]
