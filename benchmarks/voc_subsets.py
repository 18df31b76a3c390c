"""Draws small data sets of one class from VOC 2007, to train and to judge a recipe on.

    python -m benchmarks.voc_subsets VOCdevkit OUT

Subset i, OUT/i, has a hundred images of `trainval` with objects of one class, and all images of
`test` with that class. Class and images are drawn with seed i. Objects of other classes are taken
out of the annotations, as of a set whose owner marks one kind of object.
"""

from __future__ import annotations

import argparse
import random
import shutil
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

IMAGES, SUBSETS = 100, 5


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes the subsets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("devkit", type=Path, help="folder that holds VOC2007")
    parser.add_argument("out", type=Path, help="folder to write to")
    flags = parser.parse_args(arguments)
    voc = flags.devkit / "VOC2007"
    train, test = (images_of_classes(voc, split) for split in ("trainval", "test"))
    for seed in range(SUBSETS):
        draw = random.Random(seed)
        name = draw.choice(sorted(name for name, images in train.items() if len(images) >= IMAGES))
        write(voc, flags.out / str(seed), name, draw.sample(train[name], IMAGES), test[name])
        print(
            f"{flags.out / str(seed)}: {name}, {IMAGES} to train on, {len(test[name])} to test on"
        )


def images_of_classes(voc: Path, split: str) -> dict[str, list[str]]:
    """The images of a split that have an object of each class that is not difficult."""
    found = defaultdict(list)
    for image in (voc / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
        objects = ET.parse(voc / "Annotations" / f"{image}.xml").iter("object")
        for name in {
            one.findtext("name", "") for one in objects if one.findtext("difficult") != "1"
        }:
            found[name].append(image)
    return found


def write(voc: Path, out: Path, name: str, train: Sequence[str], test: Sequence[str]) -> None:
    """Writes a VOC folder with the objects of one class, and the lists `train` and `test`."""
    lists = out / "ImageSets" / "Main"
    for folder in (lists, out / "JPEGImages", out / "Annotations"):
        folder.mkdir(parents=True)
    for split, images in (("train", train), ("test", test)):
        (lists / f"{split}.txt").write_text("\n".join(images) + "\n")
        for image in images:
            shutil.copy(voc / "JPEGImages" / f"{image}.jpg", out / "JPEGImages")
            annotation = ET.parse(voc / "Annotations" / f"{image}.xml")
            root = annotation.getroot()
            for one in root.findall("object"):
                if one.findtext("name") != name:
                    root.remove(one)
            annotation.write(out / "Annotations" / f"{image}.xml")


if __name__ == "__main__":
    main()
