"""The smaller parts of a run: average, quarantine, device, signal."""

import pytest
import torch
from torch import nn

from ssd.common.errors import UserError
from ssd.model.device import autocast_dtype, choose_device
from ssd.training.average import MovingAverage
from ssd.training.quarantine import Quarantine


def test_the_average_follows_its_formula():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = MovingAverage(model, decay=0.5)
    expected = model[0].weight.detach().clone()
    for update in range(20):
        with torch.no_grad():
            model[0].weight += torch.randn(2, 3)
        model[1].running_mean += 1
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * model[0].weight.detach()
        average.update(model, torch.tensor(update), torch.tensor(True))
    torch.testing.assert_close(average.model[0].weight, expected)
    assert torch.equal(average.model[1].running_mean, model[1].running_mean)
    assert not average.model.training
    assert not any(p.requires_grad for p in average.model.parameters())


def test_each_unreadable_image_is_told_once_and_too_many_stop(tmp_path):
    quarantine = Quarantine(tmp_path, num_images=100, max_share=0.02)
    assert quarantine.take(["a.jpg: cut off"]) == ["a.jpg: cut off"]
    assert quarantine.take(["a.jpg: cut off"]) == []
    assert quarantine.take(["a.jpg: cut off", "b.jpg: empty"]) == ["b.jpg: empty"]
    with pytest.raises(UserError, match="3 of 100 training images cannot be used"):
        quarantine.take(["c.jpg: gone"])
    assert len((tmp_path / "unreadable.txt").read_text().splitlines()) == 3
    mended = Quarantine(tmp_path, num_images=100, max_share=0.02)
    assert mended.take([]) == []


def test_one_training_image_may_always_be_unreadable(tmp_path):
    quarantine = Quarantine(tmp_path, num_images=3, max_share=0)
    assert quarantine.take(["a.jpg: cut off"]) == ["a.jpg: cut off"]
    with pytest.raises(UserError, match="2 of 3 training images cannot be used"):
        quarantine.take(["b.jpg: cut off"])


def test_images_left_out_before_the_first_step_count(tmp_path):
    quarantine = Quarantine(tmp_path, 100, max_share=0.02, left_out=["a.jpg: gone"])
    quarantine.note(["e.jpg: an image of the evaluation, which counts for nothing"])
    quarantine.take(["b.jpg: cut off"])
    with pytest.raises(UserError, match=r"3 of 100 .*: a\.jpg: gone; b\.jpg: cut off; c\.jpg"):
        quarantine.take(["c.jpg: cut off"])


def test_precision_by_name():
    cpu = torch.device("cpu")
    assert autocast_dtype("fp32", cpu) is None
    assert autocast_dtype("bf16", cpu) == torch.bfloat16
    assert autocast_dtype("auto", cpu) in (None, torch.bfloat16)
    with pytest.raises(UserError, match="needs a CUDA device"):
        autocast_dtype("fp16", cpu)


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(UserError, match="no CUDA device"):
        choose_device("cuda")
