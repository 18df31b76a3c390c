"""MODEL.md: what an exported file is, and how to run it."""

from __future__ import annotations

from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.common.sides import both, in_words
from ssd.common.untrusted import shown
from ssd.deploy.agreement import Agreement
from ssd.deploy.compare import Difference
from ssd.deploy.facts import OUTPUTS, Facts

CARD = "MODEL.md"
MARK = "<!-- written by `ssd export`, which writes it anew -->\n"


def card_of(file: Path) -> Path:
    """MODEL.md beside an exported file, or NAME.MODEL.md where that is of another file there."""
    card = file.parent / CARD
    if card.exists():
        text = card.read_text(encoding="utf-8", errors="replace")
        other = text.removeprefix(MARK).lstrip().partition("\n")[0].removeprefix("# ")
        if text.startswith(MARK) and other != file.name and (file.parent / other).exists():
            return file.with_name(f"{file.name}.{CARD}")
    return card


def check_card(file: Path) -> None:
    """Raises a UserError if the file's card would replace one that `ssd export` has not written."""
    card = card_of(file)
    if card.exists() and not card.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UserError(f"{card} would be overwritten: move it, or give another folder as --out")


def write_card(
    file: Path,
    facts: Facts,
    difference: Difference | Agreement,
    data: str,
    score: float | None,
    compiled: bool = False,
    change: str = "",
) -> Path:
    """Writes the card of an exported file; returns its path.

    Args:
        file: the exported file.
        facts: its metadata.
        difference: what the check of it has found.
        data: what it was trained on.
        score: mean average precision of its checkpoint, None if it was not evaluated.
        compiled: whether a .pt2 file is machine code.
        change: the score of the file beside that of the model, as `score_change` tells it.
    """
    known = "not evaluated" if score is None else f"{score:.4f}"
    own = "".join(f"| the file itself | {line} |\n" for line in change.splitlines())
    text = f"""{MARK}
# {file.name}

An SSD detector of {len(facts.classes)} classes: {shown(facts.classes, 100)}.

| | |
|---|---|
| trained on | {data} |
| run, step | {facts.run}, {facts.step} |
| mean average precision of that step | {known} |
| exported | {facts.date} |
| checked on {difference.images} images beside the model | {difference} |
{own}| licence of the weights | {facts.licence} |

## Input and output

{_input(facts)}

{_output(facts)}

## Use

{_use(file, facts, compiled)}
"""
    card = card_of(file)
    write_whole(card, text)
    return card


def _input(facts: Facts) -> str:
    if facts.pixels:
        return (
            "`images`: uint8 [B, H, W, 3], RGB, of any size; all images of a batch have the same. "
            f"They are resized to {in_words(facts.input_size)} pixels and normalised inside."
        )
    mean, std = (", ".join(f"{v:g}" for v in each) for each in (facts.pixel_mean, facts.pixel_std))
    height, width = both(facts.input_size)
    averaging = "averages" if facts.antialias else "does not average"
    return (
        f"`images`: float32 [B, 3, {height}, {width}], RGB. An image is "
        f"resized bilinearly without regard to its shape (shrinking {averaging} the pixels that "
        f"it skips), its mean ({mean}) is subtracted, and it is divided by {std}."
    )


def _output(facts: Facts) -> str:
    unit = "the images" if facts.pixels else "the input"
    boxes = f"`boxes`: float32 [B, {{}}, 4], x1, y1, x2, y2 in pixels of {unit}"
    if facts.form == "raw":
        columns = "`scores`: float32 [B, P, C], of which the first column is the background"
        return f"{boxes.format('P')}; {columns}. Overlapping boxes are not suppressed."
    return (
        f"{boxes.format('D')}; `scores`: float32 [B, D], best first; `labels`: int64 [B, D], from "
        "1 on in the order of the classes; `counts`: int64 [B], the number of detections of each "
        f"image. What is left of D is 0. Scores are above {facts.score_threshold:g}; of two boxes "
        f"of a class that overlap (IoU) by more than {facts.nms_iou:g}, the better one stays."
    )


def _use(file: Path, facts: Facts, compiled: bool) -> str:
    if file.suffix == ".pt2":
        load = "_inductor.aoti_load_package({})" if compiled else "export.load({}).module()"
        return _python(
            f"import {_packages(facts)}, torch",
            "model = torch." + load.format(f'"{file.name}"'),
            f"images = {_example(facts)}",
            "boxes, scores = model(torch.from_numpy(images))",
        )
    outputs = ", ".join(OUTPUTS[facts.form])
    if file.suffix == ".xml":
        runtime, run = "openvino", "model([images]).to_tuple()"
        hint = '{"INFERENCE_PRECISION_HINT": "f32"}'
        load = f'openvino.compile_model("{file.name}", "CPU", {hint})'
    else:
        runtime, run = "onnxruntime", 'model.run(None, {"images": images})'
        load = f'onnxruntime.InferenceSession("{file.name}")'
    text = f"With {runtime} alone:\n\n" + _python(
        f"import {_packages(facts)}, {runtime}",
        f"model = {load}",
        f"images = {_example(facts)}",
        f"{outputs} = {run}",
    )
    if facts.form == "raw":
        return text
    return (
        text
        + "\n\nOr with this package, which needs no PyTorch for it and resizes as in training:\n\n"
        + _python(
            "import ssd",
            f'detector = ssd.ExportedDetector("{file.name}")',
            'for name, score, box in detector.predict("photo.jpg"):',
            "    print(name, score, box)",
        )
    )


def _packages(facts: Facts) -> str:
    return "cv2" if facts.pixels else "numpy as np"


def _example(facts: Facts) -> str:
    if facts.pixels:
        return 'cv2.imread("photo.jpg", cv2.IMREAD_COLOR_RGB)[None]'
    height, width = both(facts.input_size)
    return f"np.zeros((1, 3, {height}, {width}), np.float32)  # yours"


def _python(*lines: str) -> str:
    return "\n".join(["```python", *lines, "```"])
