"""Predictions as data sets in the layouts of Pascal VOC and YOLO, to correct and to train on.

They hold copies of the images. Boxes end at the borders of the image, and one without an area there
is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.sax.saxutils import escape

import cv2
import numpy as np

from ssd.common.errors import UserError
from ssd.data.names import IMAGE_SUFFIXES
from ssd.detect.listed import Add
from ssd.detect.piped import JPEG, PNG
from ssd.detect.result import Result
from ssd.detect.shots import Shot

QUALITY = 95  # of the JPEG of a frame
VOC, YOLO = "voc", "yolo"


def refuse_earlier(out: Path, formats: Sequence[str]) -> None:
    """Makes sure that no annotation is overwritten: the user may have corrected it.

    Raises:
        UserError: there are some.
    """
    for name in formats:
        folder = out / name
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"{folder} holds annotations, which may have been corrected: "
                "give another --out, or remove it"
            )


@contextmanager
def voc_folder(out: Path) -> Iterator[Add]:
    """Pascal VOC: ImageSets/Main/train.txt, JPEGImages and Annotations. Corners are 1-based."""
    home = out / VOC
    image_list = home / "ImageSets" / "Main" / "train.txt"
    image_list.parent.mkdir(parents=True, exist_ok=True)
    with image_list.open("w", encoding="utf-8") as lines:

        def add(shot: Shot, result: Result) -> None:
            image = write_image(shot, home / "JPEGImages")
            annotation = home / "Annotations" / f"{shot.name}.xml"
            annotation.parent.mkdir(parents=True, exist_ok=True)
            annotation.write_text(voc_xml(image.name, result), encoding="utf-8")
            lines.write(f"{shot.name}\n")

        yield add


def voc_xml(file_name: str, result: Result) -> str:
    """The annotation of an image."""
    height, width = result.pixels.shape[:2]
    objects = "".join(
        f"  <object>\n    <name>{escape(name)}</name>\n    <difficult>0</difficult>\n    <bndbox>"
        f"<xmin>{x1 + 1:.9g}</xmin><ymin>{y1 + 1:.9g}</ymin>"
        f"<xmax>{x2:.9g}</xmax><ymax>{y2:.9g}</ymax></bndbox>\n  </object>\n"
        for name, (x1, y1, x2, y2) in boxes_inside(result)
    )
    size = f"<width>{width}</width><height>{height}</height><depth>3</depth>"
    named = f"  <filename>{escape(file_name)}</filename>\n  <size>{size}</size>\n"
    return f"<annotation>\n{named}{objects}</annotation>\n"


@contextmanager
def yolo_folder(out: Path, classes: Sequence[str]) -> Iterator[Add]:
    """YOLO: images, labels, and classes.txt."""
    home = out / YOLO
    home.mkdir(parents=True, exist_ok=True)
    names = "".join(f"{name}\n" for name in classes)
    (home / "classes.txt").write_text(names, encoding="utf-8")
    index_of = {name: index for index, name in enumerate(classes)}

    def add(shot: Shot, result: Result) -> None:
        write_image(shot, home / "images")
        height, width = result.pixels.shape[:2]
        rows = [
            f"{index_of[name]} {(x1 + x2) / 2 / width:.9g} {(y1 + y2) / 2 / height:.9g} "
            f"{(x2 - x1) / width:.9g} {(y2 - y1) / height:.9g}\n"
            for name, (x1, y1, x2, y2) in boxes_inside(result)
        ]
        labels = home / "labels" / f"{shot.name}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(rows), encoding="utf-8")

    yield add


def boxes_inside(result: Result) -> list[tuple[str, list[float]]]:
    """The class and the corners, xyxy in pixels, of each object that has an area in the image."""
    height, width = result.pixels.shape[:2]
    corners_D4 = result.boxes.astype(np.float64).clip(0, [width, height] * 2)
    has_area_D = np.all(corners_D4[:, 2:] > corners_D4[:, :2], axis=1).tolist()
    rows = zip(result.names, corners_D4.tolist(), has_area_D, strict=True)
    return [(name, corners) for name, corners, has_area in rows if has_area]


def write_image(shot: Shot, folder: Path) -> Path:
    """Copies the file of a picture, or writes a frame as JPEG; returns the new file."""
    source, suffix = shot.source, ".jpg"
    if source.kind == "picture" and source.path.suffix.lower() in IMAGE_SUFFIXES:
        suffix = source.path.suffix
    elif shot.file is not None and shot.file.startswith(PNG):
        suffix = ".png"
    path = folder / f"{shot.name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.kind == "picture":
        shutil.copyfile(source.path, path)
    elif shot.file is not None and shot.file.startswith((JPEG, PNG)):
        path.write_bytes(shot.file)
    else:
        bgr = shot.pixels[..., ::-1]
        path.write_bytes(
            cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
        )
    return path
