import pytest
import torch
import torchvision
from torchvision.models.detection._utils import BoxCoder

from ssd.geometry.boxes import area, decode, encode, pairwise_iou, to_centre_form, to_corner_form


def random_boxes(*shape: int) -> torch.Tensor:
    corners = torch.rand(*shape, 2, 2)
    return torch.cat([corners.amin(-2), corners.amax(-2) + 0.01], -1)


def test_iou_equals_torchvisions():
    boxes, others = random_boxes(3, 7), random_boxes(50)
    expected = torch.stack([torchvision.ops.box_iou(image, others) for image in boxes])
    torch.testing.assert_close(pairwise_iou(boxes, others), expected)


def test_a_box_without_area_overlaps_nothing():
    padding = torch.zeros(1, 2, 4)
    padding[0, 1] = torch.tensor([0.5, 0.5, 0.2, 0.9])
    assert (pairwise_iou(padding, random_boxes(20)) == 0).all()


def test_area_of_turned_box_is_zero():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 3.0], [2.0, 0.0, 0.0, 3.0]])
    assert area(boxes).tolist() == [6.0, 0.0]


def test_conversions_are_inverse():
    boxes = random_boxes(20)
    torch.testing.assert_close(to_corner_form(to_centre_form(boxes)), boxes)


def test_encode_equals_torchvisions_and_decode_inverts_it():
    boxes, default_corners = random_boxes(100), random_boxes(100)
    coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
    default_boxes = to_centre_form(default_corners)
    encoded = encode(boxes, default_boxes)
    torch.testing.assert_close(encoded, coder.encode_single(boxes, default_corners))
    torch.testing.assert_close(decode(encoded, default_boxes), boxes, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iou_keeps_the_dtype(dtype):
    assert pairwise_iou(random_boxes(1, 2).to(dtype), random_boxes(3).to(dtype)).dtype == dtype
