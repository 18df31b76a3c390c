from dataclasses import fields

import numpy as np
import pytest
import torch

from ssd.augment.batch import Preprocess, finds_compiler, preprocess_of
from ssd.augment.pixels import apply_plan
from ssd.augment.plan import draw_plan, identity_plan
from ssd.config import AugmentConfig, ModelConfig

PREPROCESS = Preprocess(size=24, mean=(120.0, 110.0, 100.0), std=(50.0, 60.0, 70.0), antialias=True)


@pytest.fixture
def samples(pack):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 50 + index, 3), dtype=np.uint8) for index in range(8)]
    return pack(images, [[(10, 10, 30, 35), (0, 0, 8, 8)]] * 8)


def equal(first, second):
    return all(
        torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
        for one, other in (
            (getattr(first, field.name), getattr(second, field.name)) for field in fields(first)
        )
    )


def test_an_evaluation_batch_is_the_whole_images(samples):
    batch = PREPROCESS.evaluation_batch(samples)
    plan = identity_plan(samples)
    settings = PREPROCESS.size, PREPROCESS.mean, PREPROCESS.std, PREPROCESS.antialias
    assert torch.equal(batch.images, apply_plan(samples, plan, *settings))
    assert batch.image_ids == samples.image_ids
    assert torch.equal(batch.labels, samples.labels)
    expected = samples.boxes / samples.sizes.flip(1).repeat(1, 2)[:, None]
    torch.testing.assert_close(batch.boxes, expected)


def test_a_training_batch_is_a_function_of_samples_and_seed(samples):
    first = PREPROCESS.training_batch(samples, 3, AugmentConfig())
    assert equal(first, PREPROCESS.training_batch(samples, 3, AugmentConfig()))
    assert not equal(first, PREPROCESS.training_batch(samples, 4, AugmentConfig()))
    assert first.boxes.shape == (8, 2, 4)
    assert ((first.boxes >= 0) & (first.boxes <= 1)).all()


def test_colours_change_after_the_resize_where_the_settings_say_so(samples):
    model, augment = ModelConfig(input_size=64), AugmentConfig(photometric_after_resize=True)
    batch = preprocess_of(model, augment).training_batch(samples, 3, augment)
    settings = 64, model.pixel_mean, model.pixel_std, augment.antialias
    plan = draw_plan(samples, 3, augment)
    assert torch.equal(batch.images, apply_plan(samples, plan, *settings, colours_last=True))
    assert not torch.equal(batch.images, apply_plan(samples, plan, *settings))


def test_the_engine_none_only_resizes(samples):
    batch = PREPROCESS.training_batch(samples, 3, AugmentConfig(engine="none"))
    assert equal(batch, PREPROCESS.evaluation_batch(samples))


def test_a_compiler_is_found_as_triton_looks_for_it(tmp_path, monkeypatch):
    looks = finds_compiler.__wrapped__  # the answer is kept for the whole process
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert not looks()
    (tmp_path / "clang").touch(0o755)
    assert looks()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "/opt/cc")
    assert looks()
