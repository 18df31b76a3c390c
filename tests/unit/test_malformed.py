"""Malformed files of every kind are read, or refused in one line, in bounded memory.

Each kind starts from a sound file of its own, whose tokens are replaced by odd ones, dropped,
doubled or put elsewhere, and whose bytes are then cut off, flipped or encoded otherwise. The same
inputs come in every run. How many there are of which kind stands in `KINDS`, 1,820 in all; bombs,
which a mutation does not find, are in `test_bombs.py`.
"""

import hashlib
import io
import json
import re
import resource
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.config.settings import read_config, to_yaml
from ssd.data.coco import read_coco
from ssd.data.dataset import DetectionDataset, Request
from ssd.data.image import read_image
from ssd.data.voc import read_voc
from ssd.detect.load import config_of
from ssd.evaluation.detections import read_detections
from ssd.model.weights import read_state_dict
from ssd.run.checkpoint import load_checkpoint, save_checkpoint
from ssd.spikes.explain import as_json, explain
from ssd.spikes.read import read_log

LONGEST_MESSAGE = 1500
MEMORY = 1 << 30

TOKEN = re.compile(rb'"[^"\n]*"|<[^>]*>|[\w.+-]+|\s+|.', re.DOTALL)
ODD = [
    *(b"0", b"-1", b"1e400", b"-1e400", b"1e308", b"1e-320", b"NaN", b".nan", b"Infinity", b"0x1f"),
    *(b"9" * 30, b"9" * 5000, b"2.5", b"1_000", b"1:59:59", b"true", b"null", b"~", b'""', b"''"),
    *(b"[]", b"{}", b"[" * 3000, b'{"a":' * 3000, b"<a>" * 3000, b"[[[]]]", b"- - - ", b"x" * 3000),
    *(b'"\\ud800"', b'"\\u0000"', b"\0", b"\xff", "ä".encode("latin-1"), "\u0661".encode(), b"\n"),
    *(b"../../etc/passwd", b'"/etc/passwd"', b'"../a.jpg"', b'"id": 1, "id": 2', b"&lol;", b"&#0;"),
    *(b"<![CDATA[", b"<!--", b'<!DOCTYPE a [<!ENTITY lol SYSTEM "file:///etc/passwd">]>'),
    *(b"!!python/object/apply:os.system [x]", b"!!int ''", b"!!timestamp x", b"!!binary x"),
    *(
        b"&a [*a]",
        b"*a",
        b"<<: {a: 1}",
        b"? [a]",
        b"!!set {a}",
        b"---",
        b"%YAML 9.9",
        b"2020-13-45",
    ),
]


@st.composite
def mutants(draw, sound):
    """The bytes `sound` with one to three of its tokens changed, and at times their coding too."""
    tokens = TOKEN.findall(sound)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        odd = draw(st.sampled_from(ODD))
        match draw(st.integers(0, 5)):
            case 0 | 1 | 2:
                tokens[place] = odd
            case 3:
                tokens[place] = tokens[place] + odd
            case 4:
                tokens[place], tokens[other] = tokens[other], tokens[place]
            case _:
                tokens[place : place + draw(st.integers(1, 9))] = []
                tokens = tokens or [odd]
    return recoded(draw, b"".join(tokens))


def recoded(draw, content):
    """Most come out as they are; others cut off, with flipped bits, or in another encoding."""
    match draw(st.integers(0, 11)):
        case 0:
            return content[: draw(st.integers(0, len(content)))]
        case 1:
            return b"\xef\xbb\xbf" + content
        case 2:
            return content.decode(errors="replace").encode("utf-16")
        case 3:
            return flipped(draw, content)
    return content


def flipped(draw, content):
    damaged = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if damaged:
            damaged[draw(st.integers(0, len(damaged) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(damaged)


@st.composite
def damaged_bytes(draw, sound):
    """Binary content, cut, with flipped bits, numbers of its head set to extremes, or doubled."""
    place = draw(st.integers(0, len(sound) - 1) | st.integers(0, min(64, len(sound) - 1)))
    extreme = draw(
        st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\xff\xd0"])
    )
    match draw(st.integers(0, 4)):
        case 0:
            return sound[:place]
        case 1:
            return sound[:place] + extreme + sound[place + len(extreme) :]
        case 2:
            return sound[:place] + extreme + sound[place:]
        case 3:
            return sound[:place] + sound[place // 2 :]
    return flipped(draw, sound)


XML = b"""<annotation><filename>a.jpg</filename><size><width>40</width><height>30</height></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax>
<ymax>25</ymax></bndbox></object></annotation>"""
COCO = {
    "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
    "categories": [{"id": 3, "name": "cat"}, {"id": 9, "name": "dog"}],
    "annotations": [
        {
            "id": 1,
            "image_id": 7,
            "category_id": 9,
            "bbox": [1, 2, 20, 20],
            "area": 400,
            "iscrowd": 0,
        }
    ],
}
FOUND = [
    {"image_id": 7, "category_id": 9, "bbox": [1, 2.5, 20, 19], "score": 0.5},
    {"image_id": 7, "category": "cat", "bbox": [1, 2, 2e1, 19], "score": 1},
]


def picture(suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    return cv2.imencode(suffix, cv2.blur(pixels, (9, 9)))[1].tobytes()


def voc(root, changed):
    """Reads a VOC folder of which one file has other content."""
    files = {"Annotations/a.xml": XML, "ImageSets/Main/x.txt": b"a\n", "JPEGImages/a.jpg": JPEG}
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(files[name])

    def read(content):
        (root / changed).write_bytes(content)
        data = read_voc(root, ["x"], None)
        for index, record in enumerate(data.records):
            assert (record.boxes[:, 2:] > record.boxes[:, :2]).all()
            DetectionDataset(data.records, True, strict=True)[Request(0, index)]

    return files[changed], read


def coco(root):
    (root / "annotations").mkdir()
    (root / "images/x").mkdir(parents=True)
    (root / "images/x/a.jpg").write_bytes(JPEG)

    def read(content):
        (root / "annotations/x.json").write_bytes(content)
        for record in read_coco(root, ["x"], None).records:
            assert record.path.resolve().is_relative_to(root.resolve())
            assert np.isfinite(record.boxes).all()

    return json.dumps(COCO).encode(), read


def detections(root):
    def read(content):
        (root / "found.json").write_bytes(content)
        read_detections(root / "found.json", [7], ["cat", "dog"], [3, 9])

    return json.dumps(FOUND).encode(), read


def metrics(root):
    rows = [
        {"kind": "train", "step": step, "epoch": step // 6, "step_in_epoch": step % 6, "lr": 0.1}
        | {
            "steps_per_epoch": 6,
            "num_positives": 9,
            "num_images": 4,
            "divisor": 9,
            "loss": 1 / step,
        }
        for step in range(1, 25)
    ]

    def read(content):
        (root / "metrics.jsonl").write_bytes(content)
        json.dumps(as_json(explain(read_log(root))), allow_nan=False)

    return "\n".join(map(json.dumps, rows)).encode(), read


def config(root):
    def read(content):
        (root / "config.yaml").write_bytes(content)
        to_yaml(read_config([root / "config.yaml"]))

    return SHORT_CONFIG, read


SHORT_CONFIG = b"""data: {root: a, train_split: [x, y], classes: [cat, dog], workers: 0}
model:
  backbone: ssd7
  box_sizes: null
  pixel_mean: [1, 2.5, 3]
training: {epochs: 3, seed: 7, clip_norm: 1.5}
optimizer:
  lr: 1e-3
  milestones: [0.5, 0.8]
"""


def image(root, suffix):
    def read(content):
        (root / "a.jpg").write_bytes(content)
        read_image(root / "a.jpg")

    return picture(suffix), read


def saved(state, **options):
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def repacked(archive, pickled):
    """An archive of `torch.save` with another pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    return buffer.getvalue()


STATE = {"features.0.weight": torch.arange(20.0), "step": 7, "names": ["a"], "none": None}


def weights(root, pickled_only, **options):
    archive = saved({"a": STATE["features.0.weight"], "b": torch.ones(2, 3)}, **options)

    def read(content):
        (root / "a.pth").write_bytes(repacked(archive, content) if pickled_only else content)
        for tensor in read_state_dict(root / "a.pth").values():
            tensor.clone()

    with zipfile.ZipFile(io.BytesIO(saved(STATE))) as whole:
        pickled = whole.read("archive/data.pkl")
    return pickled if pickled_only else archive, read


def checkpoint(root, changed, consistent):
    """Reads a checkpoint of which one file has other content, with a manifest to suit."""
    folder = save_checkpoint(root, 7, {"model": STATE}, SHORT_CONFIG.decode(), ["cat", "dog"])
    manifest = json.loads((folder / "manifest.json").read_bytes())

    def read(content):
        (folder / changed).write_bytes(content)
        if consistent:
            sums = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest["files"][changed] = sums
            (folder / "manifest.json").write_text(json.dumps(manifest))
        config_of(load_checkpoint(folder), {})

    return (folder / changed).read_bytes(), read


JPEG = picture(".jpg")
KINDS = {
    "VOC annotation": (250, mutants, lambda root: voc(root, "Annotations/a.xml")),
    "VOC image list": (50, mutants, lambda root: voc(root, "ImageSets/Main/x.txt")),
    "COCO annotations": (250, mutants, coco),
    "detections": (200, mutants, detections),
    "metrics.jsonl": (200, mutants, metrics),
    "config file": (150, mutants, config),
    "checkpoint's manifest": (120, mutants, lambda root: checkpoint(root, "manifest.json", False)),
    "checkpoint's config": (50, mutants, lambda root: checkpoint(root, "config.yaml", True)),
    "checkpoint's state": (100, damaged_bytes, lambda root: checkpoint(root, "state.pt", True)),
    "JPEG": (120, damaged_bytes, lambda root: image(root, ".jpg")),
    "PNG": (100, damaged_bytes, lambda root: image(root, ".png")),
    "BMP": (80, damaged_bytes, lambda root: image(root, ".bmp")),
    "weights": (50, damaged_bytes, lambda root: weights(root, False)),
    "weights' pickle": (50, damaged_bytes, lambda root: weights(root, True)),
    "weights of old": (
        50,
        damaged_bytes,
        lambda root: weights(root, False, _use_new_zipfile_serialization=False),
    ),
}


@pytest.fixture(autouse=True)
def bounded_memory():
    """No more address space than there is plus `MEMORY`: a MemoryError is a failure."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_files_are_read_or_refused_in_one_line(tmp_path, kind):
    count, damage, target = KINDS[kind]
    sound, read = target(tmp_path)
    read(sound) if kind != "weights' pickle" else None
    told = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(damage(sound))
    def read_one(content):
        try:
            read(content)
        except UserError as error:
            told.append(str(error))
        else:
            told.append("")

    read_one()
    assert len(told) >= count
    assert sum(map(bool, told)) > count / 10
    for message in told:
        assert len(message.splitlines()) <= 1
        assert len(message) < LONGEST_MESSAGE
        message.encode()
