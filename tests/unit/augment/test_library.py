import pickle
import random
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from ssd.augment.batch import Preprocess
from ssd.augment.library import LibraryTransform, library_transform
from ssd.common.errors import UserError
from ssd.config import AugmentConfig
from ssd.config.recipes import ALBUMENTATIONS
from ssd.data.dataset import pack
from ssd.structures import Sample

SEED = 3
HEIGHT, WIDTH = 48, 64
# What a transform cannot do without; the others do with their defaults.
PARAMS = {
    "AtLeastOneBBoxRandomCrop": {"height": 30, "width": 30},
    "CenterCrop": {"height": 30, "width": 30},
    "Crop": {"x_max": 50, "y_max": 40},
    "CropAndPad": {"percent": [-0.2, 0.2]},
    "GridElasticDeform": {"num_grid_xy": [3, 3], "magnitude": 5},
    "LongestMaxSize": {"max_size": 40},
    "RandomCrop": {"height": 30, "width": 30},
    "RandomResizedCrop": {"size": [30, 40]},
    "RandomSizedBBoxSafeCrop": {"height": 30, "width": 40},
    "RandomSizedCrop": {"min_max_height": [20, 40], "size": [30, 40]},
    "Resize": {"height": 30, "width": 40},
    "SmallestMaxSize": {"max_size": 40},
}


@pytest.fixture
def sample():
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    boxes = np.array([[5, 10, 40, 44], [20.25, 3, 37, 20.5], [50, 40, 64, 48]], np.float32)
    return Sample("img7", 7, 0, pixels, boxes, np.array([3, 20_000, 1]))


@pytest.fixture
def transform(tmp_path):
    """The LibraryTransform of entries as they stand in a file; `bbox_params` as well."""

    def build(*entries, **params):
        path = tmp_path / "mine.yaml"
        outer = {"__class_fullname__": "Compose", "p": 1.0, "bbox_params": params}
        path.write_text(yaml.safe_dump({"transform": {**outer, "transforms": [*entries]}}))
        return LibraryTransform(path, SEED)

    return build


def named(name, p=1.0, **params):
    return {"__class_fullname__": name, "p": p, **params}


def same(first, second):
    arrays = "pixels", "boxes", "labels"
    return all(np.array_equal(getattr(first, one), getattr(second, one)) for one in arrays)


def test_doing_nothing_changes_nothing(sample, transform):
    after = transform(named("NoOp"))(sample)
    assert np.array_equal(after.pixels, sample.pixels)
    np.testing.assert_allclose(after.boxes, sample.boxes, rtol=1e-6)
    assert after.labels.tolist() == [3, 20_000, 1]
    assert (after.boxes.dtype, after.labels.dtype) == (np.float32, np.int64)
    assert (after.image_id, after.key, after.epoch) == ("img7", 7, 0)


def test_boxes_and_labels_go_along(sample, transform):
    after = transform(named("HorizontalFlip"), named("Resize", height=24, width=128))(sample)
    x1, y1, x2, y2 = sample.boxes.T
    expected = np.stack([2 * (WIDTH - x2), y1 / 2, 2 * (WIDTH - x1), y2 / 2], 1)
    assert after.pixels.shape == (24, 128, 3)
    np.testing.assert_allclose(after.boxes, expected, rtol=1e-5)
    assert after.labels.tolist() == [3, 20_000, 1]


def test_boxes_are_cut_off_at_the_edge_and_dropped_beyond_it(sample, transform):
    crop = named("Crop", x_min=0, y_min=0, x_max=30, y_max=30)
    after = transform(crop)(sample)
    np.testing.assert_allclose(after.boxes, [[5, 10, 30, 30], [20.25, 3, 30, 20.5]], rtol=1e-5)
    assert after.labels.tolist() == [3, 20_000]
    after = transform(crop, min_visibility=0.5)(sample)  # 42 and 58 hundredths are left of them
    assert after.labels.tolist() == [20_000]


def test_an_image_may_lose_all_its_objects(sample, transform):
    empty = transform(named("Crop", x_min=0, y_min=0, x_max=5, y_max=9), named("D4"))(sample)
    assert empty.boxes.shape == (0, 4)
    assert empty.labels.shape == (0,)
    assert empty.pixels.size == 5 * 9 * 3
    assert same(transform(named("NoOp"))(empty), empty)
    assert pack([empty, sample]).labels.tolist() == [[0, 0, 0], [3, 20_000, 1]]


def transforms_of_the_library():
    import albumentations as A

    needy = {"FDA", "HistogramMatching", "MaskDropout", "Mosaic", "OverlayElements", "TextImage"}
    needy |= {"PixelDistributionAdaptation", "RandomCropNearBBox", "CropNonEmptyMaskIfExists"}
    needy |= {"BasicTransform", "DualTransform", "ImageOnlyTransform", "Lambda"}
    needy |= {"FromFloat", "Normalize", "ToFloat", "ToTensorV2"}
    return [
        name
        for name, value in sorted(vars(A).items())
        if isinstance(value, type)
        and issubclass(value, A.BasicTransform)
        and not issubclass(value, A.Transform3D)
        and name not in needy
    ]


def test_every_transform_is_a_function_of_seed_epoch_and_image(sample, transform):
    """Whatever ran before, in whichever order, and wherever the global generators stand."""
    names = transforms_of_the_library()
    assert len(names) > 80
    before = sample.pixels.copy()
    unequal = []
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a transform makes of so small an image
            run = transform(named(name, **PARAMS.get(name, {})))
            first = [run(replace(sample, key=key)) for key in (0, 1)]
            random.seed(1)
            np.random.seed(1)  # noqa: NPY002
            again = [run(replace(sample, key=key)) for key in (1, 0)]
        if not all(map(same, first, reversed(again))):
            unequal.append(name)
    assert unequal == []
    assert np.array_equal(sample.pixels, before)


def test_epochs_images_and_seeds_differ(sample, transform):
    run = transform(named("GaussNoise"))
    assert not same(run(sample), run(replace(sample, epoch=1)))
    assert not same(run(sample), run(replace(sample, key=8)))
    assert not same(run(sample), LibraryTransform(run.path, SEED + 1)(sample))
    assert same(run(sample), pickle.loads(pickle.dumps(run))(sample))


def test_transforms_draw_independently_of_each_other(sample, transform):
    """With one seed for each of them, the same images would be flipped both ways or not at all."""
    run = transform(
        named("HorizontalFlip", 0.5), named("Sequential", transforms=[named("VerticalFlip", 0.5)])
    )
    results = [run(replace(sample, key=key)).pixels.tobytes() for key in range(64)]
    rows = sample.pixels, sample.pixels[::-1]
    sides = [side.tobytes() for row in rows for side in (row, row[:, ::-1])]
    counts = [results.count(side) for side in sides]
    assert sum(counts) == 64
    assert min(counts) >= 4  # 16 expected, 3.5 the standard deviation


def test_the_pipeline_has_a_probability_of_its_own(sample, transform):
    run = transform(named("InvertImg"))
    run.pipeline.p = 0.25
    changed = [not same(run(replace(sample, key=key)), sample) for key in range(200)]
    assert 30 <= sum(changed) <= 70  # 50 expected, 6 the standard deviation


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            named("RandomCrop", height=99, width=9),
            "RandomCrop fails on image img7: CropSizeError: ",
        ),
        (
            named("ToGray", num_output_channels=1),
            "ToGray fails on image img7: ValueError: it returns uint8 of shape (48, 64)",
        ),
        (
            named("OneOf", transforms=[named("Crop", x_max=99, y_max=9)]),
            "OneOf(Crop) fails on image img7: ValueError: ",
        ),
    ],
)
def test_a_transform_that_fails_is_named_with_the_image(sample, transform, entry, message):
    run = transform(named("HorizontalFlip"), entry)
    with pytest.raises(UserError) as caught:
        run(sample)
    assert str(caught.value).startswith(f"{run.path}: {message}")
    assert str(caught.value).endswith("change or remove it")
    assert "\n" not in str(caught.value)


def test_the_engine_decides_what_runs_and_where(sample, tmp_path, transform):
    path = transform(named("Transpose")).path
    assert library_transform(AugmentConfig(), SEED) is None
    assert library_transform(AugmentConfig(engine="none"), SEED) is None
    assert library_transform(AugmentConfig(engine="library"), SEED).path == ALBUMENTATIONS
    for engine in ("device", "library"):
        assert library_transform(AugmentConfig(engine=engine, library=str(path)), SEED).path == path
    with pytest.raises(UserError, match=r"augment\.engine is none, but has to be library"):
        AugmentConfig(engine="none", library=str(path))


def test_the_engine_library_only_resizes_on_the_device(sample):
    packed = pack([sample])
    preprocess = Preprocess(24, (120.0, 110.0, 100.0), (50.0, 60.0, 70.0), antialias=True)
    batch = preprocess.training_batch(packed, SEED, AugmentConfig(engine="library"))
    assert torch.equal(batch.images, preprocess.evaluation_batch(packed).images)
