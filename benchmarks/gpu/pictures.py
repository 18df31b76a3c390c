"""The images for the pipelines: the user's, or ones drawn for the purpose.

The drawn ones are noise of all scales, like photographs, in JPEG files of 164 kB that take a core
1.78 ms to decode. The first 128 training images of COCO have 173 kB and take 1.77 ms (2026-11-28,
OpenCV 5.0.0, medians of turns in one process).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.gpu.rows import Options
from benchmarks.training import OBJECTS
from ssd.config import DataConfig
from ssd.data.source import load_data
from ssd.structures import DataSet, Record

COUNT = 512
DIFFERENT = 32  # drawn; the others are copies, which take as long to decode
WIDTH, HEIGHT = 640, 480
CLASSES = 20
MOST_OBJECTS = OBJECTS  # padded, they are as many as in the fixed batch
GRAIN = 14.0  # standard deviation of a pixel's own noise, of 255
QUALITY = 92
SEED = 0


def images_of(options: Options) -> DataSet:
    """At most 512 images.

    Raises:
        UserError: the user's data cannot be read.
    """
    if not options.root:
        return drawn(Path(options.folder) / "pictures", COUNT)
    data = DataConfig(options.format, options.root, options.train_split)  # type: ignore[arg-type]
    found = load_data(data, data.train_split, data.classes)
    return replace(found, records=found.records[:COUNT])


def drawn(folder: Path, count: int) -> DataSet:
    """Pictures with random objects; their files are written unless they are there."""
    paths = [folder / f"{index:04}.jpg" for index in range(count)]
    generator = np.random.default_rng(SEED)
    if not paths[-1].exists():  # the last that is written
        folder.mkdir(exist_ok=True)
        files = [jpeg(generator) for _ in range(min(count, DIFFERENT))]
        for index, path in enumerate(paths):
            path.write_bytes(files[index % len(files)])
    records = [record(path, np.random.default_rng([SEED, i])) for i, path in enumerate(paths)]
    return DataSet(records, tuple(f"class {number}" for number in range(1, CLASSES + 1)), {})


def jpeg(generator: np.random.Generator) -> bytes:
    """The file of a picture."""
    _, encoded = cv2.imencode(".jpg", picture(generator), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return encoded.tobytes()


def picture(generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A picture [H, W, 3]: coloured noise of seven octaves, finer ones weaker, and grey grain."""
    pixels = 128 + GRAIN * generator.standard_normal((HEIGHT, WIDTH, 1), np.float32)
    for octave in range(2, 9):
        cells = generator.normal(0, 120 / octave**1.5, (3 * 2**octave // 4, 2**octave, 3))
        size = WIDTH, HEIGHT
        pixels = pixels + cv2.resize(cells, size, interpolation=cv2.INTER_CUBIC)
    return pixels.clip(0, 255).astype(np.uint8)


def record(path: Path, generator: np.random.Generator) -> Record:
    """A record with up to `MOST_OBJECTS` objects."""
    objects = int(generator.integers(1, MOST_OBJECTS + 1))
    corners = generator.uniform(0, (WIDTH - 40, HEIGHT - 40), (objects, 2))
    far = np.minimum(corners + generator.uniform(30, 300, (objects, 2)), (WIDTH, HEIGHT))
    return Record(
        image_id=path.stem,
        path=path,
        width=WIDTH,
        height=HEIGHT,
        boxes=np.concatenate([corners, far], 1).astype(np.float32),
        labels=generator.integers(1, CLASSES + 1, objects),
        difficult=np.zeros(objects, np.bool_),
        crowd=np.zeros(objects, np.bool_),
    )
