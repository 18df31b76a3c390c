import pytest

from ssd.common.errors import UserError
from ssd.config import DataConfig
from ssd.data.class_names import meant
from ssd.data.learnable import nothing_to_learn
from ssd.data.source import load_data


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["Cat"], "; probably meant: 'cat' for 'Cat'"),
        (["redcar", "DOG"], "; probably meant: 'Red  Car' for 'redcar', 'dog' for 'DOG'"),
        (["traffic lihgt"], "; probably meant: 'traffic light' for 'traffic lihgt'"),
        (["person"], ""),
    ],
)
def test_the_name_that_was_meant(given, hint):
    assert meant(given, ["dog", "cat", "Red  Car", "traffic light"]) == hint


@pytest.mark.parametrize("classes", [("Cat", "dog"), ("Cat",)])
def test_a_class_in_another_case_is_asked_for(voc, classes):
    voc.fill(4)
    config = DataConfig("voc", str(voc.root), "trainval", classes=list(classes))
    (finding,) = nothing_to_learn(load_data(config, "trainval", classes), config)
    assert finding.is_broken
    assert "; probably meant: 'cat' for 'Cat': " in finding.message


def test_a_category_in_another_case_is_asked_for(coco):
    coco.write()
    told = r"it has cat, emu, dog; probably meant: 'dog' for ' DOG': set data\.classes$"
    with pytest.raises(UserError, match=told):
        load_data(DataConfig("coco", str(coco.root)), "val", [" DOG"])
