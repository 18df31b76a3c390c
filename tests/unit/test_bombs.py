"""Small files that stand for something huge, endless or outside are refused in one line.

Two dozen of them; all are read in one gigabyte of memory beyond what the process has.
"""

import io
import json
import os
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import torch

from ssd.common.errors import UserError
from ssd.common.untrusted import MOST_CLASSES, MOST_OBJECTS
from ssd.config import ModelConfig
from ssd.config.settings import read_config, to_yaml
from ssd.data.coco import read_coco
from ssd.data.image import read_image
from ssd.data.voc import read_voc
from ssd.evaluation.detections import read_detections
from ssd.model.weights import read_state_dict
from ssd.spikes.read import read_log
from ssd.training.initial import load_initial

MEMORY = 1 << 30


@pytest.fixture(autouse=True)
def bounded_memory():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def refusal(read, *arguments):
    with pytest.raises(UserError) as caught:
        read(*arguments)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 1000
    return message


LAUGHS = "[&a0 [x, x, x, x, x, x, x, x, x], " + ", ".join(
    f"&a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)
)
MERGES = "&a0 {x: 1}, " + ", ".join(
    f"&a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 12)
)
CONFIGS = {
    "a billion laughs": (f"data: {{classes: {LAUGHS}]}}", "aliases"),
    "a billion laughs as a section": (f"training: {LAUGHS}]", "aliases"),
    "merges of merges": (f"data: {{classes: [{MERGES}]}}", "aliases"),
    "a list that holds itself": ("data: {classes: &a [*a]}", "aliases"),
    "nested 100,000 times": ("data: " + "[" * 100_000, "recursion"),
    "a number of 20,000 hexadecimal digits": (
        "training: {seed: 0x" + "f" * 20_000 + "}",
        "digits",
    ),
    "a number of base 60": ("training: {seed: 1" + ":59" * 20_000 + "}", "digits"),
    "a number of 400 digits": ("optimizer: {lr: 1" + "0" * 400 + "}", "digits"),
    "a list of 1,001 splits": ("data: {train_split: [" + "a," * 1001 + "]}", "may have 1000"),
    "half a letter in a path": ('data: {root: "\\ud800"}', "surrogate"),
    "too many classes": (
        "data: {classes: [" + ",".join(f"c{n}" for n in range(MOST_CLASSES + 1)) + "]}",
        f"at most {MOST_CLASSES}",
    ),
    "a tag that does not fit": ("data: !!timestamp x", "does not fit its tag"),
    "half of a surrogate pair": ('data: {classes: ["\\ud800"]}', "surrogate"),
    "a section twice": ("data: {root: a}\ndata: {root: b}", "'data' is set twice: see line 1"),
    "a dotted name": ("data.root: a", "inside its section: data: {root: …}"),
    "a name of 5,000 letters": ("data:\n  ? " + "roots" * 1000, "no setting data.rootsroots"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configs(name):
    text, told = CONFIGS[name]
    Path("config.yaml").write_text(text)
    assert told in refusal(read_config, ["config.yaml"])


def test_as_many_classes_as_are_taken_are_read():
    names = [f"c{n}" for n in range(MOST_CLASSES)]
    Path("config.yaml").write_text(to_yaml(read_config([], {"data": {"classes": names}})))
    assert read_config(["config.yaml"]).data.classes == names


# annotations


def coco_file(root, change):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 20, 20]}],
    }
    change(content)
    (root / "annotations").mkdir()
    (root / "images/x").mkdir(parents=True)
    (root / "images/x/a.jpg").touch()
    (root / "annotations/x.json").write_text(json.dumps(content))


def many(entries, number, **more):
    entries += [entries[0] | {"id": n} | {k: f"{v}{n}" for k, v in more.items()} for n in number]


COCO = {
    "a million categories": (
        lambda c: many(c["categories"], range(10, 1_000_009), name="c"),
        f"1000000 categories, but at most {MOST_CLASSES}",
    ),
    "a crowded image": (
        lambda c: many(c["annotations"], range(2, MOST_OBJECTS + 2)),
        f"image id 7 has {MOST_OBJECTS + 1} objects, but at most {MOST_OBJECTS}",
    ),
    "sides of a billion": (
        lambda c: c["images"][0].update(width=10**9, height=10**9),
        "image is 1000000000x1000000000, but at most",
    ),
    "a name of half a pair": (lambda c: c["categories"][0].update(name="\ud800"), "name is '\\ud8"),
    "a name of 300 letters": (
        lambda c: c["images"][0].update(file_name="x" * 300),
        "is not a file below",
    ),
    "a folder with a NUL": (
        lambda c: c["images"][0].update(file_name="a\0/b"),
        "is not a file below",
    ),
}


@pytest.mark.parametrize("name", COCO)
def test_coco(tmp_path, name):
    change, told = COCO[name]
    coco_file(tmp_path, change)
    assert told in refusal(read_coco, tmp_path, ["x"], None)


def voc_file(root, stem, body, size=(40, 30)):
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "JPEGImages" / f"{stem}.jpg").touch()
    width, height = (
        f"<{side}>{n}</{side}>" for side, n in zip(("width", "height"), size, strict=True)
    )
    text = f"<annotation><size>{width}{height}</size>{body}</annotation>"
    (root / "Annotations" / f"{stem}.xml").write_text(text)
    with (root / "ImageSets/Main/x.txt").open("a") as image_list:
        image_list.write(f"{stem}\n")


def voc_object(name):
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


def test_voc_with_too_many_classes(tmp_path):
    for part in range(MOST_CLASSES // MOST_OBJECTS + 1):
        names = range(part * MOST_OBJECTS, min((part + 1) * MOST_OBJECTS, MOST_CLASSES + 1))
        voc_file(tmp_path, f"s{part}", "".join(voc_object(f"c{n}") for n in names))
    assert f"have {MOST_CLASSES + 1} classes" in refusal(read_voc, tmp_path, ["x"], None)
    assert len(read_voc(tmp_path, ["x"], ["c7"]).records) == MOST_CLASSES // MOST_OBJECTS + 1


@pytest.mark.parametrize(
    ("body", "size", "told"),
    [
        (voc_object("cat"), (10**9, 10**9), "at most 100000000 pixels"),
        (voc_object("cat"), ("1e300", 30), "at most 100000000 pixels"),
        (voc_object("cat") * (MOST_OBJECTS + 1), (40, 30), f"at most {MOST_OBJECTS} are"),
        (voc_object("x" * 1_000_000), (40, 30), "a name of at most 200 characters"),
        (voc_object("cat").replace("<xmin>1", "<xmin>" + "1" * 10**6), (40, 30), "not a number"),
        (" " * (1 << 22), (40, 30), "at most 4194304 are"),
        (f"&{'x' * 1_000_000};", (40, 30), "not well-formed XML"),
    ],
)
def test_voc(tmp_path, body, size, told):
    voc_file(tmp_path, "a", body, size)
    assert told in refusal(read_voc, tmp_path, ["x"], None)


# weights


def packed(state, **options):
    buffer = io.BytesIO()
    torch.save(state, buffer, **options)
    return buffer.getvalue()


def repacked(change, compression=zipfile.ZIP_STORED):
    """A file of 250 floats, whose parts `change` may replace by name."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(packed({"w": torch.arange(250.0)}))) as old,
        zipfile.ZipFile(buffer, "w", compression) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def claiming(number):
    """A change of the pickle: its 250 elements become `number`."""
    eight = b"\x8a\x08" + struct.pack("<q", number)
    return lambda name, old: old.replace(b"K\xfa", eight) if name.endswith(".pkl") else old


def test_an_archive_that_unpacks_to_a_thousand_times_its_size():
    elements = 2**26
    claim = claiming(elements)
    bomb = repacked(
        lambda name, old: bytes(4 * elements) if name.endswith("/0") else claim(name, old),
        zipfile.ZIP_DEFLATED,
    )
    assert len(bomb) < 2**18 + 2**17
    Path("bomb.pth").write_bytes(bomb)
    assert "unpacks to" in refusal(read_state_dict, Path("bomb.pth"))


@pytest.mark.parametrize("number", [251, 10**10, 10**15, 2**63 - 1, -1])
def test_tensors_that_claim_more_elements_than_there_are(number):
    Path("w.pth").write_bytes(repacked(claiming(number)))
    assert "cannot be read" in refusal(read_state_dict, Path("w.pth"))
    old = packed({"w": torch.arange(250.0)}, _use_new_zipfile_serialization=False)
    Path("w.pth").write_bytes(claiming(number)(".pkl", old))
    assert "cannot be read" in refusal(read_state_dict, Path("w.pth"))


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    "tensor",
    [
        torch.sparse_coo_tensor([[0]], [1.0], (10**15,), check_invariants=True),
        torch.empty(10**15, device="meta"),
        torch.zeros(2, dtype=torch.complex64),
    ],
    ids=["sparse", "meta", "complex"],
)
def test_tensors_that_no_model_can_take(tensor):
    torch.save({"w": tensor}, "w.pth")
    assert "has to hold a state_dict" in refusal(read_state_dict, Path("w.pth"))


def test_a_home_of_nobody():
    config = ModelConfig(weights="~nobody_of_that_name/w.pth")
    assert "there is no such file" in refusal(load_initial, None, config, ["cat"])


# files that are none


READERS = {
    "Annotations/a.xml": lambda root: read_voc(root, ["x"], None),
    "ImageSets/Main/x.txt": lambda root: read_voc(root, ["x"], None),
    "annotations/x.json": lambda root: read_coco(root, ["annotations/x.json"], None),
    "found.json": lambda root: read_detections(root / "found.json", [], ["cat"]),
    "metrics.jsonl": read_log,
    "a.jpg": lambda root: read_image(root / "a.jpg"),
    "w.pth": lambda root: read_state_dict(root / "w.pth"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("endless", ["pipe", "/dev/zero"])
def test_a_pipe_or_a_device_is_not_read(tmp_path, name, endless):
    voc_file(tmp_path, "a", voc_object("cat"))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if endless == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(endless)
    refusal(READERS[name], tmp_path)


def png_of(width, height):
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (10_001, 10_000), (1, 100_000_001)])
def test_an_image_of_absurd_size_is_refused_by_its_header(size):
    Path("a.png").write_bytes(png_of(*size))
    told = f"{size[0]}x{size[1]}, but at most 100000000 pixels"
    assert told in refusal(read_image, Path("a.png"))


def test_an_image_file_of_a_gigabyte_is_not_read():
    with Path("a.jpg").open("wb") as file:
        file.truncate(1 << 30)  # takes no room
    assert f"{1 << 30} bytes, but at most 800000000" in refusal(read_image, Path("a.jpg"))
