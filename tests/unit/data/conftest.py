"""A small VOC folder, written by the tests themselves."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

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
