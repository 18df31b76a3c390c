"""The resize of exported files, in NumPy and in the graph, beside that of training."""

import numpy as np
import pytest
import torch

from ssd.augment.batch import Preprocess
from ssd.deploy.compare import packed
from ssd.deploy.graph import RawGraph, resized
from ssd.deploy.resize import network_input
from tests.unit.deploy.nets import photo

MEAN, STD = (120.0, 110.0, 100.0), (58.0, 57.0, 56.0)
SIZES = [(37, 61), (300, 41), (129, 300), (1, 1), (1, 700), (999, 2), (301, 299), (1201, 1603)]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [64, 300, (64, 160), (200, 96)])
def test_both_are_the_resize_of_training(size, antialias):
    preprocess = Preprocess(size, MEAN, STD, antialias)
    for height, width in SIZES:
        pixels = photo(height, width, seed=height)
        expected = preprocess.evaluation_batch(packed(pixels)).images.numpy()
        alone = network_input(pixels, size, MEAN, STD, antialias)
        assert alone.dtype == np.float32
        np.testing.assert_allclose(alone, expected, atol=1e-5, rtol=0)
        graph = resized(torch.from_numpy(pixels)[None], size, antialias)
        mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
        np.testing.assert_allclose((graph - mean) / std, expected, atol=2e-5, rtol=0)


def test_the_graph_knows_the_sides_of_the_images():
    class Whole(torch.nn.Module):
        """One default box, the whole image, and its offsets of 0."""

        default_boxes = torch.tensor([[0.5, 0.5, 1, 1]])

        def forward(self, images):
            from ssd.structures import Predictions

            return Predictions(torch.zeros(len(images), 1, 2), torch.zeros(len(images), 1, 4))

    graph = RawGraph(Whole(), Preprocess(64, MEAN, STD, True), pixels=True)
    boxes, scores = graph(torch.zeros(2, 30, 50, 3, dtype=torch.uint8))
    assert boxes.tolist() == [[[0, 0, 50, 30]]] * 2
    assert scores.tolist() == [[[0.5, 0.5]]] * 2
