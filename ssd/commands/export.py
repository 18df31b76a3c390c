"""`ssd export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ssd.commands.exported import SUFFIXES
from ssd.common.errors import UserError
from ssd.config.flags import CHECKPOINT_FLAG, CommandLine, given_settings

USAGE = (
    "ssd export RUN_DIR|CHECKPOINT --out FILE.onnx|FILE.xml|FILE.pt2|FILE.pth [--raw]\n"
    "                  [--preprocess] [--half|--int8] [--compile] [--images FOLDER]\n"
    "                  [--checkpoint best|last|STEP] [--section.key VALUE …]"
)
DESCRIPTION = """
Writes the detector of a run as a file for other programs, and checks it beside the model.

    ssd export runs/mine --out mine/model.onnx --preprocess
    ssd predict mine/model.onnx photo.jpg

FILE.onnx  ONNX of opset 18, for any batch: images in; boxes, scores, labels and counts out
FILE.xml   the same for OpenVINO, with its weights in FILE.bin
FILE.pt2   PyTorch's torch.export, with --raw only; --compile makes machine code of it
FILE.pth   the weights for torchvision's ssd300_vgg16, with the Python lines that load them

The first three run on 32 evaluation images in their own runtime. If scores differ by more than
0.0001 from the model's, boxes by more than 0.05 pixels, or more than 1% of the detections, the file
is kept as NAME.failed.onnx and the command ends with an error. MODEL.md beside the file says how to
use it.

--half and --int8 make an .onnx file smaller, and print the mean average precision of the model and
of the file on the evaluation data; more than 1 point of loss is said loudly. int8 is calibrated on
64 training images. docs/deploy.md has more.
"""
USED = (
    *("evaluation.score_threshold", "evaluation.nms_iou", "evaluation.top_k"),
    *("evaluation.max_detections", "data.root", "data.eval_split", "data.train_split"),
)

FORMS = ("raw", "preprocess", "compile", "half", "int8")


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status."""
    line = CommandLine(USAGE, DESCRIPTION, USED, USED)
    line.add("run", "RUN_DIR|CHECKPOINT", "run folder or checkpoint folder", nargs="?")
    line.add("--checkpoint", "best|last|STEP", CHECKPOINT_FLAG)
    line.add("--out", "FILE", "the file to write, which is not there yet")
    line.add("--raw", "", "scores and boxes of all default boxes, without NMS", bool)
    line.add("--preprocess", "", "take uint8 RGB images of any size; resize inside", bool)
    line.add("--half", "", "float16 in the network of an .onnx file", bool)
    line.add("--int8", "", "8-bit integers there, calibrated on training images", bool)
    line.add("--compile", "", "machine code for this kind of CPU in a .pt2 file", bool)
    line.add("--images", "FOLDER", "images to check and calibrate on (default: those of the run)")
    flags = line.parse(arguments)
    if flags.get("run") is None or flags.get("out") is None:
        raise UserError(f"a run and a file to write are needed: {USAGE}")
    run, out, which = Path(flags["run"]), Path(flags["out"]), flags.get("own_checkpoint")
    if out.suffix in SUFFIXES:
        from ssd.deploy.export import Wanted, export_graph

        images = None if flags.get("images") is None else Path(flags["images"])
        raw, pixels, compiled, half, int8 = (bool(flags.get(name)) for name in FORMS)
        if half and int8:
            raise UserError("--half and --int8 exclude each other")
        wanted = Wanted(
            raw, pixels, images, compiled, "float16" if half else "int8" if int8 else "float32"
        )
        print(export_graph(run, out, wanted, given_settings(flags), which))
        return 0
    for name in (*FORMS, "images"):
        if flags.get(name):
            raise UserError(f"--{name} has no effect on {out}: it is for {', '.join(SUFFIXES)}")
    from ssd.detect.export import export

    lines, using = export(run, out, which)
    print(f"{lines}\n# {using}\n# written: {out}")
    return 0
