"""Folders may be linked to anywhere, single files only to what lies within the data."""

import json

import pytest

from ssd.common.errors import UserError
from ssd.data.coco import read_coco
from ssd.data.findings import Collect
from ssd.data.voc import read_voc

ANNOTATION = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 20, 20]}


@pytest.fixture
def coco(tmp_path):
    """Reads one image by its `file_name`, from below a linked root with linked images."""
    (tmp_path / "real/annotations").mkdir(parents=True)
    (tmp_path / "real/images").mkdir()
    (tmp_path / "elsewhere/inner").mkdir(parents=True)
    (tmp_path / "elsewhere/inner/a.jpg").touch()
    (tmp_path / "real/images/val").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root").symlink_to("real")

    def read(file_name):
        image = {"id": 7, "file_name": file_name, "width": 40, "height": 30}
        categories = [{"id": 3, "name": "cat"}]
        content = {"images": [image], "annotations": [ANNOTATION], "categories": categories}
        (tmp_path / "root/annotations/val.json").write_text(json.dumps(content))
        return read_coco(tmp_path / "root", ["val"], None).records[0].path

    return read


def test_linked_folders_are_read(coco, tmp_path):
    assert coco("inner/a.jpg") == tmp_path / "root/images/val/inner/a.jpg"


@pytest.mark.parametrize("target", ["inner/a.jpg", "../real/pool.jpg"])
def test_a_file_of_coco_may_be_a_link_within_the_data(coco, tmp_path, target):
    (tmp_path / "real/pool.jpg").touch()
    (tmp_path / "elsewhere/b.jpg").symlink_to(target)
    assert coco("b.jpg") == tmp_path / "root/images/val/b.jpg"


@pytest.mark.parametrize("target", ["/etc/passwd", "../secret.jpg", "../elsewhere_too/a.jpg"])
def test_a_file_of_coco_may_not_lead_out_of_the_data(coco, tmp_path, target):
    (tmp_path / "elsewhere/b.jpg").symlink_to(target)
    with pytest.raises(UserError, match="image id 7: .*val/b.jpg links to /.*, outside"):
        coco("b.jpg")


def test_a_subfolder_of_coco_may_not_lead_out_of_the_data(coco, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/a.jpg").touch()
    (tmp_path / "elsewhere/sub").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="image id 7: .*val/sub links to .*secret, outside"):
        coco("sub/a.jpg")


@pytest.mark.parametrize("name", ["JPEGImages", "Annotations", "ImageSets"])
def test_linked_folders_of_voc_are_read(voc, tmp_path, name):
    folder = voc.fill(3).root / name
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root").symlink_to(voc.root)
    assert len(read_voc(tmp_path / "root", ["trainval"], None).records) == 3


@pytest.mark.parametrize("name", ["JPEGImages/img01.jpg", "Annotations/img01.xml"])
def test_a_file_of_voc_may_be_a_link_within_the_data_alone(voc, tmp_path, name):
    path = voc.fill(3).root / name
    path.rename(voc.root / "inside")
    path.symlink_to("../inside")
    assert len(read_voc(voc.root, ["trainval"], None).records) == 3
    (voc.root / "inside").rename(tmp_path / "outside")
    path.unlink()
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match=rf"{name} links to /.*/outside, outside the data"):
        read_voc(voc.root, ["trainval"], None)
    told = Collect()
    assert len(read_voc(voc.root, ["trainval"], None, told).records) == 2
    assert [finding.kind for finding in told.findings] == ["link outside the data"]


@pytest.mark.parametrize("stem", ["../../secret", "/etc/passwd", "..", "a\0b", "x" * 5000])
def test_a_list_of_voc_names_nothing_outside(voc, stem):
    voc.fill(2).split("odd", [stem])
    with pytest.raises(UserError, match="has no image in") as caught:
        read_voc(voc.root, ["odd"], ["cat"])
    assert len(str(caught.value)) < 600


def test_names_that_differ_by_case_are_different_images(voc):
    for stem in ("a", "A"):
        voc.image(stem)
        voc.annotation(stem, [("cat", (1, 1, 9, 9))])
    voc.split("both", ["a", "A"])
    assert [record.image_id for record in read_voc(voc.root, ["both"], None).records] == ["a", "A"]
