import hashlib
import io
import random

import numpy as np
import pytest
from PIL import Image

from ssd.common.errors import UserError
from ssd.data.image import decode_image, try_image
from ssd.doctor.image_files import read_image_files
from ssd.structures import Record

NOTHING = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0, bool)


@pytest.mark.parametrize("workers", [1, 3])
def test_every_file_is_read_and_errors_are_kept(voc, workers):
    good, other, bad = voc.image("good"), voc.image("other", width=50), voc.image("bad")
    gone = good.with_name("gone.jpg")
    bad.write_bytes(b"")
    paths = [good, other, bad, gone, good]
    records = [Record(path.stem, path, 40, 30, *NOTHING) for path in paths]
    files = read_image_files(records, workers)
    assert list(files) == paths[:4]
    assert files[good] == hashlib.sha256(good.read_bytes()).hexdigest()
    assert "image is 50x30, its annotation says 40x30" in str(files[other])
    for path in (other, bad, gone):
        assert isinstance(files[path], UserError)
        assert str(path) in str(files[path])


def error_of(decode, record, data):
    try:
        decode(record, data)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_is_readable_exactly_if_it_can_be_decoded(mode, progressive, tmp_path):
    """Whatever is cut off, left out or changed, and whatever size or orientation is expected."""
    rng, chance = np.random.default_rng(0), random.Random(0)
    told = set()
    for trial in range(150):
        width, height = (int(side) for side in rng.integers(17, 90, 2))
        file = io.BytesIO()
        noise = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        noise.convert(mode).save(file, "JPEG", progressive=progressive)
        data = bytearray(file.getvalue())
        start = chance.randrange(len(data))
        if trial % 5 == 1:
            del data[start:]
        elif trial % 5 == 2:
            data[start:] = b"\xff\xd9"
        elif trial % 5 == 3:
            del data[start : start + chance.randrange(1, 500)]
        elif trial % 5 == 4:
            data[start] ^= 1 << chance.randrange(8)
        orientation = chance.choice([1, 3, 6, 8])
        turned = (height, width) if orientation > 4 else (width, height)
        size = turned if trial % 10 else turned[::-1]
        record = Record("a", tmp_path / "a.jpg", *size, *NOTHING, orientation=orientation)
        error = error_of(decode_image, record, bytes(data))
        assert error_of(try_image, record, bytes(data)) == error
        told.add(error and error.partition(": image ")[2][:8])
    assert len(told) > 2  # readable, cut off, of another size
