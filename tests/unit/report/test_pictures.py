import cv2
import numpy as np
import pytest

from ssd.report.pictures import COLORS, Box, Picture, cut_out, draw, encode_jpeg, fit

GREY = np.full((200, 300, 3), 90, np.uint8)


def test_a_prediction_is_outlined_in_the_colour_of_its_class():
    canvas = draw(Picture("a", GREY, [Box("cat", 2, (50, 60, 250, 180), 0.5)]))
    for y, x in ((150, 50), (150, 249), (179, 150)):
        assert tuple(canvas[y, x]) == COLORS[2]
    assert (canvas[100:140, 100:200] == 90).all()
    assert (GREY == 90).all()


def test_ground_truth_is_dashed_white_and_dark():
    canvas = draw(Picture("a", GREY, [], [Box("cat", 2, (50, 60, 250, 180))]))
    edge = canvas[60, 60:240].astype(int).sum(1)
    assert (edge > 700).any()
    assert (edge < 150).any()
    assert 2 < np.count_nonzero(np.diff(edge > 400)) < 100


def test_a_prediction_stays_visible_under_equal_ground_truth():
    corners = (50, 60, 250, 180)
    canvas = draw(Picture("a", GREY, [Box("cat", 2, corners, 0.5)], [Box("cat", 2, corners)]))
    assert (canvas[60:180, 45:55] == COLORS[2]).all(-1).any(1).all()
    assert (canvas[60:150, 50] == 255).all(-1).any()


@pytest.mark.parametrize(
    "corners", [(-1e6, -50, 1e6, 4000), (0, 0, 0, 0), (299, 199, 300, 200), (400, 400, 500, 500)]
)
def test_boxes_at_and_beyond_the_edge(corners):
    name = "a very long name of a class that is wider than the image"
    canvas = draw(Picture("a", GREY, [Box(name, 1, corners, 0.5)], [Box(name, 1, corners)]))
    assert canvas.shape == GREY.shape
    assert (canvas != GREY).any()


def test_small_objects_stay_visible_beside_their_names():
    """Neither the lines nor the names of neighbours are on the middle of an object."""
    corners = [(x, y, x + 12, y + 12) for x in (20, 60, 150) for y in (40, 90, 160)]
    canvas = draw(Picture("a", GREY, [Box("cat", 2, each, 0.5) for each in corners]))
    for x1, y1, x2, y2 in corners:
        assert (canvas[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] == 90).all()


def test_ground_truth_is_named_where_no_prediction_names_it():
    corners, near, far = (50, 60, 150, 120), (52, 61, 150, 120), (120, 100, 220, 160)

    def white(predictions):
        canvas = draw(Picture("a", GREY, predictions, [Box("cat", 2, corners)]))
        return int((canvas == 255).all(-1).sum())

    nothing = Box("dog", 1, (280, 180, 290, 190), 0.5)
    unnamed = white([nothing])
    assert white([Box("cat", 2, near, 0.5)]) < unnamed - 200
    for other in (Box("cat", 2, far, 0.5), Box("dog", 1, near, 0.5)):
        assert white([other]) > unnamed - 200


def test_fit_scales_image_and_boxes():
    picture = Picture(
        "a", GREY, [Box("cat", 1, (30, 20, 150, 100), 0.5)], [Box("b", 1, (0, 0, 3, 2))]
    )
    fitted = fit(picture, 600)
    assert fitted.pixels.shape == (400, 600, 3)
    assert fitted.predictions[0].corners == (60, 40, 300, 200)
    assert fitted.ground_truth[0].corners == (0, 0, 6, 4)
    assert fit(Picture("a", np.zeros((1000, 2, 3), np.uint8), []), 100).pixels.shape == (100, 1, 3)


@pytest.mark.parametrize(
    ("corners", "window"),
    [
        ((140, 90, 160, 110), (112, 72, 75, 56)),  # at least a quarter of the image
        ((100, 80, 150, 120), (66, 56, 117, 88)),  # 40 · 2.2 high
        ((0, 0, 10, 10), (0, 0, 75, 56)),
        ((290, 190, 300, 200), (225, 144, 75, 56)),
        ((0, 0, 300, 200), (0, 0, 300, 200)),
    ],
)
def test_a_part_is_cut_out_around_a_box(corners, window):
    rows, columns = np.mgrid[:200, :300]
    pixels = np.stack([rows, columns, columns // 256], 2).astype(np.uint8)
    far = (0, 195, 5, 200)
    picture = Picture("a", pixels, [Box("cat", 1, corners, 0.5), Box("far", 1, far, 0.5)])
    part = cut_out(picture, corners)
    left, top, width, height = window
    np.testing.assert_array_equal(part.pixels, pixels[top : top + height, left : left + width])
    x1, y1, x2, y2 = corners
    assert part.predictions[0].corners == (x1 - left, y1 - top, x2 - left, y2 - top)
    inside = left < 5 and top + height > 195
    assert [box.name for box in part.predictions] == ["cat", *["far"] * inside]


def test_jpeg_keeps_red_red():
    red = np.zeros((16, 16, 3), np.uint8) + np.array([250, 10, 10], np.uint8)
    blue_green_red = cv2.imdecode(np.frombuffer(encode_jpeg(red), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(blue_green_red[8, 8], [10, 10, 250], atol=6)


@pytest.mark.parametrize("shape", [(4, 65_600, 3), (65_600, 4, 3)])
def test_a_picture_that_is_too_long_for_jpeg_is_made_smaller(shape):
    encoded = encode_jpeg(np.full(shape, 90, np.uint8))
    assert max(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR).shape) == 65_500
