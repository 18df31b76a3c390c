"""Small folders of data, written by the tests themselves, and the rows of steps."""

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from ssd.steps import StepRow

Object = tuple[str, tuple[object, object, object, object]]


def annotation_xml(width: object, height: object, objects: list[Object]) -> str:
    body = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
        for name, (x1, y1, x2, y2) in objects
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>wrong.jpg</filename>{size}{body}</annotation>"


class VocFolder:
    """Writes images, annotations and lists below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / folder).mkdir(parents=True)

    def image(self, stem: str, width: int = 40, height: int = 30, suffix: str = ".jpg") -> Path:
        seed = [ord(letter) for letter in stem]
        coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
        pixels = cv2.resize(coarse, (width, height))
        path = self.root / "JPEGImages" / f"{stem}{suffix}"
        path.write_bytes(cv2.imencode(suffix.lower(), pixels)[1].tobytes())
        return path

    def annotation(
        self, stem: str, objects: list[Object], width: object = 40, height: object = 30
    ) -> Path:
        return self.xml(stem, annotation_xml(width, height, objects))

    def xml(self, stem: str, text: str) -> Path:
        path = self.root / "Annotations" / f"{stem}.xml"
        path.write_text(text, encoding="utf-8")
        return path

    def split(self, name: str, lines: list[str]) -> Path:
        path = self.root / "ImageSets" / "Main" / f"{name}.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def fill(self, count: int) -> "VocFolder":
        """`count` images with 0, 1, 2, 0, … objects, listed in `trainval`."""
        stems = [f"img{number:02}" for number in range(count)]
        for number, stem in enumerate(stems):
            self.image(stem, width=40 + number)
            boxes: list[Object] = [("cat", (2, 3, 20, 25)), ("dog", (11, 1, 40, 30))]
            self.annotation(stem, boxes[: number % 3], width=40 + number)
        self.split("trainval", stems)
        return self


@pytest.fixture
def voc(tmp_path: Path) -> VocFolder:
    return VocFolder(tmp_path / "voc")


@pytest.fixture
def make_voc() -> Callable[[Path], VocFolder]:
    return VocFolder


class CocoFolder:
    """A COCO folder of two images and three categories with gaps; `content` may be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = root / "images" / "val"
        self.images.mkdir(parents=True)
        (root / "annotations").mkdir()
        for name, (width, height) in {"a.jpg": (40, 30), "b.jpg": (20, 50)}.items():
            coarse = np.random.default_rng(width).integers(0, 256, (4, 5, 3), np.uint8)
            pixels = cv2.resize(coarse, (width, height))
            (self.images / name).write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        self.content: dict[str, list[dict[str, object]]] = {
            "images": [
                {"id": 7, "file_name": "a.jpg", "width": 40, "height": 30},
                {"id": 3, "file_name": "b.jpg", "width": 20, "height": 50},
            ],
            "categories": [
                {"id": n, "name": name} for n, name in ((9, "dog"), (2, "cat"), (4, "emu"))
            ],
            "annotations": [
                self.annotation(1, 3, 9, [1, 2, 10, 20]),
                self.annotation(2, 7, 2, [3.5, 4.25, 8, 9], area=50.5),
                self.annotation(5, 3, 2, [0, 0, 20, 50], iscrowd=1),
            ],
        }

    @staticmethod
    def annotation(number: int, image: int, category: int, bbox: object, **more: object):
        return {"id": number, "image_id": image, "category_id": category, "bbox": bbox} | more

    def add(self, *args: object, **more: object) -> None:
        self.content["annotations"].append(self.annotation(*args, **more))

    def write(self, name: str = "instances_val.json") -> Path:
        path = self.root / "annotations" / name
        path.write_text(json.dumps(self.content))
        return path


@pytest.fixture
def coco(tmp_path: Path) -> CocoFolder:
    return CocoFolder(tmp_path / "coco")


@pytest.fixture(scope="session")
def step_row() -> Callable[..., StepRow]:
    """Makes the row of a step from the figures given; the others are unknown."""
    unknown = {each.name: math.nan if each.type == "float" else None for each in fields(StepRow)}
    return partial(replace, StepRow(**unknown | {"step": 1, "loss_under": {}}))
