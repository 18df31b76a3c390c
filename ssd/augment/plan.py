"""Draws the random augmentation of a whole batch as numbers: Caffe's SSD chain.

    distort the colours → expand → crop → flip → resize

A plan is a pure function of (seed, epoch, image key): the same on any device, in any batch. All
shapes are static, nothing loops over images and nothing is read back to the host. Every draw has
its own place among an image's random numbers, so switching one part off changes no other.
Source: Caffe's SSD branch, `im_transforms.cpp` and `ssd_pascal.py`.

Letters: `B` images, `G` ground-truth boxes, padded, `N` random numbers of an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ssd.augment.counter import uniforms
from ssd.augment.crop import CROP_DRAWS, draw_crop
from ssd.config import AugmentConfig
from ssd.geometry.boxes import area
from ssd.structures import PackedSamples

COLOUR_PROBABILITY = 0.5
MAX_BRIGHTNESS = 32.0
MAX_HUE = 18.0
FACTORS = 0.5, 1.5  # of contrast and saturation
# Random numbers for colours, expansion, flip and crop.
DRAWS = 9, 4, 1, CROP_DRAWS


@dataclass(frozen=True)
class Plan:
    """The changes to each image of a batch, and the objects that remain.

    | field | shape | dtype | unit |
    |---|---|---|---|
    | windows | [B, 4] | int64 | pixels of the image; becomes the output, may extend beyond it |
    | sampler | [B] | int64 | 0: whole canvas; s: cropped by `MIN_OVERLAPS[s - 1]` |
    | flip | [B] | bool | mirrored left to right |
    | brightness | [B] | float32 | added to pixels 0 … 255; 0 is off |
    | contrast | [B] | float32 | factor on pixels; 1 is off |
    | saturation | [B] | float32 | factor on HSV's S; 1 is off |
    | hue | [B] | float32 | added to HSV's H, in steps of 2 degrees (OpenCV's); 0 is off |
    | contrast_first | [B] | bool | whether contrast comes before saturation and hue, or after |
    | boxes | [B, G, 4] | float32 | relative to the output, 0 … 1; zeros where dropped or padded |
    | labels | [B, G] | int64 | 0 where dropped or padded |
    """

    windows: Tensor
    sampler: Tensor
    flip: Tensor
    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    contrast_first: Tensor
    boxes: Tensor
    labels: Tensor


def identity_plan(samples: PackedSamples) -> Plan:
    """The plan that only resizes the whole images."""
    off_B = torch.zeros_like(samples.keys, dtype=torch.bool)
    zero_B, one_B = off_B.float(), off_B.float() + 1
    windows_B4 = _image_windows(samples)
    boxes_BG4, labels_BG = move_boxes(samples.boxes, samples.labels, windows_B4, off_B)
    return Plan(
        windows=windows_B4.long(),
        sampler=torch.zeros_like(samples.keys),
        flip=off_B,
        brightness=zero_B,
        contrast=one_B,
        saturation=one_B,
        hue=zero_B,
        contrast_first=off_B,
        boxes=boxes_BG4,
        labels=labels_BG,
    )


def draw_plan(
    samples: PackedSamples, seed: int, config: AugmentConfig, closing_epoch: int | None = None
) -> Plan:
    """The random plan of a batch; the parts that `config` switches off do nothing.

    From the `closing_epoch` on, counted from 0, images are whole: neither expanded nor cropped.
    """
    draws_BN = uniforms(samples.keys, samples.epochs, seed, sum(DRAWS))
    return plan_from(samples, draws_BN, config, closing_epoch)


def plan_from(
    samples: PackedSamples,
    draws_BN: Tensor,
    config: AugmentConfig,
    closing_epoch: int | None = None,
) -> Plan:
    """The plan that `sum(DRAWS)` uniform random numbers for each image stand for."""
    colours_B9, expand_B4, flip_B1, crop_BN = draws_BN.split_with_sizes(DRAWS, 1)
    colour = COLOUR_PROBABILITY if config.photometric else 0.0

    whole_B4 = _image_windows(samples)
    windows_B4 = draw_canvas(whole_B4, expand_B4, config.expand_probability, config.expand_max)
    sampler_B = torch.zeros_like(samples.keys)
    if config.crop:
        objects = samples.boxes, samples.labels
        sampler_B, windows_B4 = draw_crop(windows_B4, *objects, crop_BN, config.crop_min_scale)
    if closing_epoch is not None:
        is_open_B = samples.epochs < closing_epoch
        windows_B4 = windows_B4.where(is_open_B[:, None], whole_B4)
        sampler_B = sampler_B * is_open_B

    flip_B = flip_B1[:, 0] < config.flip_probability
    boxes_BG4, labels_BG = move_boxes(samples.boxes, samples.labels, windows_B4, flip_B)
    return Plan(
        windows=windows_B4.long(),
        sampler=sampler_B,
        flip=flip_B,
        brightness=_maybe(colours_B9[:, 0:2], colour, (-MAX_BRIGHTNESS, MAX_BRIGHTNESS), off=0),
        contrast=_maybe(colours_B9[:, 2:4], colour, FACTORS, off=1),
        saturation=_maybe(colours_B9[:, 4:6], colour, FACTORS, off=1),
        hue=_maybe(colours_B9[:, 6:8], colour, (-MAX_HUE, MAX_HUE), off=0),
        contrast_first=colours_B9[:, 8] < 0.5,
        boxes=boxes_BG4,
        labels=labels_BG,
    )


def move_boxes(
    boxes_BG4: Tensor, labels_BG: Tensor, windows_B4: Tensor, flip_B: Tensor
) -> tuple[Tensor, Tensor]:
    """Boxes [B, G, 4] and labels [B, G] as seen in the windows [B, 4]; the inputs are in pixels.

    An object stays if its centre lies in the window (Caffe's emit constraint) and part of it is
    left after clipping; the others become zeros. The new boxes are relative to the window.
    """
    corner_B12, far_B12 = windows_B4[:, None, :2], windows_B4[:, None, 2:]
    centre_BG2 = (boxes_BG4[..., :2] + boxes_BG4[..., 2:]) / 2
    centred_BG = ((centre_BG2 >= corner_B12) & (centre_BG2 <= far_B12)).all(-1)

    moved_BG4 = boxes_BG4 - corner_B12.repeat(1, 1, 2)
    moved_BG4 = (moved_BG4 / (far_B12 - corner_B12).repeat(1, 1, 2)).clamp(0, 1)
    x1_BG, y1_BG, x2_BG, y2_BG = moved_BG4.unbind(-1)
    mirrored_BG4 = torch.stack([1 - x2_BG, y1_BG, 1 - x1_BG, y2_BG], -1)
    moved_BG4 = torch.where(flip_B[:, None, None], mirrored_BG4, moved_BG4)

    kept_BG = centred_BG & (area(moved_BG4) > 0)  # padding has no area
    return torch.where(kept_BG[..., None], moved_BG4, 0.0), torch.where(kept_BG, labels_BG, 0)


def draw_canvas(
    images_B4: Tensor, draws_B4: Tensor, probability: float, expand_max: float
) -> Tensor:
    """The canvas [B, 4] of each image: with some probability larger, at a random offset."""
    sizes_B2 = images_B4[:, 2:]
    ratio_B = _maybe(draws_B4, probability, (1, expand_max), off=1)
    canvas_B2 = (sizes_B2 * ratio_B[:, None]).floor()
    shift_B2 = (draws_B4[:, 2:] * (canvas_B2 - sizes_B2)).floor()
    return torch.cat([-shift_B2, canvas_B2 - shift_B2], 1)


def _image_windows(samples: PackedSamples) -> Tensor:
    """The windows [B, 4], float32, that are the whole images."""
    sizes_B2 = samples.sizes.flip(1).float()
    return torch.cat([torch.zeros_like(sizes_B2), sizes_B2], 1)


def _maybe(draws_B2: Tensor, probability: float, limits: tuple[float, float], off: float) -> Tensor:
    """Random numbers [B] between the limits with the given probability, else `off`."""
    low, high = limits
    drawn_B = low + (high - low) * draws_B2[:, 1]
    return torch.where(draws_B2[:, 0] < probability, drawn_B, off)
