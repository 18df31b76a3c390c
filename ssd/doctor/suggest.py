"""Suggests default boxes for a data set: sizes and aspect ratios that fit more of its objects.

1. *k-means* of the objects' sizes and of their elongations (long side / short side) at the model's
   input, by the distance 1 - IoU. Of two squares, and of two boxes of one area, the IoU falls with
   the ratio of their sizes or elongations, so the nearest centre is the nearest one on a
   logarithmic scale.
2. *Climbing.* k-means does not know that the boxes of a coarse feature map are far apart. So sizes
   and ratios are then changed one by one, for as long as more objects of a sample find a default
   box. The sizes in use are climbed from too, and the better end counts.

Letters: `N` objects, `K` centres, `P` default boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssd.common.progress import Progress
from ssd.common.sides import Size, both
from ssd.doctor.statistics import best_overlaps, unmatched
from ssd.geometry.default_boxes import FeatureMap, default_boxes
from ssd.structures import FloatArray

SAMPLE = 500  # objects
STEPS, KMEANS_STEPS = 15, 50
FACTORS = (0.5, 0.7, 0.85, 1.2, 1.4, 2.0)
NUM_RATIOS = 2  # as many as most maps of the backbones have
SMALLEST_SIZE, SMALLEST_RATIO = 2.0, 1.1


@dataclass(frozen=True)
class Shapes:
    """Shapes of default boxes.

    Attributes:
        sizes: `model.box_sizes`.
        ratios: `model.aspect_ratios`; None for those of the backbone.
    """

    sizes: tuple[float, ...]
    ratios: tuple[float, ...] | None

    @property
    def settings(self) -> dict[str, list[float]]:
        """Those of the section `model`, by name."""
        ratios = {} if self.ratios is None else {"aspect_ratios": list(self.ratios)}
        return {"box_sizes": list(self.sizes), **ratios}

    def on(self, maps: Sequence[FeatureMap]) -> list[FeatureMap]:
        """The feature maps with default boxes of these shapes."""
        changed = []
        for each, low, high in zip(maps, self.sizes, self.sizes[1:], strict=False):
            ratios = each.aspect_ratios if self.ratios is None else self.ratios
            changed.append(replace(each, min_size=low, max_size=high, aspect_ratios=ratios))
        return changed

    def neighbours(self) -> Iterator[Shapes]:
        """Those that differ in one number, which still rise."""
        for sizes in _changed(self.sizes, SMALLEST_SIZE, digits=1):
            yield replace(self, sizes=sizes)
        for ratios in _changed(self.ratios or (), SMALLEST_RATIO, digits=2):
            yield replace(self, ratios=ratios)


def suggest(
    boxes_N4: FloatArray,
    maps: Sequence[FeatureMap],
    input_size: Size,
    match_iou: float,
    clamp: bool = False,
) -> tuple[Shapes, int] | None:
    """The best default boxes that were found, and the number of objects that none of them fits.

    None if those in use are as good.

    Args:
        boxes_N4: the objects, xyxy relative to the image.
        maps: the default boxes in use.
        input_size: of the model: height and width in pixels, or one number.
        match_iou: the overlap at which a default box fits.
        clamp: as for `default_boxes`.
    """
    if not len(boxes_N4):
        return None
    low_sizes = [each.min_size for each in maps]
    sample_N4 = boxes_N4[:: -(-len(boxes_N4) // SAMPLE)]

    def boxes_of(shapes: Shapes) -> Tensor:
        return default_boxes(shapes.on(maps), input_size, clamp=clamp)

    def score(shapes: Shapes) -> float:
        """The share of objects that fit; among equals, boxes that fit better are better."""
        overlaps_N = best_overlaps(torch.from_numpy(sample_N4), boxes_of(shapes)).double()
        return float((overlaps_N >= match_iou).double().mean() + overlaps_N.mean() / 100)

    in_use = Shapes(tuple(round(size, 2) for size in (*low_sizes, maps[-1].max_size)), None)
    starts = [in_use, *by_k_means(sample_N4, input_size, in_use)]
    with Progress("fitting default boxes", STEPS * len(starts), "step") as progress:
        ends = [climbed(start, score, progress.advance) for start in starts]
    best = max(ends, key=score)
    left, before = (
        int(unmatched(boxes_N4, boxes_P4, match_iou).sum())
        for boxes_P4 in (boxes_of(best), default_boxes(maps, input_size, clamp=clamp))
    )
    return (best, left) if left < before else None


def by_k_means(boxes_N4: FloatArray, input_size: Size, in_use: Shapes) -> Iterator[Shapes]:
    """The shapes in the middle of those of the objects: of their elongations, and of both."""
    height, width = both(input_size)
    sides_N2 = (boxes_N4[:, 2:] - boxes_N4[:, :2]).astype(np.float64) * (width, height)
    sizes = k_means(np.sqrt(sides_N2.prod(1)), len(in_use.sizes))
    ratios = k_means(sides_N2.max(1) / sides_N2.min(1), NUM_RATIOS)
    own_sizes = tuple(sorted({round(size, 1) for size in sizes if size >= SMALLEST_SIZE}))
    own_ratios = tuple(sorted({round(ratio, 2) for ratio in ratios if ratio >= SMALLEST_RATIO}))
    if own_ratios:
        yield replace(in_use, ratios=own_ratios)
    if len(own_sizes) == len(in_use.sizes):
        yield Shapes(own_sizes, own_ratios or None)


def k_means(values_N: npt.NDArray[np.float64], num_centres: int) -> list[float]:
    """The centres of positive values on a logarithmic scale, rising; the quantiles begin."""
    logs_N = np.log(values_N)
    centres_K = np.quantile(logs_N, (np.arange(num_centres) + 0.5) / num_centres)
    for _ in range(KMEANS_STEPS):
        nearest_N = np.abs(logs_N[:, None] - centres_K).argmin(1)
        for centre in np.unique(nearest_N):
            centres_K[centre] = logs_N[nearest_N == centre].mean()
    return sorted(np.exp(centres_K).tolist())


def climbed(start: Shapes, score: Callable[[Shapes], float], told: Callable[[], None]) -> Shapes:
    """The shapes that the best single changes lead to."""
    best, reached = score(start), start
    for _ in range(STEPS):
        told()
        found, shapes = max(
            ((score(each), each) for each in reached.neighbours()), key=lambda pair: pair[0]
        )
        if found <= best:
            break
        best, reached = found, shapes
    return reached


def _changed(
    numbers: tuple[float, ...], smallest: float, digits: int
) -> Iterator[tuple[float, ...]]:
    """The numbers with one of them changed, as long as they rise from `smallest`."""
    for place, number in enumerate(numbers):
        for factor in FACTORS:
            changed = (*numbers[:place], round(number * factor, digits), *numbers[place + 1 :])
            if changed[0] >= smallest and list(changed) == sorted(set(changed)):
                yield changed
