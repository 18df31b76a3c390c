import json

import cv2
import numpy as np
import pytest
import torch

from ssd.augment.batch import preprocess_of
from ssd.config import AugmentConfig, Config, DataConfig, ModelConfig, TrainingConfig
from ssd.data.dataset import DetectionDataset
from ssd.data.loader import training_steps
from ssd.data.order import Order
from ssd.data.source import load_data
from ssd.doctor.sheet import EPOCHS, GAP, first_epochs, shown, write_sheet
from ssd.report.pictures import COLORS, draw, fit

SIDE, IMAGES = 96, 6
ON_SHEET = 300  # where the letters are smaller than the objects
RED = np.array([255, 0, 0])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A COCO folder: on grey, one red rectangle an image, of the class `a`, each elsewhere."""
    root = tmp_path_factory.mktemp("coco")
    (root / "annotations").mkdir()
    (root / "images" / "train").mkdir(parents=True)
    images, annotations = [], []
    for number in range(1, IMAGES + 1):
        pixels = np.full((60, 80, 3), 90, np.uint8)
        left, top = 5 + 3 * number, 8 + 2 * number
        pixels[top : top + 24, left : left + 30] = RED
        cv2.imwrite(str(root / f"images/train/{number}.png"), pixels[..., ::-1])
        images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 60})
        box = {"category_id": 1, "bbox": [left, top, 30, 24]}
        annotations.append({"id": number, "image_id": number, **box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


def config_of(root, **augment):
    return Config(
        data=DataConfig("coco", str(root), train_split="train", eval_split="train", workers=0),
        augment=AugmentConfig(**augment),
        model=ModelConfig(input_size=SIDE),
        training=TrainingConfig(seed=5),
    )


def first_batches(config, data, count):
    """The first images as the model sees them, a batch for each epoch."""
    preprocess, seed = preprocess_of(config.model, config.augment), config.training.seed
    for samples in first_epochs(data.records, config.data, config.augment, seed, count):
        yield preprocess.training_batch(samples, seed, config.augment)


def sheet_of(config, out, count):
    return write_sheet(
        config.data, config.augment, config.model, config.training.seed, out, num_images=count
    )


def cells(path, rows):
    sheet = cv2.imread(str(path))[..., ::-1]
    step = ON_SHEET + GAP
    assert sheet.shape == (rows * step + GAP, EPOCHS * step + GAP, 3)
    for y in range(rows):
        for x in range(EPOCHS):
            yield sheet[GAP + y * step :, GAP + x * step :][:ON_SHEET, :ON_SHEET]


def extent(mask):
    ys, xs = np.nonzero(mask)
    return np.array([xs.min(), ys.min(), xs.max(), ys.max()])


def test_every_outline_surrounds_its_object(root, tmp_path):
    """Wherever expansion and flip have put it; and the sheet has all pictures, in order."""
    config = config_of(root, photometric=False, crop=False, expand_max=2.0)
    drawn, extents = {}, set()
    data = load_data(config.data, "train", None)
    for epoch, batch in enumerate(first_batches(config, data, 4)):
        for picture in shown(batch, data.classes, config.model):
            drawn[epoch, picture.name] = draw(fit(picture, ON_SHEET))
            canvas = draw(picture)
            red = extent(np.abs(picture.pixels.astype(int) - RED).max(-1) < 100)
            line = (canvas == COLORS[1]).all(-1)
            x1, _, x2, y2 = extent(line[red[1] :])  # without the name, which stands on top
            found = x1, x2, red[1] + y2
            np.testing.assert_allclose(found, red[[0, 2, 3]] + (-1, 1, 1), atol=1)
            assert line[red[1] - 2 : red[1] + 2, red[0] : red[2]].any(0).all()
            extents.add(tuple(red))
    assert len(extents) > 4 * EPOCHS / 2

    found = list(cells(sheet_of(config, tmp_path, 4), rows=4))
    names = list(dict.fromkeys(name for _, name in drawn))
    expected = [drawn[epoch, name] for name in names for epoch in range(EPOCHS)]
    np.testing.assert_array_equal(found, expected)


def test_the_sheet_shows_what_training_sees(root):
    """To the bit, for each epoch, out of batches of other images in another order."""
    config = config_of(root)
    data = load_data(config.data, "train", None)
    order = Order(IMAGES, 2, 1, 1, config.training.seed, drop_last=True)
    preprocess = preprocess_of(config.model, config.augment)
    dataset = DetectionDataset(data.records, train_difficult=True)
    trained = {}
    steps = training_steps(dataset, order, 0, EPOCHS * order.steps_per_epoch, 0, 0, False)
    for (samples,) in steps:
        batch = preprocess.training_batch(samples, config.training.seed, config.augment)
        for row, name in enumerate(batch.image_ids):
            epoch = int(samples.epochs[row])
            trained[epoch, name] = batch.images[row], batch.boxes[row], len(trained)
    for epoch, batch in enumerate(first_batches(config, data, 3)):
        assert {trained[0, name][2] for name in batch.image_ids} == {0, 1, 2}
        for row, name in enumerate(batch.image_ids):
            images, boxes, _ = trained[epoch, name]
            assert torch.equal(batch.images[row], images)
            assert torch.equal(batch.boxes[row], boxes)


def test_an_unreadable_image_leaves_its_row_to_the_others(root, tmp_path):
    (root / "images/train/2.png").write_bytes(b"")
    path = sheet_of(config_of(root), tmp_path, 100)
    assert len(list(cells(path, rows=IMAGES - 1))) == (IMAGES - 1) * EPOCHS
