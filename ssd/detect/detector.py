"""The detector: a model that finds objects in any number of images of any size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ssd.augment.batch import Preprocess, finds_compiler
from ssd.common.graph import Graphs
from ssd.common.progress import Progress
from ssd.config import EvaluationConfig, Workers
from ssd.data.dataset import DetectionDataset, pack
from ssd.data.loader import evaluation_batches
from ssd.data.num_workers import num_workers
from ssd.detect.inputs import Picture, Pixels, is_several, read_pictures
from ssd.detect.mirrored import mirrored_boxes, with_mirrored
from ssd.detect.padded import padded_detections, unpad
from ssd.detect.postprocess import postprocess
from ssd.detect.result import Result
from ssd.evaluation.detections import DetectionTable
from ssd.model.ssd import SSD
from ssd.report.pictures import SHOWN_SCORE
from ssd.structures import Detections, PackedSamples, Predictions, Record, Sample, to_device

LARGEST_BATCH = 1 << 28  # bytes of pixels, from which on no further picture joins
NO_OBJECTS = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
NO_DETECTIONS = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))


@dataclass(frozen=True)
class Detector:
    """A model with its preprocessing and settings.

    Attributes:
        model: on its device.
        preprocess: packed samples → the model's input.
        classes: names of the labels from 1 on.
        dtype: the autocast type, or None for fp32.
        config: thresholds for detections, and the batch size.
        graphs: whether batches of shapes that recur run as CUDA graphs on a GPU.
    """

    model: SSD
    preprocess: Preprocess
    classes: tuple[str, ...]
    dtype: torch.dtype | None
    config: EvaluationConfig
    graphs: bool = True

    @torch.no_grad()
    def __call__(self, samples: PackedSamples) -> list[Detections]:
        """The detections of each image, on the CPU; boxes are relative to the image."""
        device = self.model.default_boxes.device
        images = self.preprocess.evaluation_batch(to_device(samples, device)).images
        was_training = self.model.training
        self.model.eval()
        if self.graphs and images.is_cuda and finds_compiler():
            found = unpad(self._as_graphs(images).cpu())
        else:
            found = postprocess(*self._predictions(images), self.config)
        self.model.train(was_training)
        return found

    def _predictions(self, images: Tensor) -> tuple[Predictions, Tensor]:
        """The predictions, and the default boxes [P, 4] that they are for."""
        default_boxes = self.model.default_boxes
        if not self.config.mirror:
            return self._predict(images), default_boxes
        return with_mirrored(self._predict, images), mirrored_boxes(default_boxes)

    def _predict(self, images: Tensor) -> Predictions:
        low = self.dtype is not None
        # Each weight is used once, and a graph must not keep a cast made before its capture.
        with torch.autocast(images.device.type, self.dtype, enabled=low, cache_enabled=False):
            predictions: Predictions = self.model(images)
        return predictions

    def _find_padded(self, images: Tensor) -> Tensor:
        return padded_detections(*self._predictions(images), self.config)

    @cached_property
    def _as_graphs(self) -> Graphs[Tensor, Tensor]:
        return Graphs(self._find_padded, print)

    def predict(
        self, pictures: Picture | Iterable[Picture], min_score: float = SHOWN_SCORE
    ) -> Result | list[Result]:
        """Finds the objects in one picture, or in several.

        Args:
            pictures: a path, an array [H, W, 3] of 8-bit RGB, a PIL image, a tensor [3, H, W], or
                an iterable, a folder or a batch of such. Gray pictures, floats from 0 to 1 and
                transparency are taken too.
            min_score: lowest score of an object.

        Returns:
            A Result for one picture; a list of them for an iterable, a folder or a batch.

        Raises:
            UserError: a picture cannot be read, or its form leaves a choice.
        """
        results = list(self.predict_each(pictures, min_score))
        return results if is_several(pictures) else results[0]

    def predict_each(
        self, pictures: Picture | Iterable[Picture], min_score: float = SHOWN_SCORE
    ) -> Iterator[Result]:
        """The results of `predict` one after another, in batches of `config.batch_size`."""
        return self.results(read_pictures(pictures), min_score)

    def results(self, named: Iterable[tuple[str, Pixels]], min_score: float) -> Iterator[Result]:
        """The results of pictures [H, W, 3] that have been read, with their names."""
        for batch in in_batches(named, self.config.batch_size):
            samples = pack([Sample(name, 0, 0, pixels, *NO_OBJECTS) for name, pixels in batch])
            for (name, pixels), detections in zip(batch, self(samples), strict=True):
                yield self._result(name, pixels, detections, min_score)

    def _result(
        self, name: str, pixels: Pixels, detections: Detections, min_score: float
    ) -> Result:
        sure = detections.scores >= min_score
        height, width = pixels.shape[:2]
        sides = np.array([width, height, width, height], np.float32)
        labels = detections.labels[sure].numpy()
        return Result(
            image=name,
            boxes=detections.boxes[sure].numpy() * sides,
            scores=detections.scores[sure].numpy(),
            labels=labels,
            names=tuple(self.classes[label - 1] for label in labels.tolist()),
            pixels=pixels,
            classes=self.classes,
        )


@dataclass(frozen=True)
class Detected:
    """The detections in some images, and what is wrong with those that could not be read.

    Attributes:
        table: `image_index` is a position among the images.
        left_out: what is wrong with an image, by its position.
    """

    table: DetectionTable
    left_out: dict[int, str]


def in_batches(
    named: Iterable[tuple[str, Pixels]], size: int
) -> Iterator[list[tuple[str, Pixels]]]:
    """Pictures by `size`, or fewer where they are so large that memory might not hold more."""
    batch: list[tuple[str, Pixels]] = []
    for each in named:
        batch.append(each)
        if len(batch) == size or sum(pixels.nbytes for _, pixels in batch) > LARGEST_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def detect(
    detector: Detector, records: Sequence[Record], workers: Workers, show_progress: bool = True
) -> Detected:
    """The model's detections in the images of `records`; it sees each image exactly once.

    Args:
        detector: the model.
        records: the images.
        workers: the setting `data.workers`.
        show_progress: whether to show the progress.
    """
    dataset = DetectionDataset(records, train_difficult=True, strict=True)
    device = detector.model.default_boxes.device
    count = num_workers(workers, device.type)
    on_gpu = device.type == "cuda"
    batches = evaluation_batches(dataset, detector.config.batch_size, count, on_gpu)
    progress = Progress("evaluating", len(records), "image", hidden=not show_progress)
    found: list[Detections] = []
    left_out: dict[int, str] = {}
    with closing(batches), progress:
        for samples in batches:
            for detections, problem in zip(detector(samples), samples.problems, strict=True):
                if problem:
                    left_out[len(found)] = problem
                found.append(NO_DETECTIONS if problem else detections)
            progress.advance(len(samples.image_ids))
    return Detected(to_table(found, records), left_out)


def to_table(found: Sequence[Detections], records: Sequence[Record]) -> DetectionTable:
    """The detections of all images as one table, in pixels of the images as stored.

    Corners are computed in float32, so that a detections file restores them bit for bit.
    """
    sizes_N4 = np.array([[r.width, r.height] * 2 for r in records], np.float32).reshape(-1, 4)
    image_index = np.repeat(np.arange(len(records)), [len(d.scores) for d in found])
    parts = [NO_DETECTIONS, *found]
    boxes = torch.cat([part.boxes for part in parts]).numpy() * sizes_N4[image_index]
    return DetectionTable(
        image_index,
        torch.cat([part.labels for part in parts]).numpy(),
        torch.cat([part.scores for part in parts]).numpy().astype(np.float64),
        boxes.astype(np.float64),
    )
