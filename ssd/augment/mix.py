"""Mosaic and mixup: images that show others of their batch too, drawn as part of its plan.

Mosaic: an image and three others meet at a random point of a canvas of twice the image's sides. The
others are stretched to the image's size, as the model sees all images at one size. What they leave
of the canvas has the mean colour. The canvas is then cropped, mirrored and resized like any other.
Source: Bochkovskiy et al., YOLOv4 (2020); the canvas and the range of the point are those of YOLOX
(Ge et al., 2021) and RTMDet (Lyu et al., 2022).

Mixup: the average of an image, or its mosaic, and another image, as that one is without mosaic. The
objects of both stay, and all of them count in full in the loss.
Source: Zhang et al., Bag of Freebies (2019), who draw the shares and weight the loss by them; equal
shares and a loss without weights are those of YOLOX and RTMDet.

Such an image is a weighted sum of views: each shows one image through a window that may extend
beyond it. There it shows the mean colour, which is 0 once normalised, so the views of a mosaic add
up to it: their images lie side by side.

Letters: `B` images, `V` views of an image, `G` ground-truth boxes, padded, `N` random numbers of an
image. The last axis of sizes, points and cells is (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssd.augment.counter import uniforms
from ssd.augment.crop import CROP_DRAWS, draw_crop
from ssd.augment.plan import DRAWS, Plan, move_boxes, plan_from
from ssd.config import AugmentConfig
from ssd.structures import PackedSamples

MEETING_POINT = 0.5, 1.5  # range of its place on the canvas, in sides of the own image
MIXUP_SHARE = 0.5
OWN = 3  # the own image's place among the views
# Random numbers for: mosaic, its point, mixup, and the partners of mosaic and mixup.
MIX_DRAWS = 1, 2, 1, 4


@dataclass(frozen=True)
class MixedPlan(Plan):
    """A plan whose images are weighted sums of views, each in the colours of the image it shows.

    `windows` and `flip` are those of the own images. `boxes` and `labels` hold the objects of all
    views; matching takes long with many, so a CPU leaves out the padding between them.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | sources | [B, V] | int64 | the image of the batch that a view shows |
    | weights | [B, V] | float32 | of a view in the sum; 0 shows nothing |
    | view_windows | [B, V, 4] | int64 | pixels of the shown image, as in `Plan` |
    | view_flips | [B, V] | bool | mirrored left to right |
    """

    sources: Tensor
    weights: Tensor
    view_windows: Tensor
    view_flips: Tensor


def draw_mixed_plan(
    samples: PackedSamples, seed: int, config: AugmentConfig, closing_epoch: int | None = None
) -> MixedPlan:
    """The random plan of a batch of at least two images, with mosaic and mixup.

    Args:
        samples: the batch, which the partners are drawn from.
        seed: of the run.
        config: the section of the config.
        closing_epoch: the first epoch, counted from 0, without mosaic, mixup, expansion and crop;
            None for none.
    """
    counts = sum(DRAWS), sum(MIX_DRAWS)
    draws_BN = uniforms(samples.keys, samples.epochs, seed, sum(counts))
    chain_BN, mix_BN = draws_BN.split_with_sizes(counts, 1)
    mosaic_B1, point_B2, mixup_B1, partners_B4 = mix_BN.split_with_sizes(MIX_DRAWS, 1)
    mosaic_B1 = mosaic_B1 < config.mosaic_probability
    mixup_B1 = mixup_B1 < config.mixup_probability
    if closing_epoch is not None:
        is_open_B1 = samples.epochs[:, None] < closing_epoch
        mosaic_B1, mixup_B1 = mosaic_B1 & is_open_B1, mixup_B1 & is_open_B1

    plan = plan_from(samples, chain_BN, config, closing_epoch)
    sources_B5 = _sources(partners_B4)
    sampler_B, windows_B4 = _draw_mosaic(samples, sources_B5[:, :4], point_B2, chain_BN, config)
    windows_B4 = torch.where(mosaic_B1, windows_B4, plan.windows)
    seen_B44 = _as_seen(windows_B4, samples.sizes.flip(1)[sources_B5[:, :4]])
    mixup_B = sources_B5[:, 4]
    share_B1 = mixup_B1 * MIXUP_SHARE
    # Only the views that some image may have: each adds its objects to all images.
    used = slice(0 if config.mosaic_probability else OWN, 5 if config.mixup_probability else 4)
    views = {
        "sources": sources_B5,
        "weights": torch.cat([(1 - share_B1) * mosaic_B1] * OWN + [1 - share_B1, share_B1], 1),
        "view_windows": torch.cat([seen_B44, plan.windows[mixup_B, None]], 1),
        "view_flips": torch.cat([plan.flip[:, None].repeat(1, 4), plan.flip[mixup_B, None]], 1),
    }
    views = {name: each[:, used] for name, each in views.items()}
    boxes_BG4, labels_BG = _objects(samples, **views)
    own = {
        "windows": windows_B4,
        "sampler": sampler_B.where(mosaic_B1[:, 0], plan.sampler),
        "boxes": boxes_BG4,
        "labels": labels_BG,
    }
    return MixedPlan(**vars(plan) | own | views)


def _sources(draws_B4: Tensor) -> Tensor:
    """The images [B, 5] of all views: three others for the mosaic, the own one, one for mixup."""
    count = len(draws_B4)
    own_B1 = torch.arange(count, device=draws_B4.device)[:, None]
    others_B4 = (own_B1 + 1 + (draws_B4 * (count - 1)).long()) % count
    return torch.cat([others_B4[:, :OWN], own_B1, others_B4[:, OWN:]], 1)


def _cells(device: torch.device) -> Tensor:
    """The places [4, 2] of the images of a mosaic, in sides of the own one, which is the last."""
    views_4 = torch.arange(4, device=device)
    return torch.stack([views_4 % 2, views_4 // 2], 1) - 1


def _draw_mosaic(
    samples: PackedSamples,
    sources_B4: Tensor,
    point_B2: Tensor,
    chain_BN: Tensor,
    config: AugmentConfig,
) -> tuple[Tensor, Tensor]:
    """The sampler [B] and the window [B, 4] of each image's mosaic, in the own image's pixels."""
    sizes_B42 = samples.sizes.flip(1)[sources_B4].float()
    own_B12 = sizes_B42[:, OWN:]
    low, high = MEETING_POINT
    corner_B2 = -((low + (high - low) * point_B2) * own_B12[:, 0]).floor()
    canvas_B4 = torch.cat([corner_B2, corner_B2 + 2 * own_B12[:, 0]], 1)
    if not config.crop:
        return torch.zeros_like(samples.keys), canvas_B4.long()
    scales_B414 = (own_B12 / sizes_B42).repeat(1, 1, 2)[:, :, None]
    places_B414 = (_cells(sizes_B42.device) * own_B12).repeat(1, 1, 2)[:, :, None]
    boxes_BN4 = (samples.boxes[sources_B4] * scales_B414 + places_B414).flatten(1, 2)
    labels_BN = samples.labels[sources_B4].flatten(1)
    crop_BN = chain_BN[:, -CROP_DRAWS:]
    sampler_B, windows_B4 = draw_crop(
        canvas_B4, boxes_BN4, labels_BN, crop_BN, config.crop_min_scale
    )
    return sampler_B, windows_B4.long()


def _as_seen(windows_B4: Tensor, sizes_B42: Tensor) -> Tensor:
    """The windows [B, 4, 4] of a mosaic in the pixels of each of its images, int64.

    They are rounded away from the meeting point, where images would overlap otherwise: at most one
    pixel of an image is lost. The own image needs no rounding.
    """
    cells_412 = _cells(sizes_B42.device)[:, None]
    own_B112, sizes_B412 = sizes_B42[:, OWN:, None], sizes_B42[:, :, None]
    corners_B122 = windows_B4.view(-1, 1, 2, 2)
    exact_B422 = (corners_B122 - cells_412 * own_B112) * sizes_B412
    up_B422, down_B422 = -(-exact_B422 // own_B112), exact_B422 // own_B112
    first_B42, end_B42 = torch.where(cells_412 < 0, up_B422, down_B422).unbind(2)
    return torch.cat([first_B42, torch.maximum(end_B42, first_B42 + 1)], 2)


def _objects(
    samples: PackedSamples,
    sources: Tensor,
    weights: Tensor,
    view_windows: Tensor,
    view_flips: Tensor,
) -> tuple[Tensor, Tensor]:
    """The boxes [B, G, 4] and labels [B, G] of `MixedPlan`, from its fields of the same names."""
    labels = samples.labels[sources] * (weights > 0)[..., None]
    boxes, labels = move_boxes(
        samples.boxes[sources].flatten(0, 1),
        labels.flatten(0, 1),
        view_windows.flatten(0, 1).float(),
        view_flips.flatten(),
    )
    boxes_BG4, labels_BG = boxes.view(len(sources), -1, 4), labels.view(len(sources), -1)
    if labels_BG.device.type == "cpu":  # a GPU would have to wait for the number of objects
        is_object_BG = labels_BG > 0
        most = max(1, int(is_object_BG.sum(1).max()))
        first_BG = is_object_BG.byte().argsort(stable=True, dim=1, descending=True)[:, :most]
        boxes_BG4 = boxes_BG4.take_along_dim(first_BG[..., None], 1)
        labels_BG = labels_BG.take_along_dim(first_BG, 1)
    return boxes_BG4, labels_BG
