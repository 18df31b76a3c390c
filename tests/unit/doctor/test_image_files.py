import hashlib

import numpy as np
import pytest

from ssd.common.errors import UserError
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
