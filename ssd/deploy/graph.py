"""The network as an exported file computes it: from images to detections, in one call.

All shapes follow from the settings, but for the batch and the size of the images. The steps are
those of `ssd.detect.postprocess`, in operators that every runtime has.

Letters: `B` images, `H`, `W` their pixels, `S`, `Z` rows and columns of the network's input, `P`
default boxes, `C` classes with the background, `L` = C - 1 classes without it, `K` candidates of a
class, `D` detections of an image, `N` values along one axis.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ssd.augment.batch import Preprocess
from ssd.common.sides import Size, both
from ssd.config import EvaluationConfig
from ssd.detect.candidates import clipped_boxes
from ssd.model.ssd import SSD
from ssd.structures import Predictions

# ONNX has the operator that PyTorch lacks: `ssd.deploy.onnx_file` translates this name to it.
torch.library.define(
    "ssd::suppress", "(Tensor boxes, Tensor scores, float iou, float least, int most) -> Tensor"
)


@torch.library.register_fake("ssd::suppress")
def suppress_shape(boxes: Tensor, scores: Tensor, iou: float, least: float, most: int) -> Tensor:
    """The shape and type of what `ssd::suppress` returns.

    It takes groups of boxes [G, K, 4] with scores [G, K] that fall. It returns the scores of at
    most `most` boxes of each group, and 0 for those whose score is not above `least` or that
    overlap a better box of their group by more than `iou`.
    """
    return torch.empty_like(scores)


ROUNDING = 1e-3  # more than that of a difference of logits


class RawGraph(nn.Module):
    """Images → the score of every class in every default box, and the box.

    Takes normalised images [B, 3, S, Z], or with `pixels` the images themselves, [B, H, W, 3] of
    uint8, RGB. Gives boxes [B, P, 4], xyxy in pixels of the images, and scores [B, P, C] with the
    background first; what is not finite is 0.
    """

    def __init__(self, model: SSD, preprocess: Preprocess, pixels: bool) -> None:
        super().__init__()
        self.model, self.preprocess, self.pixels = model, preprocess, pixels

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """The boxes and the scores."""
        predictions, sides_4 = self.predictions(images)
        boxes_BP4, _ = finite_boxes(predictions.locations, self.model.default_boxes)
        return boxes_BP4 * sides_4, above(predictions.logits.softmax(-1), 0)

    def predictions(self, images: Tensor) -> tuple[Predictions, Tensor]:
        """The network's outputs, and the sides [4] of the images in pixels: W, H, W, H."""
        size = self.preprocess.size
        if self.pixels:
            sides_4 = torch.stack([axis_length(images, axis) for axis in (2, 1)]).repeat(2).float()
            mean, std = (
                torch.tensor(values)[:, None, None]
                for values in (self.preprocess.mean, self.preprocess.std)
            )
            images = (resized(images, size, self.preprocess.antialias) - mean) / std
        else:
            S, Z = both(size)
            sides_4 = torch.tensor([Z, S, Z, S]).float()
        return self.model(images), sides_4


class DetectionGraph(RawGraph):
    """Images, as RawGraph takes them → detections, best first.

    Gives boxes [B, D, 4], xyxy in pixels of the images, scores [B, D], labels [B, D] from 1 on,
    and the number of detections [B]; what is left of D is 0.
    """

    def __init__(
        self, model: SSD, preprocess: Preprocess, pixels: bool, config: EvaluationConfig
    ) -> None:
        super().__init__(model, preprocess, pixels)
        self.config = config

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Boxes, scores, labels and counts."""
        predictions, sides_4 = self.predictions(images)
        used_N = self.used(predictions.logits).nonzero()[:, 0]
        scores_BNL = predictions.logits.index_select(1, used_N).softmax(-1)[..., 1:]
        scores_BLN = above(scores_BNL.transpose(1, 2), self.config.score_threshold)
        boxes_BN4, finite_BN = finite_boxes(
            predictions.locations.index_select(1, used_N), self.model.default_boxes[used_N]
        )
        # Boxes without a score follow, so that there are always enough to choose from.
        extra = min(self.config.top_k, len(self.model.default_boxes))
        boxes_BN4 = pad(boxes_BN4, (0, 0, 0, extra))
        kept_BLN = self.kept(pad(scores_BLN, (0, extra)), boxes_BN4, pad(finite_BN, (0, extra)))
        classes = kept_BLN.shape[1]
        # Of equal scores the first counts, by default box and then by class: ONNX's TopK says so.
        wanted = min(self.config.max_detections, extra * classes)  # more cannot be kept
        scores_BD, pair_BD = kept_BLN.transpose(1, 2).flatten(1).topk(wanted)
        box_BD = pair_BD // classes
        found_BD = scores_BD > 0
        boxes_BD4 = boxes_BN4.gather(1, box_BD[..., None].expand(-1, -1, 4)) * sides_4
        return (
            torch.where(found_BD[..., None], boxes_BD4, 0.0),
            scores_BD,
            torch.where(found_BD, pair_BD - box_BD * classes + 1, 0),
            found_BD.sum(1),
        )

    def used(self, logits_BPC: Tensor) -> Tensor:
        """The default boxes [P] that may hold an object in an image; of a trained network, few.

        The score of a class is at most the sigmoid of its lead over the background, so that a box
        in which no class leads enough needs no softmax.
        """
        threshold = torch.tensor(self.config.score_threshold, dtype=torch.float64)
        least = float(threshold.logit()) - ROUNDING
        return (logits_BPC[..., 1:].amax(-1) - logits_BPC[..., 0] > least).any(0)

    def kept(self, scores_BLN: Tensor, boxes_BN4: Tensor, finite_BN: Tensor) -> Tensor:
        """The scores [B, L, N] of the boxes that stay in each class; 0 for all others."""
        classes, num_boxes = scores_BLN.shape[1:]
        candidates = min(self.config.top_k, len(self.model.default_boxes))
        best_BLK, box_BLK = scores_BLN.topk(candidates)
        finite_BLK = finite_BN.gather(1, box_BLK.flatten(1)).reshape(-1, classes, candidates)
        # Whole rows of one table: several times as fast as to gather every corner by itself.
        first_B11 = torch.arange(boxes_BN4.shape[0])[:, None, None] * num_boxes
        chosen_M4 = boxes_BN4.flatten(0, 1).index_select(0, (first_B11 + box_BLK).flatten())
        kept_GK = torch.ops.ssd.suppress(
            chosen_M4.reshape(-1, candidates, 4),
            torch.where(finite_BLK, best_BLK, 0.0).reshape(-1, candidates),
            self.config.nms_iou,
            self.config.score_threshold,
            min(self.config.max_detections, candidates),
        )
        kept_BLK = kept_GK.reshape(-1, classes, candidates)
        return torch.zeros_like(scores_BLN).scatter(2, box_BLK, kept_BLK)


def finite_boxes(locations: Tensor, default_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """As `clipped_boxes`, but a box that is not finite is 0."""
    boxes, finite = clipped_boxes(locations, default_boxes)
    return torch.where(finite[..., None], boxes, 0.0), finite


def above(scores_BLP: Tensor, least: float) -> Tensor:
    """The scores that are above `least`, and 0 for the others and for NaN.

    NaN has a condition of its own, since OpenVINO takes it for larger than any number. By the
    softmax, all scores of a box are NaN if one is.
    """
    are_numbers_B1P = ~scores_BLP[:, :1].isnan()
    return torch.where((scores_BLP > least) & are_numbers_B1P, scores_BLP, 0.0)


def resized(images_BHW3: Tensor, size: Size, antialias: bool) -> Tensor:
    """Images [B, 3, S, Z] of that size, float32, by the weights of `ssd.augment.pixels.axis_taps`.

    A dense matrix of weights makes each axis one product, since no operator of ONNX has exactly
    these weights in every runtime. A product is slow if its matrices have only the three columns
    of the colours, so these come first.
    """
    height, width = images_BHW3.shape[1:3]
    S, Z = both(size)
    rows_SH = axis_weights(axis_length(images_BHW3, 1), height, S, antialias)
    columns_ZW = axis_weights(axis_length(images_BHW3, 2), width, Z, antialias)
    return rows_SH @ (images_BHW3.permute(0, 3, 1, 2).float() @ columns_ZW.T)


def axis_weights(length: Tensor, places: int, size: int, antialias: bool) -> Tensor:
    """The weight [S, N] of each of the N pixels along an axis in each of S output pixels.

    Distances are whole numbers of 1 / 2S pixels, which float32 holds exactly.

    Args:
        length: N as a tensor.
        places: N.
        size: S.
        antialias: whether the weights widen when the image shrinks.
    """
    centres_S1 = (2 * torch.arange(size)[:, None] + 1) * length - size
    distances_SN = (2 * size * torch.arange(places) - centres_S1).abs()
    reach = 2 * (length.clamp(min=size) if antialias else torch.tensor(size))
    weights_SN = (1 - distances_SN.float() / reach.float()).clamp(min=0)
    return weights_SN / weights_SN.sum(1, keepdim=True)


def axis_length(images: Tensor, axis: int) -> Tensor:
    """The length of an axis as a tensor, which an export does not fix to the example's."""
    return torch.scalar_tensor(images.shape[axis], dtype=torch.int64)
