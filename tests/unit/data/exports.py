"""Writes the same images and objects in the layouts of many tools."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

ROLES = {"train": "train", "val": "valid"}


@dataclass
class Item:
    """An image file, its size, and its objects: class and VOC's corners (1-based, inclusive)."""

    path: Path
    width: int
    height: int
    objects: list[tuple[str, tuple[int, int, int, int]]]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def copy(item, folder, stem=None):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(item.path, folder / f"{stem or item.path.stem}.jpg")


def xml(item, stem=None):
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for name, (a, b, c, d) in item.objects
    )
    size = f"<size><width>{item.width}</width><height>{item.height}</height></size>"
    name = f"<filename>{stem or item.path.stem}.jpg</filename>"
    return f"<annotation>{name}{size}{objects}</annotation>"


def coco(items, names, folder=""):
    """COCO's file; its boxes are VOC's, taken as pixels from 0."""
    images, annotations = [], []
    for number, item in enumerate(items, 1):
        image = {"id": number, "file_name": folder + item.path.name}
        images.append(image | {"width": item.width, "height": item.height})
        for name, (a, b, c, d) in item.objects:
            box = [a - 1, b - 1, c - a + 1, d - b + 1]
            entry = {"id": len(annotations) + 1, "image_id": number, "bbox": box, "iscrowd": 0}
            entry |= {"category_id": names.index(name) + 1, "area": box[2] * box[3]}
            annotations.append(entry)
    categories = [{"id": place, "name": name} for place, name in enumerate(names, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def rows(item, names):
    """YOLO's rows, with the six digits that most tools write."""
    lines = []
    for name, (a, b, c, d) in item.objects:
        x, y, w, h = (a - 1 + c) / 2, (b - 1 + d) / 2, c - a + 1, d - b + 1
        sides = (x / item.width, y / item.height, w / item.width, h / item.height)
        lines.append(f"{names.index(name)} " + " ".join(f"{side:.6f}" for side in sides))
    return "".join(f"{line}\n" for line in lines)


def voc(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / "JPEGImages")
            write(root / "Annotations" / f"{item.path.stem}.xml", xml(item))
        stems = "".join(f"{item.path.stem}\n" for item in items)
        write(root / "ImageSets" / "Main" / f"{split}.txt", stems)


def kaggle_voc(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / split / "images")
            write(root / split / "annotations" / f"{item.path.stem}.xml", xml(item))


def kaggle_split_below(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / "images" / split)
            write(root / "annotations" / split / f"{item.path.stem}.xml", xml(item))


def roboflow_voc(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / ROLES[split])
            write(root / ROLES[split] / f"{item.path.stem}.xml", xml(item))
    write(root / "README.roboflow.txt", "exported on 1 May\n")


def roboflow_coco(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / ROLES[split])
        content = coco(items, names)
        content["categories"].insert(0, {"id": 0, "name": "cells", "supercategory": "none"})
        for category in content["categories"][1:]:
            category["supercategory"] = "cells"
        write(root / ROLES[split] / "_annotations.coco.json", json.dumps(content))


def roboflow_yolo(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / ROLES[split] / "images")
            write(root / ROLES[split] / "labels" / f"{item.path.stem}.txt", rows(item, names))
    lines = (
        f"train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: {len(names)}"
    )
    write(root / "data.yaml", f"{lines}\nnames: {json.dumps(names)}\n")


def ultralytics(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / "images" / split)
            write(root / "labels" / split / f"{item.path.stem}.txt", rows(item, names))
    listed = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    home = "path: ../datasets/cells\ntrain: images/train\nval: images/val\ntest:\n"
    write(root / "cells.yaml", f"{home}names:\n{listed}")


def list_files_yolo(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / "images")
            write(root / "labels" / f"{item.path.stem}.txt", rows(item, names))
        write(root / f"{split}.txt", "".join(f"./images/{item.path.name}\n" for item in items))
    write(root / "data.yaml", f"train: train.txt\nval: [val.txt]\nnames: {json.dumps(names)}\n")


def cvat_voc(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / "JPEGImages")
            write(root / "Annotations" / f"{item.path.stem}.xml", xml(item))
        listed = "".join(f"{item.path.stem}\n" for item in items)
        write(root / "ImageSets" / "Main" / f"{split.title()}.txt", listed)
    write(root / "labelmap.txt", "# label:color_rgb:parts:actions\nRBC:1,2,3::\n")


def cvat_coco(root, parts, names):
    for split, items in parts.items():
        for item in items:
            copy(item, root / "images" / split)
        content = json.dumps(coco(items, names))
        write(root / "annotations" / f"instances_{split}.json", content)


def cvat_yolo(root, parts, names):
    given = f"classes = {len(names)}\nnames = data/obj.names\nbackup = backup/\n"
    for key, (split, items) in zip(("train", "valid"), parts.items(), strict=True):
        folder = root / f"obj_{split}_data"
        for item in items:
            copy(item, folder)
            write(folder / f"{item.path.stem}.txt", rows(item, names))
        listed = "".join(f"data/{folder.name}/{item.path.name}\n" for item in items)
        write(root / f"{key}.txt", listed)
        given += f"{key} = data/{key}.txt\n"
    write(root / "obj.data", given)
    write(root / "obj.names", "".join(f"{name}\n" for name in names))


def one_part(function):
    """A layout without splits, of all images."""

    def whole(root, parts, names):
        function(root, [item for items in parts.values() for item in items], names)

    return whole


@one_part
def label_studio_voc(root, items, names):
    for item in items:
        copy(item, root / "images")
        write(root / "Annotations" / f"{item.path.stem}.xml", xml(item))


@one_part
def label_studio_coco(root, items, names):
    for item in items:
        copy(item, root / "images")
    write(root / "result.json", json.dumps(coco(items, names, "images\\")))


@one_part
def label_studio_yolo(root, items, names):
    for item in items:
        copy(item, root / "images")
        write(root / "labels" / f"{item.path.stem}.txt", rows(item, names))
    write(root / "classes.txt", "\n".join(names))
    write(root / "notes.json", json.dumps({"categories": [], "info": {}}))


@one_part
def labelimg_voc(root, items, names):
    for item in items:
        copy(item, root)
        write(root / f"{item.path.stem}.xml", xml(item))


@one_part
def labelimg_yolo(root, items, names):
    for item in items:
        copy(item, root)
        write(root / f"{item.path.stem}.txt", rows(item, names))
    write(root / "classes.txt", "\n".join(names) + "\n")


@one_part
def vott(root, items, names):
    for item in items:
        copy(item, root / "JPEGImages")
        write(root / "Annotations" / f"{item.path.stem}.xml", xml(item))
    for name in names:
        for role, part in (("train", items[:14]), ("val", items[14:])):
            has = [any(own == name for own, _ in item.objects) for item in part]
            lines = [f"{i.path.name} {1 if h else -1}\n" for i, h in zip(part, has, strict=True)]
            write(root / "ImageSets" / "Main" / f"{name}_{role}.txt", "".join(lines))
    write(root / "pascal_label_map.pbtxt", "item {}\n")


SPLIT = {
    "voc": voc,
    "kaggle_voc": kaggle_voc,
    "kaggle_split_below": kaggle_split_below,
    "roboflow_voc": roboflow_voc,
    "roboflow_coco": roboflow_coco,
    "roboflow_yolo": roboflow_yolo,
    "ultralytics": ultralytics,
    "list_files_yolo": list_files_yolo,
    "cvat_voc": cvat_voc,
    "cvat_coco": cvat_coco,
    "cvat_yolo": cvat_yolo,
    "vott": vott,
}
WHOLE = {
    "label_studio_voc": label_studio_voc,
    "label_studio_coco": label_studio_coco,
    "label_studio_yolo": label_studio_yolo,
    "labelimg_voc": labelimg_voc,
    "labelimg_yolo": labelimg_yolo,
}
