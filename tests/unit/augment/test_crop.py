import pytest
import torch

from ssd.augment.crop import CROP_DRAWS, MIN_OVERLAPS, TRIALS, draw_crop

LARGEST = 1 - 2.0**-24  # the largest number that is ever drawn


def crop(canvas, boxes, draws_BN, min_scale=0.3):
    canvas_B4 = torch.tensor([canvas]).expand(len(draws_BN), 4).float()
    boxes_BG4 = torch.tensor([boxes]).expand(len(draws_BN), len(boxes), 4).float()
    labels_BG = torch.ones(boxes_BG4.shape[:2], dtype=torch.int64)
    return draw_crop(canvas_B4, boxes_BG4, labels_BG, draws_BN, min_scale)


@pytest.mark.parametrize("aspect", [0.0, LARGEST])
@pytest.mark.parametrize("place", [0.0, LARGEST])
@pytest.mark.parametrize("canvas", [(-7, -5, 493, 295), (0, 0, 1, 1), (-1, 0, 2, 5)])
def test_the_most_extreme_windows_stay_in_the_canvas(canvas, aspect, place):
    count = 500
    draws_BN = torch.full((count, CROP_DRAWS), LARGEST)
    trials = draws_BN[:, 1:].view(count, len(MIN_OVERLAPS), TRIALS, 4)
    trials[..., 0] = torch.linspace(0, LARGEST, count)[:, None, None]
    trials[..., 1], trials[..., 2:] = aspect, place
    sampler_B, windows_B4 = crop(canvas, [(0, 0, 1, 1)], draws_BN, min_scale=0.7)
    assert (sampler_B == len(MIN_OVERLAPS)).all()  # the largest draw picks the last one
    x1, y1, x2, y2 = windows_B4.unbind(1)
    assert (x1 >= canvas[0]).all()
    assert (y1 >= canvas[1]).all()
    assert (x2 <= canvas[2]).all()
    assert (y2 <= canvas[3]).all()
    assert ((x2 > x1) & (y2 > y1)).all()
    assert torch.equal(windows_B4, windows_B4.round())


def test_the_first_success_of_a_sampler_counts():
    """The object is on the left; so are the windows of trials 3 and 7, the others not."""
    draws_BN = torch.full((1, CROP_DRAWS), 0.5)
    trials = draws_BN[:, 1:].view(1, len(MIN_OVERLAPS), TRIALS, 4)
    trials[..., 0], trials[..., 1] = 0.0, LARGEST  # scale 0.5, aspect ratio 2
    trials[..., 2] = LARGEST  # far right
    trials[:, :, 3, 2], trials[:, :, 7, 2] = 0.1, 0.0
    draws_BN[:, 0] = 0.5  # samplers 0, 1 and 6 succeed: takes the second
    sampler_B, windows_B4 = crop((0, 0, 200, 200), [(0, 0, 90, 200)], draws_BN, min_scale=0.5)
    assert sampler_B.tolist() == [1]
    width, height = int(0.5 * 2**0.5 * 200), int(0.5 / 2**0.5 * 200)
    left, top = int(0.1 * (1 - 0.5 * 2**0.5) * 200), int(0.5 * (1 - 0.5 / 2**0.5) * 200)
    assert windows_B4.tolist() == [[left, top, left + width, top + height]]
