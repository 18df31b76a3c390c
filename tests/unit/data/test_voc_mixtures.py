"""Any mixture of faults in real annotations gives the records of the clean ones."""

import dataclasses
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ssd.data.findings import Collect
from ssd.data.settle import settle
from ssd.data.voc import annotate_voc
from ssd.data.voc_images import VocSplit, own_split
from ssd.structures import DataSet

CORNERS = ("xmin", "ymin", "xmax", "ymax")
SIZE = (640, 480)
ENCODINGS = {
    "utf-8": lambda text: text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "gbk": lambda text: f"<?xml version='1.0' encoding='GBK'?>{text}".encode("gbk"),
    "wrong": lambda text: f"<?xml version='1.0' encoding='utf-16'?>{text}".encode(),
}


def read_sized(root: Path, split: VocSplit, told: Collect) -> DataSet:
    """Reads a split of images of one size, which is filled in where it is not given."""
    found = annotate_voc(root, [split], told)
    for index, image in enumerate(found.images):
        assert (image.width, image.height) in (SIZE, (0, 0))
        found.images[index] = image._replace(width=SIZE[0], height=SIZE[1])
    return settle(found, found.names, told)


def no_size(tree, draw):
    size = tree.find("size")
    match draw(st.sampled_from(["none", "zero", "empty"])):
        case "none":
            tree.remove(size)
        case "zero":
            size.find("width").text = size.find("height").text = "0"
        case _:
            size.find("width").text = ""


def difficult_in_words(tree, draw):
    for each in tree.findall("object"):
        word = draw(st.sampled_from(["", "Unspecified", "false", "No"]))
        each.find("difficult").text = word


def several_boxes(tree, draw):
    before = None
    for each in tree.findall("object"):
        same = before is not None and all(
            before.findtext(tag) == each.findtext(tag) for tag in ("name", "difficult")
        )
        if each.find("bndbox") is None:
            before = None
            continue
        if same and draw(st.booleans()):
            before.extend(each.findall("bndbox"))
            tree.remove(each)
        else:
            before = each


def other_shapes(tree, draw):
    for each in tree.findall("object"):
        if len(each.findall("bndbox")) == 1 and draw(st.booleans()):
            box = each.find("bndbox")
            xmin, ymin, xmax, ymax = (float(box.findtext(name)) for name in CORNERS)
            (xmin, xmax), (ymin, ymax) = sorted((xmin, xmax)), sorted((ymin, ymax))
            if xmin < xmax and ymin < ymax:
                each.remove(box)
                shape = draw(st.sampled_from(shapes(xmin - 1, ymin - 1, xmax, ymax)))
                each.append(ElementTree.fromstring(shape))


def shapes(x1, y1, x2, y2):
    """A box as polygons and as rotated boxes."""
    points = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
    numbered = (f"<x{n}>{x}</x{n}><y{n}>{y}</y{n}>" for n, (x, y) in enumerate(points))
    nested = (f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
    centre = f"<cx>{(x1 + x2) / 2}</cx><cy>{(y1 + y2) / 2}</cy>"
    turns = (x2 - x1, y2 - y1, 0), (y2 - y1, x2 - x1, -math.pi / 2)
    return [
        f"<polygon>{''.join(numbered)}</polygon>",
        f"<polygon>{''.join(nested)}</polygon>",
        *(
            f"<robndbox>{centre}<w>{w}</w><h>{h}</h><angle>{angle}</angle></robndbox>"
            for w, h, angle in turns
        ),
    ]


def swapped(tree, draw):
    for box in tree.iter("bndbox"):
        for side in draw(st.sets(st.sampled_from("xy"))):
            low, high = box.find(f"{side}min"), box.find(f"{side}max")
            low.text, high.text = high.text, low.text


FAULTS = [no_size, difficult_in_words, several_boxes, other_shapes, swapped]
LINES = {
    "stem": lambda name: name,
    "file": lambda name: f"{name}.jpg",
    "path": lambda name: f"JPEGImages/{name}.jpg",
    "upper case": lambda name: name.upper(),
    "Windows": lambda name: rf"JPEGImages\{name}.jpg",
    "elsewhere": lambda name: f"/home/me/project/JPEGImages/{name}.jpg",
    "annotation": lambda name: f"Annotations/{name}.xml",
}


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.generate],  # Shrinking takes minutes.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_mixture_of_faults_gives_the_clean_records(bccd, tmp_path_factory, data):
    draw = data.draw
    root = tmp_path_factory.mktemp("set")
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    stems = sorted(path.stem for path in (bccd / "Annotations").glob("*.xml"))
    stems = draw(st.lists(st.sampled_from(stems), min_size=1, max_size=4, unique=True))
    column = draw(st.sampled_from(["", " 1", "  -1"]))
    lines = []
    for stem in stems:
        (root / f"JPEGImages/{stem}.jpg").touch()
        tree = ElementTree.fromstring((bccd / f"Annotations/{stem}.xml").read_bytes())
        for fault in draw(st.permutations(FAULTS)):
            if draw(st.booleans()):
                fault(tree, draw)
        text = ElementTree.tostring(tree, encoding="unicode")
        encoded = ENCODINGS[draw(st.sampled_from(sorted(ENCODINGS)))](text)
        (root / f"Annotations/{stem}.xml").write_bytes(encoded)
        lines += [LINES[draw(st.sampled_from(sorted(LINES)))](stem) + column]
    lines += draw(st.lists(st.sampled_from(lines), max_size=2))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]))
    (root / "ImageSets/Main/x.txt").write_bytes("\r\n".join(lines).encode(encoding))
    told = Collect()
    found = read_sized(root, own_split(root, "x"), told)
    assert not [finding for finding in told.findings if finding.is_broken]
    same_records(found, clean(bccd, stems))


def clean(bccd: Path, stems: list[str]) -> DataSet:
    """The records of some images, read as they are."""
    split = VocSplit(bccd / "JPEGImages", bccd / "Annotations", bccd / "some", stems)
    data = read_sized(bccd, split, Collect())
    assert data.repairs == {}
    return data


def same_records(found: DataSet, expected: DataSet) -> None:
    assert found.classes == expected.classes
    for one, other in zip(found.records, expected.records, strict=True):
        for each in dataclasses.fields(one):
            values = getattr(one, each.name), getattr(other, each.name)
            if each.name == "path":
                assert values[0].name == values[1].name
            else:
                np.testing.assert_array_equal(*values, strict=isinstance(values[0], np.ndarray))


def test_the_clean_records_of_bccd_are_those_of_its_files(bccd):
    names = (bccd / "ImageSets/Main/trainval.txt").read_text().split()
    for record in clean(bccd, names).records:
        text = (bccd / f"Annotations/{record.image_id}.xml").read_text()
        boxes = [
            [int(re.search(rf"<{side}>(\d+)<", box)[1]) for side in CORNERS]
            for box in re.findall(r"<bndbox>.*?</bndbox>", text, re.DOTALL)
        ]
        sound = [box for box in boxes if box[2] > box[0] and box[3] > box[1]]
        np.testing.assert_array_equal(record.boxes, np.array(sound) - (1, 1, 0, 0))
