"""The frame of the boxes of images with an Exif orientation, by pictures with painted objects."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.annotations import Annotations, Listed
from ssd.data.findings import Collect
from ssd.data.frames import in_frame
from ssd.data.image import read_pixels
from ssd.data.image_header import Header
from ssd.data.source import load_data

BOX = (5, 3, 20, 28)  # xyxy, 0-based, in the stored image of 40 x 30
STORED, TURNED = (40, 30), (30, 40)


def painted(path: Path, orientation: int, size=STORED):
    """A black image with one white object, and the object's box in the turned image."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return box_of(np.asarray(ImageOps.exif_transpose(Image.open(path))))


def box_of(pixels):
    rows, columns = np.nonzero(pixels[..., 0])
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def load(root, format="voc", exif="turn"):
    return load_data(DataConfig(format=format, root=str(root), exif=exif), "trainval", None)


def annotated(voc, box, width, height):
    x1, y1, x2, y2 = box
    voc.annotation("a", [("cat", (x1 + 1, y1 + 1, x2, y2))], width=width, height=height)
    voc.split("trainval", ["a"])
    return voc.root


@pytest.mark.parametrize("exif", ["turn", "stored"])
@pytest.mark.parametrize("drawn_on", ["turned", "stored"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_box_is_on_its_object_whichever_frame_the_size_describes(
    voc, orientation, drawn_on, exif
):
    turned_box = painted(voc.root / "JPEGImages/a.png", orientation)
    sideways = orientation >= 5
    if not sideways and drawn_on != {"turn": "turned", "stored": "stored"}[exif]:
        return  # both frames have this shape: the box is taken in that of `data.exif`
    box, size = (BOX, STORED) if drawn_on == "stored" else (turned_box, TURNED)
    size = size if sideways else STORED
    data = load(annotated(voc, box, *size), exif=exif)
    (record,) = data.records
    pixels = read_pixels(record)
    assert record.boxes.tolist() == [box_of(pixels)]
    assert pixels.shape == (record.height, record.width, 3)
    kinds = {
        ("turn", "turned"): "turned by Exif, boxes in the turned frame",
        ("turn", "stored"): "turned by Exif, boxes turned with the image",
        ("stored", "turned"): "boxes turned back to the stored image",
    }
    kind = kinds.get((exif, drawn_on))
    assert data.repairs == ({kind: 1} if kind and orientation > 1 else {})


@pytest.mark.parametrize("orientation", range(2, 9))
def test_without_a_size_a_box_is_in_the_frame_of_the_pixels(voc, orientation):
    box = painted(voc.root / "JPEGImages/a.png", orientation)
    (record,) = load(annotated(voc, box, 0, 0)).records
    assert record.boxes.tolist() == [box_of(read_pixels(record))] == [box]


def test_a_square_image_has_one_shape(voc):
    box = painted(voc.root / "JPEGImages/a.png", 6, (40, 40))
    (record,) = load(annotated(voc, box, 40, 40)).records
    assert record.boxes.tolist() == [box_of(read_pixels(record))]


def test_another_size_belongs_to_another_picture(voc):
    voc.fill(4)
    painted(voc.root / "JPEGImages/img02.jpg", 6)
    voc.annotation("img02", [("cat", (2, 3, 20, 25))], width=41, height=30)
    data = load(voc.root)
    assert [record.image_id for record in data.records] == ["img00", "img01", "img03"]
    path = voc.root / "JPEGImages/img02.jpg"
    assert data.unusable == (f"{path}: image is 40x30, its annotation says 41x30",)


def test_cocos_own_sides_are_turned_with_the_image(tmp_path):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images/trainval").mkdir(parents=True)
    box = painted(tmp_path / "images/trainval/a.png", 6)
    x1, y1, x2, y2 = BOX
    content = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 3, "bbox": [x1, y1, x2 - x1, y2 - y1],
             "area": 99.5, "iscrowd": 0},
        ],
    }  # fmt: skip
    (tmp_path / "annotations/trainval.json").write_text(json.dumps(content))
    data = load(tmp_path, "coco")
    assert data.records[0].boxes.tolist() == [box]
    left, top, right, bottom = box
    assert data.truth.boxes.tolist() == [[left, top, right - left, bottom - top]]
    assert data.truth.areas.tolist() == [99.5]


def columns(corners, images, **more):
    count = len(corners)
    flags = np.zeros(count, bool)
    return Annotations(
        images=images,
        names=["cat"],
        image_index=np.arange(count) % len(images),
        category=np.zeros(count, np.int64),
        corners=np.array(corners, float),
        sound=~flags,
        difficult=flags,
        crowd=flags,
        called=lambda row: f"object {row}",
        repairs=Counter({"size missing": 1}),
        **more,
    )


def test_relative_boxes_are_scaled_and_rounding_puts_none_outside():
    images = [Listed("a", Path("a.jpg"), 0, 0, Path("a.txt"))]
    corners = [[-4e-7, 0.25, 1.0000004, 0.5], [-0.1, 0, 1.1, 1]]
    found = in_frame(
        columns(corners, images, relative=True), [Header(40, 30, 6)], "turn", Collect()
    )
    assert found.corners.tolist() == [
        [0, 10, 30, 20],
        [pytest.approx(-3), 0, pytest.approx(33), 40],
    ]
    assert not found.relative
    assert found.images == [images[0]._replace(width=30, height=40, orientation=6)]


def test_objects_of_unreadable_images_go_with_them():
    images = [Listed(name, Path(name), 40, 30, Path(name)) for name in ("a", "b", "c")]
    found = columns([[n, n, n + 5, n + 5] for n in range(6)], images)
    told = Collect()
    headers = [Header(40, 30), UserError("b: gone"), Header(40, 30)]
    kept = in_frame(found, headers, "turn", told)
    assert [image.image_id for image in kept.images] == ["a", "c"]
    assert kept.image_index.tolist() == [0, 1, 0, 1]
    assert kept.corners[:, 0].tolist() == [0, 2, 3, 5]
    assert [kept.called(row) for row in range(4)] == [f"object {row}" for row in (0, 2, 3, 5)]
    assert [(one.kind, one.is_broken, one.message) for one in told.findings] == [
        ("unreadable image", True, "b: gone")
    ]
    assert kept.repairs == {"size missing": 1}


def test_nothing_changes_for_upright_images_of_the_size_that_is_said():
    images = [Listed(name, Path(name), 40, 30, Path(name)) for name in ("a", "b")]
    found = columns([[n / 3, n, n + 5, n + 5] for n in range(6)], images)
    kept = in_frame(found, [Header(40, 30)] * 2, "turn", Collect())
    assert kept.images == images
    np.testing.assert_array_equal(kept.corners, found.corners)
