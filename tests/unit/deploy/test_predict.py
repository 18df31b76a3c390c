"""Many real pictures through an exported file, some of them odd."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ssd.deploy.predict import predict_exported
from ssd.detect.predict_files import Order

TURNED_RIGHT = 6


@pytest.mark.long
def test_all_readable_pictures_are_predicted_and_the_broken_one_is_named(
    exported, coco128, tmp_path
):
    path, detector = exported("ssd7", "detections", pixels=True)
    folder = tmp_path / "photos"
    folder.mkdir()
    sources = sorted(coco128.rglob("*.jpg"))[:128]
    assert len(sources) == 128
    for source in sources:
        shutil.copyfile(source, folder / source.name)
    broken, gray, turned, large = (folder / source.name for source in sources[:4])
    broken.write_bytes(broken.read_bytes()[:-2000])
    cv2.imwrite(str(gray), cv2.imread(str(gray), cv2.IMREAD_GRAYSCALE))
    upright = Image.open(turned).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = TURNED_RIGHT
    upright.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif, quality=95)
    cv2.imwrite(str(large), cv2.resize(cv2.imread(str(large)), (5472, 3648)))
    predicted = predict_exported(path, Order([str(folder)], Path("out"), 0.3))
    assert predicted.is_incomplete
    assert "left out 1 of 128 images" in predicted.told
    assert f"{broken}: image is cut off" in predicted.told
    found = json.loads(Path("out/detections.json").read_text())
    assert {one["image_id"] for one in found} == {source.stem for source in sources[1:]}
    assert len(list(Path("out").glob("*.jpg"))) == 127
    boxes = np.array([one["bbox"] for one in found if one["image_id"] == turned.stem])
    seen = np.asarray(Image.open(turned).transpose(Image.Transpose.ROTATE_270))
    (result,) = detector.results([("", seen)], 0.3)
    np.testing.assert_allclose(boxes[:, :2], result.boxes[:, :2], atol=0.05)
