"""A config of each backbone trains for two steps and evaluates; the others are built."""

import json
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
import torch
import torchvision

from ssd.config.model import Backbone
from ssd.config.settings import read_config
from ssd.data.coco import read_coco
from ssd.model import weights
from ssd.model.foreign import COCO_CATEGORIES
from ssd.model.ssd import build_model
from ssd.training.start import train

VOC_CLASSES = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
]
COCO = {number: name for number, name in enumerate(COCO_CATEGORIES, start=1) if name != "N/A"}
# Configs that go on top of another one, and which.
ON_TOP_OF = {
    "imagenet_weights.yaml": "custom_voc.yaml",
    "plus.yaml": "ssd300_vgg16_coco.yaml",
    "spikes_question.yaml": "spikes.yaml",
    "ssdlite_weights.yaml": "custom_voc.yaml",
    "torchvision_weights.yaml": "custom_coco.yaml",
}


def picture(path, seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", cv2.resize(coarse, (120, 90)))[1].tobytes())


def write_voc(root, lists, classes):
    """Lists of pictures in VOC's layout; the classes are dealt out to the pictures of each list."""
    for name, stems in lists.items():
        for seed, stem in enumerate(stems):
            picture(root / "JPEGImages" / f"{stem}.jpg", seed)
            objects = "".join(
                f"<object><name>{one}</name><bndbox><xmin>{5 + 9 * place}</xmin><ymin>10</ymin>"
                f"<xmax>{40 + 9 * place}</xmax><ymax>{50 + seed}</ymax></bndbox></object>"
                for place, one in enumerate(classes[seed :: len(stems)])
            )
            size = "<size><width>120</width><height>90</height></size>"
            path = root / "Annotations" / f"{stem}.xml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"<annotation>{size}{objects}</annotation>")
        path = root / "ImageSets" / "Main" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(stems))


def write_coco(root, split, first):
    """Three pictures and an annotation file with COCO's eighty categories."""
    images = [
        {"id": first + n, "file_name": f"{first + n}.jpg", "width": 120, "height": 90}
        for n in range(3)
    ]
    for image in images:
        picture(root / "images" / split / image["file_name"], image["id"])
    annotations = [
        {
            "id": number,
            "image_id": first + number % 2,  # the third has none
            "category_id": category,
            "bbox": [number, 5, 30 + number, 40],
            "area": 40 * (30 + number),
            "iscrowd": int(number == 4),
        }
        for number, category in enumerate(list(COCO)[::16])
    ]
    categories = [{"id": number, "name": name} for number, name in COCO.items()]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    voc, coco = (tmp_path_factory.mktemp(name) for name in ("voc", "coco"))
    lists = {"trainval": ["a", "b", "c"], "test": ["d", "e", "f"]}
    write_voc(voc, lists, VOC_CLASSES)
    write_voc(
        voc / "VOC2007", {name: [f"2007{s}" for s in lists[name]] for name in lists}, VOC_CLASSES
    )
    write_voc(voc / "VOC2012", {"trainval": ["2012a", "2012b"]}, VOC_CLASSES[:4])
    for number, split in enumerate(("train", "val", "train2017", "val2017")):
        write_coco(coco, split, 100 * (number + 1))
    return {"voc": voc, "coco": coco}


TRAINED = {  # a config for each backbone, two with weights for the whole detector, and what differs
    "quickstart.yaml": {},
    "custom_voc.yaml": {"backbone": "vgg16_bn"},
    "ssd300_vgg16_voc.yaml": {},
    "ssd300_resnet50_coco.yaml": {},
    "ssd320_mobilenet_v3_coco.yaml": {},
    "torchvision_weights.yaml": {},
    "ssdlite_weights.yaml": {},
}


def pytest_generate_tests(metafunc):
    configs = metafunc.config.rootpath / "configs"
    names = sorted(path.name for path in configs.glob("*.yaml"))
    if "config_name" in metafunc.fixturenames:
        metafunc.parametrize("config_name", names)


def blank_weights(network):
    """What torchvision would fetch, by names and shapes; the values are nothing special."""
    detector = network.startswith("ssd")
    make = getattr(torchvision.models.detection if detector else torchvision.models, network)
    with torch.device("meta"):
        model = make(weights=None, **({"weights_backbone": None} if detector else {}))
    return {
        name: torch.full(tensor.shape, float("var" in name), dtype=tensor.dtype)
        for name, tensor in model.state_dict().items()
    }


@pytest.fixture
def config_of(repository):
    def read(name):
        below = [ON_TOP_OF[name]] if name in ON_TOP_OF else []
        return read_config([repository / "configs" / file for file in (*below, name)])

    return read


def test_a_config_builds_its_model(config_name, config_of):
    """On the meta device: shapes without numbers."""
    config, num_classes = config_of(config_name).model, 21
    if config.backbone.startswith("timm:"):
        pytest.importorskip("timm", reason="needs timm: pip install timm")
    with torch.device("meta"):
        model = build_model(config, num_classes).eval()
        predictions = model(torch.empty(1, 3, config.input_size, config.input_size))
    boxes = len(model.default_boxes)
    assert predictions.logits.shape == (1, boxes, num_classes)
    assert predictions.locations.shape == (1, boxes, 4)
    if config.backbone == "vgg16" and config.box_sizes is None:
        assert boxes == {300: 8732, 512: 24564}[config.input_size]


def test_every_backbone_is_trained(config_of):
    backbones = {
        other.get("backbone") or config_of(n).model.backbone for n, other in TRAINED.items()
    }
    assert backbones == set(get_args(Backbone))


@pytest.mark.parametrize("name", TRAINED)
def test_a_config_trains_and_evaluates(name, config_of, roots, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "fetch", lambda _, network, origin: blank_weights(network))
    config = config_of(name)
    config = replace(config, model=replace(config.model, **TRAINED[name]))
    kind = "coco" if config.evaluation.metric == "coco" else "voc"
    given = {"format": kind}
    if config.data.format == "auto":
        given = {"train_split": "train", "eval_split": "val"} if kind == "coco" else {}
    config = replace(
        config,
        data=replace(config.data, **given, root=str(roots[kind]), workers=0),
        training=replace(config.training, steps=2, batch_size=1, device="cpu"),
        evaluation=replace(config.evaluation, every_epochs=0),
    )
    assert train(config, tmp_path / "run", "never") == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["kind"] for row in rows] == ["train", "train", "eval"]
    assert not any(row["skipped"] for row in rows[:2])
    assert rows[0]["loss"] + rows[1]["loss"] > 0
    result = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert result["metric"] == config.evaluation.metric
    assert result["num_images"] == 3
    assert ("coco" in result) == (config.evaluation.metric == "coco")


def test_the_pictures_that_have_no_object_are_there(roots):
    data = read_coco(roots["coco"], ["val2017"], None)
    assert [len(record.labels) for record in data.records] == [3, 2, 0]
    assert data.category_ids == tuple(COCO)
    assert len(data.classes) == 80
