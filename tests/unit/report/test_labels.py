import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd.report.labels import MOST, common_areas, place_labels


def labels_of(canvas, boxes, sizes):
    """The labels' boxes [L, 4], without those left out, and the places."""
    places = place_labels(canvas, np.array(boxes, float).reshape(-1, 4), sizes)
    shown = [
        (place.left, place.top, place.left + width, place.top + height)
        for place, (width, height) in zip(places, sizes, strict=True)
        if place
    ]
    return np.array(shown, float).reshape(-1, 4), places


def test_a_label_stands_on_its_box_and_does_not_cover_it():
    (label,), (place,) = labels_of((300, 200), [(100, 100, 108, 108)], [(60, 16)])
    assert label.tolist() == [100, 84, 160, 100]
    assert place.leader is None


@pytest.mark.parametrize("corner", [(0, 0), (292, 0), (0, 192), (292, 192)])
def test_a_small_object_in_a_corner_is_not_covered(corner):
    box = [*corner, corner[0] + 8, corner[1] + 8]
    (label,), _ = labels_of((300, 200), [box], [(60, 16)])
    assert common_areas(label[None], np.array([box], float)) == 0
    assert (label[:2] >= 0).all()
    assert (label[2:] <= (300, 200)).all()


def test_no_small_neighbour_is_covered():
    # Above, below and on both sides of the first box.
    boxes = [(100, 100, 120, 120), (100, 86, 150, 99), (100, 121, 150, 134)]
    boxes += [(121, 100, 180, 120), (40, 100, 99, 120)]
    (label,), (place,) = labels_of((300, 300), boxes, [(50, 14)])
    assert common_areas(label[None], np.array(boxes, float)).sum() == 0
    (x, y), end = place.leader
    assert label[0] <= x <= label[2]
    assert label[1] <= y <= label[3]
    assert 100 <= end[0] <= 120
    assert 100 <= end[1] <= 120


def test_a_box_as_large_as_the_image_bears_its_label_inside():
    (label,), (place,) = labels_of((300, 200), [(0, 0, 300, 200)], [(60, 16)])
    assert label.tolist() == [0, 0, 60, 16]
    assert place.leader is None


def test_in_a_crowd_labels_without_a_place_are_left_out():
    boxes = [
        (40 + 40 * i, 40 + 40 * j, 64 + 40 * i, 64 + 40 * j) for i in range(8) for j in range(8)
    ]
    labels, places = labels_of((400, 400), boxes, [(64, 16)] * len(boxes))
    assert 5 < len(labels) < len(boxes)
    assert places[0] is not None


coordinates = st.integers(0, 120)
boxes = st.builds(
    lambda x, y, w, h: (x, y, x + w, y + h),
    coordinates,
    coordinates,
    st.integers(0, 80),
    st.integers(0, 80),
)


@settings(deadline=None)
@given(st.lists(boxes, min_size=1, max_size=12), st.integers(0, 12))
def test_no_label_covers_much_of_a_box_or_of_another_label(boxes, count):
    sizes = [(30 + 2 * index, 12) for index in range(min(count, len(boxes)))]
    labels, places = labels_of((200, 200), boxes, sizes)
    areas = np.maximum([(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes], 1)
    assert (common_areas(labels, np.array(boxes, float)) / areas <= MOST).all()
    between = common_areas(labels, labels)
    np.fill_diagonal(between, 0)
    assert (between <= MOST * 30 * 12).all()
    assert labels.min(initial=0) >= 0
    assert labels.max(initial=0) <= 200
    for box, place, (width, height) in zip(boxes, places, sizes, strict=False):
        if place and place.leader is None:  # then it touches its box
            assert place.left - 1 <= box[2] and box[0] <= place.left + width + 1  # noqa: PT018
            assert place.top - 1 <= box[3] and box[1] <= place.top + height + 1  # noqa: PT018


def test_the_same_boxes_have_the_same_labels():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 150, (20, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(5, 50, (20, 2))], 1)
    first, second = (place_labels((200, 200), boxes, [(40, 12)] * 20) for _ in range(2))
    assert first == second
