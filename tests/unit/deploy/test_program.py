""".pt2 files: read with trust alone, and completed by the suppression that they lack."""

import pickle
import shutil
import zipfile

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.deploy.export import file_contents
from ssd.deploy.runtime import ExportedDetector, ExportedFile
from ssd.deploy.ties import BOX_BOUND, SCORE_BOUND
from tests.unit.deploy.nets import assert_same, expected, facts_of, photo, random_detector

SIZES = [(97, 131), (33, 300), (211, 53)]


def written(path, compiled=False, pixels=False):
    """A program in a file, and its detector."""
    detector = random_detector()
    facts = facts_of(detector, "raw", pixels)
    path.write_bytes(file_contents(detector, facts, ".pt2", compiled)[".pt2"])
    return detector


@pytest.mark.parametrize("pixels", [False, True])
def test_it_finds_what_the_model_finds(tmp_path, pixels):
    path = tmp_path / "model.pt2"
    detector = written(path, pixels=pixels)
    with pytest.raises(UserError, match="could run code when it is read: if it is your own"):
        ExportedDetector(path)
    found = ExportedDetector(path, trust=True)
    for seed, size in enumerate(SIZES):
        pixels = photo(*size, seed)
        assert_same(expected(detector, pixels), found(pixels))


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("pixels", [False, True])
def test_a_compiled_program_finds_what_the_model_finds(tmp_path, pixels):
    path = tmp_path / "model.pt2"
    detector = written(path, True, pixels)
    moved = path.rename(tmp_path / "other.pt2")
    with pytest.raises(UserError, match="could run code when it is read"):
        ExportedDetector(moved)
    found = ExportedDetector(moved, trust=True)
    assert found.facts == facts_of(detector, "raw", pixels)
    for seed, size in enumerate(SIZES):
        image = photo(*size, seed)
        assert_same(expected(detector, image), found(image))
    batch = np.stack([photo(96, 96, seed) for seed in range(5)])
    if not pixels:
        batch = ((batch.transpose(0, 3, 1, 2) - 120) / 58).astype(np.float32)
    together = ExportedFile(moved, trust=True).run(batch)
    alone = ExportedFile(moved, trust=True).run(batch[4:])
    for bound, one, other in zip((BOX_BOUND, SCORE_BOUND), alone, together, strict=True):
        np.testing.assert_allclose(other[4], one[0], atol=bound, rtol=0)


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (self.target, "w"))


def test_damaged_and_foreign_files_end_in_one_line(tmp_path):
    path = tmp_path / "model.pt2"
    written(path)
    content = path.read_bytes()
    ran = tmp_path / "ran"
    with zipfile.ZipFile(tmp_path / "hostile.pt2", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps(Harmful(str(ran))))
    hostile = (tmp_path / "hostile.pt2").read_bytes()
    empty = zipfile.ZipFile(tmp_path / "empty.zip", "w")
    empty.close()
    kinds = [b"", b"hello", content[:-3000], content[:5000], content[5000:], hostile]
    for damaged in (*kinds, (tmp_path / "empty.zip").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="could run code when it is read"):
            ExportedDetector(path)
        assert not ran.exists()
        with pytest.raises(UserError, match=r"model\.pt2 is no file that can be run: ") as caught:
            ExportedDetector(path, trust=True)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"none\.pt2 cannot be read: No such file"):
        ExportedDetector(tmp_path / "none.pt2", trust=True)
