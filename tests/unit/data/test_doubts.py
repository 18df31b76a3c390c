"""Readings of boxes that make no sense, each on many random boxes that were written wrongly."""

from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.annotations import Annotations, Listed
from ssd.data.doubts import doubt_of, loud_doubt, weigh
from ssd.data.findings import Collect, Refuse
from ssd.data.source import load_data
from ssd.structures import Doubt

WIDTH, HEIGHT = 640, 400
COUNT = 200


def boxes(seed=0, width=WIDTH, height=HEIGHT):
    """Random boxes [N, 4] inside an image of this size, of at least 8 pixels a side."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, (width - 9, height - 9), (COUNT, 2))
    high = low + 8 + rng.uniform(0, 1, (COUNT, 2)) * ((width, height) - low - 8)
    return np.hstack([low, high])


def annotations(corners, sides=None, swapped=None, width=WIDTH):
    count = len(corners)
    images = [Listed(str(n), Path(f"{n}.jpg"), width, HEIGHT, Path(f"{n}.xml")) for n in range(2)]
    return Annotations(
        images,
        ["cat", "dog"],
        image_index=np.arange(count) % 2,
        category=np.zeros(count, np.int64),
        corners=np.asarray(corners, np.float64),
        sound=np.asarray((corners[:, 2:] > corners[:, :2]).all(1)),
        difficult=np.zeros(count, np.bool_),
        crowd=np.zeros(count, np.bool_),
        called=lambda row: f"object {row}",
        sides=sides,
        swapped=swapped,
    )


def by_sides(corners):
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def flipped(corners, columns=((0, 2), (1, 3)), seed=1):
    """About half of the boxes in each direction with exchanged ends."""
    corners = corners.copy()
    for pair in columns:
        rows = np.random.default_rng([seed, *pair]).random(len(corners)) < 0.5
        corners[np.ix_(rows, pair)] = corners[np.ix_(rows, pair[::-1])]
    return corners


def read_as_sides(corners):
    """Annotations of a COCO file with `corners` where its format has x, y, width, height."""
    return annotations(np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:]]), sides=corners)


READINGS = {
    "width and height probably stand in the place of xmax": annotations(by_sides(boxes())),
    "the corners in the order in which they were drawn": annotations(flipped(boxes())),
    "corners in the order in which": annotations(flipped(boxes(), [(0, 2)])),
    "parts of the image from 0 to 1, where": annotations(
        boxes() / np.tile((WIDTH, HEIGHT), 2) - (1, 1, 0, 0)  # as VOC's are read
    ),
    "x and y are probably exchanged": annotations(boxes()[:, [1, 0, 3, 2]]),
    "images of another size, since they reach to 3 times": annotations(3 * boxes()),
    "bbox probably holds x1, y1, x2, y2 in the place of": read_as_sides(boxes()),
    "holds x1, y1, x2, y2 in the place of x, y, width": read_as_sides(boxes() / 3 + 150),
}


@pytest.mark.parametrize("reason", READINGS)
def test_the_likely_reason(reason):
    doubt = doubt_of(READINGS[reason], ["cat"])
    assert doubt.exceeds(0.1)
    assert reason in doubt.message
    assert "\n" not in doubt.message


@pytest.mark.parametrize("seed", range(5))
def test_sound_boxes_leave_no_doubt(seed):
    corners = boxes(seed)
    whole = annotations(corners)
    sides = annotations(corners, sides=by_sides(corners))
    outsized = annotations(corners + np.tile([1.5, -1.5], 2))  # rounding, and VOC's 1
    for one in (whole, sides, outsized):
        assert doubt_of(one, ["cat"]) is None


def test_boxes_are_counted_by_what_is_wrong_with_them():
    corners = boxes()
    corners[0] = (50, 10, 20, 30)
    corners[1] = (50, 10, 50, 30)
    corners[2] = (700, 10, 750, 30)
    corners[3] = (10, 10, 10.5, 10.5)
    corners[4] = (600, 10, 670, 30)  # its centre is inside
    corners[5] = (-30, -30, 10, 20)
    corners[6] = (500, 10, 642.5, 30)  # by less than 2 % of its width
    doubt = doubt_of(annotations(corners), ["cat"])
    assert (doubt.doubtful, doubt.objects) == (6, COUNT)
    assert doubt.message == (
        "the boxes of 6 of 200 objects (3 %) make no sense (1 with swapped corners, 2 outside the "
        "image, 1 without area, 1 below one pixel, 1 across the border of the image; the first: "
        "0.xml: object 0): no simple reason explains them all"
    )


def test_tiny_boxes_are_not_explained_by_another_reading():
    corners = boxes()
    corners[:50, 2:] = corners[:50, :2] + 0.5
    doubt = doubt_of(annotations(corners), ["cat"])
    assert doubt.doubtful == 50
    assert doubt.message.endswith(": no simple reason explains them all")


def test_a_swap_that_the_reader_mended_counts_too():
    given = flipped(boxes())
    swapped = given[:, 2:] < given[:, :2]
    doubt = doubt_of(annotations(boxes(), swapped=swapped), ["cat"])
    assert doubt.doubtful == int(swapped.any(1).sum())
    assert doubt.message == doubt_of(annotations(given), ["cat"]).message


def test_width_and_height_are_seen_after_the_reader_mended_a_swap():
    given = by_sides(boxes())
    swapped = given[:, 2:] < given[:, :2]
    mended = np.hstack(
        [np.minimum(given[:, :2], given[:, 2:]), np.maximum(given[:, :2], given[:, 2:])]
    )
    assert "width and height" in doubt_of(annotations(mended, swapped=swapped), ["cat"]).message


def test_other_classes_and_images_of_unknown_size_are_not_judged():
    assert doubt_of(annotations(flipped(boxes())), ["dog"]) is None
    assert doubt_of(annotations(flipped(boxes()), width=0), ["cat"]) is None


@pytest.mark.parametrize(
    ("doubtful", "allowed", "broken", "loud"),
    [
        (11, 0.1, True, True),
        (10, 0.1, False, False),
        (11, 0.2, False, True),
        (11, 0.11, False, True),
        (6, 0.05, True, False),
        (2, 0.0, True, False),
        (1, 0.0, False, False),
    ],
)
def test_more_than_is_allowed_is_broken_and_much_is_loud(doubtful, allowed, broken, loud):
    doubt, told = Doubt(doubtful, 100, "odd boxes"), Collect()
    weigh(doubt, allowed, told)
    assert [one.is_broken for one in told.findings] == ([broken] if broken or loud else [])
    assert loud_doubt(doubt) == ("odd boxes" if loud else "")
    if broken:
        least = f"{doubtful / 100:g}"
        with pytest.raises(UserError, match=f"set --data.max_mended {least} to train anyway"):
            weigh(doubt, allowed, Refuse())
        weigh(doubt, float(least), Refuse())


def test_no_doubt_is_not_told():
    told = Collect()
    weigh(None, 0.0, told)
    assert not told.findings
    assert not loud_doubt(None)


def test_training_stops_at_swapped_corners_unless_it_is_allowed(voc):
    voc.image("a")
    voc.annotation("a", [("cat", (30, 5, 10, 20)), ("cat", (31, 6, 9, 20)), ("cat", (1, 1, 9, 9))])
    voc.split("trainval", ["a"])
    config = DataConfig("voc", str(voc.root))
    with pytest.raises(UserError, match=r"2 of 3 objects.*order in which.*max_mended 0\.67"):
        load_data(config, "trainval", None)
    allowed = load_data(DataConfig("voc", str(voc.root), max_mended=0.67), "trainval", None)
    assert allowed.doubt.exceeds(0.1)
