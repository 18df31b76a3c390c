"""A run that is exported, and its file evaluated and predicted with, by three packages too."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install '.[export]'")
pytest.importorskip("onnxscript", reason="needs onnxscript: pip install '.[export]'")

# Nothing but the standard library, one runtime with what it needs, NumPy and OpenCV.
ALONE = """
import sys
NEEDED = {"ssd", "numpy", "cv2", *sys.argv.pop(1).split()}

class Hidden:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in NEEDED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)

sys.meta_path.insert(0, Hidden())
from ssd.commands.main import ssd
sys.exit(ssd())
"""


RUNTIMES = {
    ".onnx": "onnxruntime flatbuffers google packaging",
    ".xml": "openvino openvino_telemetry packaging",
}


@pytest.fixture(scope="module")
def deployed(tool, small_shapes, tmp_path_factory):
    """A folder with a run, its exported file, and the flags of its data."""
    home = tmp_path_factory.mktemp("deployed")
    data = ["--data.format", "voc", "--data.root", str(small_shapes), "--data.workers", "0"]
    small = ["--model.input_size", "96", "--training.batch_size", "4", "--training.device", "cpu"]
    run, file = home / "run", home / "file" / "model.onnx"
    done = tool("train.py", *data, *small, "--training.steps", "20", "--out", run)
    assert done.returncode == 0, done.stderr
    done = tool("export.py", run, "--checkpoint", "last", "--preprocess", "--out", file)
    assert done.returncode == 0, done.stderr
    assert "checked on 8 images beside the model" in done.stdout
    assert (file.parent / "MODEL.md").exists()
    return run, file, data


def mean(folder):
    return json.loads((folder / "evaluation.json").read_text())["mAP"]


def test_the_file_has_the_mean_average_precision_of_the_run(deployed, tool, tmp_path):
    run, file, data = deployed
    exact = ["--training.precision", "fp32", "--training.device", "cpu", "--out", "run"]
    done = tool("evaluate.py", run, "--checkpoint", "last", *exact)
    assert done.returncode == 0, done.stderr
    done = tool("evaluate.py", file, *data[:-2], "--out", "file")
    assert done.returncode == 0, done.stderr
    assert f"using {file}" in done.stdout
    assert mean(tmp_path / "file") == pytest.approx(mean(tmp_path / "run"), abs=1e-4)
    assert mean(tmp_path / "file") > 0
    program = tmp_path / "program" / "model.pt2"
    done = tool("export.py", run, "--checkpoint", "last", "--raw", "--out", program)
    assert done.returncode == 0, done.stderr
    done = tool("evaluate.py", program, *data[:-2], "--trust", "--out", "program_file")
    assert done.returncode == 0, done.stderr
    assert mean(tmp_path / "program_file") == pytest.approx(mean(tmp_path / "run"), abs=1e-4)


@pytest.mark.parametrize("flag", ["--half", "--int8"])
def test_the_score_of_a_smaller_file_is_told(deployed, tool, tmp_path, flag):
    run, whole, data = deployed
    done = tool("export.py", run, flag, "--checkpoint", "last", "--preprocess", "--out", "x.onnx")
    assert done.returncode == 0, done.stderr
    before, after = re.search(
        r"mAP on 8 images: (\S+) in float32, (\S+) in (?:float16|int8)\n", done.stdout
    ).groups()
    assert (tmp_path / "x.onnx").stat().st_size < 0.7 * whole.stat().st_size
    for file, told in ((whole, before), ("x.onnx", after)):
        done = tool("evaluate.py", file, *data[:-2], "--out", told)
        assert done.returncode == 0, done.stderr
        assert mean(tmp_path / told) == pytest.approx(float(told), abs=1e-4)


@pytest.fixture
def photos(small_shapes, tmp_path):
    """Pictures of all kinds, and one that is cut off."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for path in sorted((small_shapes / "JPEGImages").iterdir())[:3]:
        shutil.copy(path, folder)
    cv2.imwrite(str(folder / "gray.png"), np.arange(3000, dtype=np.uint8).reshape(50, 60))
    (folder / "bad.jpg").write_bytes(next(folder.iterdir()).read_bytes()[:-400])
    return folder


@pytest.mark.parametrize("suffix", RUNTIMES)
def test_three_packages_are_enough_to_predict(deployed, tool, photos, repository, tmp_path, suffix):
    run, file, _ = deployed
    if suffix == ".xml":
        pytest.importorskip("openvino", reason="needs openvino: pip install '.[openvino]'")
        file = tmp_path / "file" / "model.xml"
        done = tool("export.py", run, "--checkpoint", "last", "--preprocess", "--out", file)
        assert done.returncode == 0, done.stderr
    flags = ["--min-score", "0.02"]
    done = tool("predict.py", file, photos, *flags, "--out", "all")
    assert done.returncode == 1, done.stderr
    done = alone(repository, suffix, "predict", file, photos, *flags, "--out", "few", text=True)
    assert (done.returncode, "bad.jpg: image is cut off" in done.stderr) == (1, True)
    everything, few = ((tmp_path / name / "detections.json").read_text() for name in ("all", "few"))
    assert few == everything
    assert len(json.loads(few)) > 4
    assert sorted(path.name for path in (tmp_path / "few").glob("*.*")) == sorted(
        path.name for path in (tmp_path / "all").glob("*.*")
    )


def alone(repository, suffix, *arguments, **more):
    """`ssd` with nothing but the packages that an exported file needs."""
    return subprocess.run(
        [sys.executable, "-c", ALONE, RUNTIMES[suffix], *map(str, arguments)],
        env={"PYTHONPATH": str(repository), "PATH": ""},
        capture_output=True,
        check=False,
        **more,
    )


def test_videos_and_pipes_need_no_more_packages(deployed, repository, tmp_path):
    run, file, data = deployed
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 96))
    for level in range(0, 250, 25):
        writer.write(np.full((96, 96, 3), level, np.uint8))
    writer.release()
    flags = ["--write", "voc", "yolo", "coco", "--max", "2", "--min-score", "0.02"]
    done = alone(repository, ".onnx", "predict", file, "clip.mp4", *flags, text=True)
    assert done.returncode == 0, done.stderr
    assert "in 10 frames: drawn in predictions" in done.stdout
    assert len(list((tmp_path / "predictions/voc/JPEGImages/clip").iterdir())) == 10
    assert cv2.VideoCapture("predictions/clip.mp4").get(cv2.CAP_PROP_FRAME_COUNT) == 10
    picture = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    piped = [file, "-", "--no-draw", "--out", "piped"]
    done = alone(repository, ".onnx", "predict", *piped, input=3 * picture + picture[:-9])
    assert done.returncode == 1
    assert b"in 3 images: listed in piped" in done.stdout
    assert b"standard input, picture 3: " in done.stdout
    closed = alone(
        repository, ".onnx", "predict", file, "--show-truth", "--out", "truth", text=True
    )
    assert (closed.returncode, closed.stderr.count("\n")) == (2, 1)
    assert "which is not installed" in closed.stderr


def test_a_run_and_its_file_show_the_ground_truth(deployed, tool, small_shapes, tmp_path):
    run, file, data = deployed
    nothing = ["--min-score", "1"]  # the ground truth alone is then drawn
    assert tool("predict.py", run, "--show-truth", *nothing, "--out", "run").returncode == 0
    done = tool("predict.py", file, "--show-truth", *nothing, *data[:4], "--out", "file")
    assert done.returncode == 0, done.stderr
    stems = (small_shapes / "ImageSets/Main/test.txt").read_text().split()
    for folder in (tmp_path / "run", tmp_path / "file"):
        assert sorted(path.stem for path in folder.glob("*.jpg")) == sorted(stems)
    image = next((small_shapes / "JPEGImages").glob(f"{stems[0]}.*"))
    assert tool("predict.py", run, image, *nothing, "--out", "plain").returncode == 0
    plain, shown = (cv2.imread(f"{name}/{stems[0]}.jpg").astype(int) for name in ("plain", "run"))
    assert np.abs(shown - plain).max() > 100
    trained = (small_shapes / "ImageSets/Main/trainval.txt").read_text().split()[0]
    others = [next((small_shapes / "JPEGImages").glob(f"{trained}.*")), image]
    done = tool("predict.py", run, *others, "--show-truth", *nothing, "--out", "others")
    assert "1 source without ground truth in the evaluation data" in done.stdout


@pytest.mark.parametrize("to_both", [False, True], ids=["one process", "its group"])
def test_ctrl_c_ends_a_pipe_and_keeps_the_results(deployed, repository, tmp_path, to_both):
    """The file runs in a second process; a signal that reaches both counts once."""
    _, file, _ = deployed
    command = [sys.executable, "-m", "ssd", "predict", file, "-", "--write", "yolo"]
    environment = os.environ | {"PYTHONPATH": str(repository)}
    process = subprocess.Popen(
        command, env=environment, stdin=-1, stdout=-1, stderr=-1, start_new_session=True
    )
    picture = cv2.imencode(".png", np.zeros((40, 50, 3), np.uint8))[1].tobytes()
    last = tmp_path / "predictions/yolo/labels/stdin/000002.txt"
    process.stdin.write(3 * picture)
    process.stdin.flush()
    while not last.exists() and process.poll() is None:
        time.sleep(0.05)
    if to_both:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    assert process.stderr.readline() == b"\n"
    assert b"stopping after this image" in process.stderr.readline()
    told, _ = process.communicate(picture)
    assert process.returncode == 130
    assert b"in 3 images: drawn in" in told
    assert b"stopped before the end" in told
    json.loads((tmp_path / "predictions/detections.json").read_text())


def test_the_lines_of_the_page_run(deployed, repository, small_shapes, tmp_path, capsys):
    _, file, _ = deployed
    shutil.copy(file, tmp_path)
    shutil.copy(next((small_shapes / "JPEGImages").iterdir()), tmp_path / "photo.jpg")
    page = (repository / "docs" / "deploy.md").read_text()
    plain, own, service = (part.split("```")[0] for part in page.split("```python\n")[1:])
    names = {}
    exec(plain, names)
    assert sum(map(bool, plain.splitlines())) == 4
    assert names["counts"].tolist() > [0]
    exec(own, names)
    assert len(capsys.readouterr().out.splitlines()) == len(names["result"]) > 0
    compile(service, "serve.py", "exec")


def test_mistakes_end_in_one_line(deployed, mistaken, photos):
    run, file, _ = deployed
    told = mistaken("predict.py", file, photos, "--evaluation.nms_iou", "0.2")
    assert told == "error: --evaluation.nms_iou has no effect on an exported file: leave it out\n"
    told = mistaken("evaluate.py", file, "--data.root", "x", "--evaluation.nms_iou", "0.2")
    assert f"error: evaluation.nms_iou is part of {file}: export the run with it" in told
    assert "give --data.root FOLDER" in mistaken("evaluate.py", file)
    where = ("--data.root", "x")
    for flag in (("--checkpoint", "best"), ("--data.workers", "0"), ("--training.device", "cpu")):
        told = mistaken("evaluate.py", file, *where, *flag)
        assert told == f"error: {flag[0]} has no effect on an exported file: leave it out\n"
    assert "--trust has no effect on" in mistaken("evaluate.py", run, "--trust")
    assert "--trust has no effect on" in mistaken("predict.py", file, photos, "--trust")
    assert "--checkpoint has no effect on a file of detections" in mistaken(
        "evaluate.py", "--detections", "d.json", *where, "--checkpoint", "best"
    )
    assert "could run code when it is read" in mistaken("predict.py", "x.pt2", photos)
    assert "could run code when it is read" in mistaken("evaluate.py", "x.pt2", *where)
    assert "x.pt2 cannot be read" in mistaken("predict.py", "x.pt2", photos, "--trust")
    assert "at least one image is needed" in mistaken("predict.py", file)
    told = mistaken("export.py", run, "--out", "new/model.onnx", "--half", "--int8")
    assert "--half and --int8 exclude each other" in told
    assert "--max is 0, but has to be" in mistaken("predict.py", file, photos, "--max", "0")
    assert "--write is pdf, but has" in mistaken("predict.py", file, photos, "--write", "pdf")
    told = mistaken("predict.py", run, photos, "--classes", "cat")
    assert (
        told
        == "error: --classes: there is no 'cat'; the classes are circle, cross, square, "
        + ("star, triangle\n")
    )
    told = mistaken("predict.py", run, photos, "--data.root", "x")
    assert told == "error: --data.root has no effect without --show-truth: leave it out\n"
    told = mistaken("predict.py", file, "--show-truth")
    assert "does not know where the data is: give --data.root" in told
    assert "needs --raw" in mistaken("export.py", run, "--out", "new/model.pt2")
    for flag in (("--raw",), ("--preprocess",), ("--compile",), ("--images", photos)):
        told = mistaken("export.py", run, "--out", "x.pth", *flag)
        assert f"{flag[0]} has no effect on x.pth: it is for .onnx, .xml, .pt2" in told
    assert "--compile is for a file that ends in .pt2" in mistaken(
        "export.py", run, "--out", "new/x.onnx", "--compile"
    )
    assert "x.onnx cannot be read: No such file" in mistaken("predict.py", "x.onnx", photos)
