"""Damaged files end in a UserError of one line or in a counted problem, never otherwise."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.data.dataset import DetectionDataset, Request, pack
from ssd.data.voc import read_voc

Damage = Callable[[bytes, np.random.Generator], bytes]


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def flip_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = np.frombuffer(data, np.uint8).copy()
    damaged[rng.integers(len(data), size=rng.integers(1, 20))] ^= np.uint8(rng.integers(1, 256))
    return damaged.tobytes()


def flip_head(data: bytes, rng: np.random.Generator) -> bytes:
    return flip_bytes(data[:60], rng) + data[60:]


def cut_out(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(len(data), size=2))
    return data[:first] + data[last:]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    return data + truncate(data, rng)


def empty(data: bytes, rng: np.random.Generator) -> bytes:
    return b""


def noise(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(len(data))


def swap_number(data: bytes, rng: np.random.Generator) -> bytes:
    odd = ["NaN", "-1", "1e999", "99999999999", "0", "", "ten", "1e-320", "\u0661\u0662"]
    old = rng.choice([b">40<", b">30<", b">2<", b">3<", b">20<", b">25<"])
    return data.replace(old, f">{rng.choice(odd)}<".encode())


def entity_bomb(data: bytes, rng: np.random.Generator) -> bytes:
    levels = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    head = f'<!DOCTYPE annotation [<!ENTITY e0 "ha">{levels}]>'
    return (head.encode() + data).replace(b">cat<", b">&e9;<")


def external_entity(data: bytes, rng: np.random.Generator) -> bytes:
    head = b'<!DOCTYPE annotation [<!ENTITY secret SYSTEM "file:///etc/hostname">]>'
    return (head + data).replace(b">cat<", b">&secret;<")


def deep(data: bytes, rng: np.random.Generator) -> bytes:
    return b"<annotation>" + b"<size>" * 50_000 + b"</size>" * 50_000 + b"</annotation>"


ANY_FILE = [truncate, flip_bytes, flip_head, cut_out, repeat, empty, noise]
ANNOTATIONS = [(d, s) for d in ANY_FILE for s in range(4)]
ANNOTATIONS += [(swap_number, s) for s in range(12)]
ANNOTATIONS += [(d, 0) for d in (entity_bomb, external_entity, deep)]


def read_all(root: Path) -> list[str]:
    """Reads every image; returns the problems that were counted."""
    data = read_voc(root, ["trainval"], None)
    dataset = DetectionDataset(data.records, train_difficult=True)
    packed = pack([dataset[Request(0, index)] for index in range(len(data.records))])
    boxes, sizes = packed.boxes, packed.sizes.flip(1).repeat(1, 2)[:, None]
    assert bool(((boxes >= 0) & (boxes <= sizes)).all())
    odd = [f"{name}: {n}" for name, n in data.counts.items() if n and name != "objects"]
    return packed.problems + odd


def ends_well(root: Path) -> str:
    try:
        problems = read_all(root)
    except UserError as error:
        problems = [str(error)]
    assert all(len(problem.splitlines()) == 1 for problem in problems)
    return " ".join(problems)


@pytest.mark.parametrize(("damage", "seed"), ANNOTATIONS)
def test_damaged_annotation(voc, damage: Damage, seed: int):
    path = voc.fill(3).root / "Annotations/img01.xml"
    whole = path.read_bytes()
    path.write_bytes(damage(whole, np.random.default_rng(seed)))
    told = ends_well(voc.root)
    if damage in (empty, noise, truncate, entity_bomb, external_entity, deep):
        assert str(path) in told


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("damage", ANY_FILE)
@pytest.mark.parametrize("seed", range(2))
def test_damaged_image(voc, damage: Damage, suffix: str, seed: int):
    voc.fill(3)
    (voc.root / "JPEGImages/img01.jpg").unlink()
    path = voc.image("img01", width=41, suffix=suffix)
    whole = path.read_bytes()
    path.write_bytes(damage(whole, np.random.default_rng(seed)))
    told = ends_well(voc.root)
    if damage in (empty, noise, truncate):
        assert str(path) in told
    if damage is repeat:
        assert told == ""


@pytest.mark.parametrize("name", ["Annotations/img01.xml", "JPEGImages/img01.jpg"])
def test_a_folder_in_place_of_a_file(voc, name):
    path = voc.fill(3).root / name
    path.unlink()
    path.mkdir()
    told = ends_well(voc.root)
    assert str(path) in told or f"img01 has no image in {path.parent}" in told


@pytest.mark.parametrize("name", ["Annotations", "ImageSets/Main/trainval.txt", "JPEGImages"])
def test_a_missing_part(voc, name):
    path = voc.fill(3).root / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert str(path) in ends_well(voc.root)


def test_swapped_images_contradict_their_annotations(voc):
    root = voc.fill(3).root / "JPEGImages"
    first, second = root / "img00.jpg", root / "img01.jpg"
    pixels = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(pixels)
    told = ends_well(voc.root)
    assert f"{first}: image is 41x30, its annotation says 40x30" in told
    assert f"{second}: image is 40x30, its annotation says 41x30" in told


def test_undamaged_data_has_no_problem(voc):
    assert ends_well(voc.fill(3).root) == ""
