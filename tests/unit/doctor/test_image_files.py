import hashlib
import struct

import cv2
import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.doctor.image_files import UPRIGHT, orientation_of, read_image_files


def with_exif(data, orientation, order="<", before=b"", other_entries=2):
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entries = [struct.pack(f"{order}HHIHH", 0x0100 + n, 3, 1, 7, 0) for n in range(other_entries)]
    entries.append(struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0))
    directory = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    content = b"Exif\0\0" + mark + struct.pack(f"{order}I", 8) + directory
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(content)) + content
    return data[:2] + before + segment + data[2:]


@pytest.fixture
def jpeg() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_equals_what_opencv_does(jpeg, order, orientation):
    data = with_exif(jpeg, orientation, order)
    assert orientation_of(data) == orientation
    turned = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert turned.shape[:2] == ((30, 20) if orientation >= 5 else (20, 30))


def test_orientation_after_another_segment(jpeg):
    assert orientation_of(with_exif(jpeg, 6, before=b"\xff\xe0\0\4ab")) == 6


def test_no_orientation(jpeg):
    png = b"\x89PNG\r\n\x1a\n" + with_exif(jpeg, 6)
    for data in (jpeg, png, b"", with_exif(jpeg, 0), with_exif(jpeg, 9)):
        assert orientation_of(data) == UPRIGHT


@pytest.mark.parametrize("length", range(20, 80))
def test_a_cut_off_exif_segment_does_no_harm(jpeg, length):
    assert orientation_of(with_exif(jpeg, 6)[:length]) in (UPRIGHT, 6)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_file_is_read_and_errors_are_kept(voc, workers):
    good, bad = voc.image("good", 40, 30), voc.image("bad")
    gone = good.with_name("gone.jpg")
    bad.write_bytes(b"")
    files = read_image_files([good, bad, gone], workers)
    assert list(files) == [good, bad, gone]
    assert (files[good].width, files[good].height) == (40, 30)
    assert files[good].sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    for path in (bad, gone):
        assert isinstance(files[path], UserError)
        assert str(path) in str(files[path])
