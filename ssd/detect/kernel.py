"""Non-maximum suppression of every class of a batch, as one Triton kernel.

Each program takes the candidates of one class in one image, best first, and keeps the first that
is left until enough are kept or none is left. Nothing is read back to the host, and no shape
depends on the predictions.

A candidate is a key, which `ssd.detect.padded` explains: its upper 32 bits are its score, and its
lower 32 bits name its default box and class.

Letters: `B` images, `L` classes without the background, `K` candidates of a class, `P` default
boxes, `D` detections wanted.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512  # candidates that a program holds at once
WARPS = 4  # per program, of 32 threads each


def suppress(
    keys_BLK: Tensor, boxes_BP4: Tensor, finite_BP: Tensor, lowest_key: int, iou: float, wanted: int
) -> Tensor:
    """The keys [B, L, D] of the first `wanted` candidates of each class that stay; 0 where padded.

    Decisions equal those of `ssd.detect.postprocess.suppress` to the bit. Tensors are on one CUDA
    device (on the CPU under Triton's interpreter).

    Args:
        keys_BLK: int64, falling in each class.
        boxes_BP4: float32, clipped to the image.
        finite_BP: the boxes that are candidates.
        lowest_key: smallest key of a candidate.
        iou: overlap above which the better one suppresses the other.
        wanted: number of detections after which a class is done.
    """
    images, classes, candidates = keys_BLK.shape
    kept_BLD = keys_BLK.new_zeros((images, classes, wanted))
    with torch.cuda.device_of(keys_BLK):
        suppress_class[classes, images](
            keys_BLK.contiguous(),
            boxes_BP4.contiguous(),
            finite_BP.contiguous(),
            kept_BLD,
            lowest_key,
            candidates,
            boxes_BP4.shape[1],
            classes + 1,
            wanted,
            IOU=iou,
            BLOCK=min(triton.next_power_of_2(candidates), BLOCK),
            num_warps=WARPS,
            enable_fp_fusion=False,  # a fused multiply-add rounds once where torchvision does twice
        )
    return kept_BLD


@triton.jit
def suppress_class(
    keys,
    boxes,
    finite,
    kept,
    lowest_key,
    candidates,
    box_count,
    class_count,
    wanted,
    IOU: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Keeps the candidates of one class; the grid is (classes without the background, images)."""
    image = tl.program_id(1).to(tl.int64)
    row = image * (class_count - 1) + tl.program_id(0)
    keys += row * candidates
    kept += row * wanted
    boxes += image * box_count * 4
    finite += image * box_count
    last_pair = box_count * class_count - 1
    shift = 2 * (image * class_count + tl.program_id(0) + 1).to(tl.float64)
    lanes = tl.arange(0, BLOCK)
    count = 0
    start = 0
    while start < candidates:
        block_keys = tl.load(keys + start + lanes, start + lanes < candidates, 0)
        above = block_keys >= lowest_key
        block_box = _box(block_keys, last_pair, class_count)
        alive = above & tl.load(finite + block_box)
        corners = _corners(boxes, block_box, shift)
        for place in range(count):  # those of earlier blocks
            box = _box(tl.load(kept + place), last_pair, class_count)
            alive = alive & ~_overlap(_corners(boxes, box, shift), corners, IOU)
        first = tl.min(tl.where(alive, lanes, BLOCK))
        while (first < BLOCK) & (count < wanted):
            key = tl.load(keys + start + first)
            tl.store(kept + count, key)
            count += 1
            box = _box(key, last_pair, class_count)
            alive = alive & ~_overlap(_corners(boxes, box, shift), corners, IOU) & (lanes > first)
            first = tl.min(tl.where(alive, lanes, BLOCK))
        tl.debug_barrier()  # the next block reads what other threads have stored in `kept`
        goes_on = (count < wanted) & (tl.sum(above.to(tl.int32)) == BLOCK)
        start = tl.where(goes_on, start + BLOCK, candidates)


@triton.jit
def _box(keys, last_pair, class_count):
    """The default box of each key; that of the last pair for 0."""
    return (last_pair - keys.to(tl.int32)) // class_count


@triton.jit
def _corners(boxes, box, shift):
    """x1, y1, x2, y2 in float64, shifted like those in `ssd.detect.postprocess.suppress`.

    Classes need no shift to be kept apart here, but it rounds coordinates close to 0.
    """
    return (
        tl.load(boxes + 4 * box).to(tl.float64) + shift,
        tl.load(boxes + 4 * box + 1).to(tl.float64) + shift,
        tl.load(boxes + 4 * box + 2).to(tl.float64) + shift,
        tl.load(boxes + 4 * box + 3).to(tl.float64) + shift,
    )


@triton.jit
def _overlap(one, others, IOU: tl.constexpr):
    """True where IoU is above the limit, by the operations of torchvision's `nms` in its order."""
    x1, y1, x2, y2 = one
    others_x1, others_y1, others_x2, others_y2 = others
    width = tl.maximum(tl.minimum(x2, others_x2) - tl.maximum(x1, others_x1), 0.0)
    height = tl.maximum(tl.minimum(y2, others_y2) - tl.maximum(y1, others_y1), 0.0)
    inter = width * height
    areas = (others_x2 - others_x1) * (others_y2 - others_y1)
    union = (x2 - x1) * (y2 - y1) + areas - inter
    # Unless it is 0, the union is larger than 1e-37: sides are multiples of 2⁻⁵¹ after the shift.
    return inter / tl.maximum(union, 1e-37) > tl.full((), IOU, tl.float64)
