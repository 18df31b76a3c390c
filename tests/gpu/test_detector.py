"""Detection as CUDA graphs: `pytest -m gpu tests/gpu`."""

import pytest
import torch

from benchmarks.feeding import noise
from ssd.augment.batch import Preprocess
from ssd.config import EvaluationConfig, ModelConfig
from ssd.detect.detector import Detector
from ssd.model.ssd import build_model

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_graphs_find_what_the_plain_way_finds_also_after_the_weights_changed(dtype):
    torch.manual_seed(0)
    model = build_model(ModelConfig("ssd7", 96), 3)
    model.to("cuda", memory_format=torch.channels_last)
    preprocess = Preprocess(96, (123, 117, 104), (58, 57, 57), antialias=True)
    settings = preprocess, ("a", "b"), dtype, EvaluationConfig(score_threshold=0.3)
    plain = Detector(model, *settings, graphs=False)
    graphs = Detector(model, *settings, graphs=True)
    for round_, images in enumerate((4, 4, 3, 4, 3, 3)):
        samples = noise(images, 60 + round_, 80)
        for expected, found in zip(plain(samples), graphs(samples), strict=True):
            assert len(expected.scores)
            torch.testing.assert_close(found.boxes, expected.boxes, rtol=0, atol=1e-4)
            torch.testing.assert_close(found.scores, expected.scores, rtol=0, atol=1e-4)
            assert torch.equal(found.labels, expected.labels)
        with torch.no_grad():  # as a training changes them
            for parameter in model.parameters():
                parameter.mul_(1.001)
    assert not model.eval().training
    captured = graphs._as_graphs._graphs.values()
    assert len(captured) == 2
    assert None not in captured
