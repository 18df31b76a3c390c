"""The examples of docs/api.md, and what they promise."""

import contextlib
import json
import re
import subprocess
import sys
import threading

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models.detection import ssd300_vgg16

import ssd
from ssd.commands.api import config_of
from ssd.data.shapes import draw_shapes

NO_TORCH = """
import sys, time
started = time.process_time()
import ssd
assert time.process_time() - started < 0.2
sys.modules["torch"] = None
losses = [1 + 0.1 * (step % 7) + 15 * (step % 20 == 19) for step in range(200)]
assert ssd.explain(losses, steps_per_epoch=20, batch_size=16).cause == "short_last_batch"
watch = ssd.SpikeWatch(20, batch_size=16)
told = [step for step, loss in enumerate(losses) if watch(step, loss)]
assert told == [59], told
"""


def examples(repository):
    return re.findall(r"```python\n(.*?)```", (repository / "docs" / "api.md").read_text(), re.S)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a small data set and a photo, in which the examples run one after another."""
    folder = tmp_path_factory.mktemp("api")
    draw_shapes(folder / "drawn", 12, 4, seed=1)
    photo = next((folder / "drawn" / "JPEGImages").iterdir())
    (folder / "photo.jpg").write_bytes(photo.read_bytes())
    return folder


def test_the_examples_run_in_their_order(repository, workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    blocks = examples(repository)
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), {"__name__": "__main__"})
    told = capsys.readouterr().out
    assert "short_last_batch" in told
    assert "step 59: " in told


@pytest.fixture(scope="module")
def detector(workplace):
    settings = {"data.root": "drawn", "training.steps": 4, "training.batch_size": 4}
    settings |= {"model.input_size": 96, "data.workers": 0}
    with contextlib.chdir(workplace):
        return ssd.load(ssd.train("custom_voc", settings, out="runs/small"), device="cpu")


def test_every_form_of_a_picture_gives_the_same(detector, workplace):
    path = workplace / "photo.jpg"
    pixels = cv2.imread(str(path))[..., ::-1].copy()
    alpha = np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 9, np.uint8)], 2)
    forms = [
        *(path, str(path), pixels, alpha, Image.fromarray(pixels), pixels / 255),
        *(torch.from_numpy(pixels), torch.from_numpy(pixels).permute(2, 0, 1)),
        torch.from_numpy(pixels).permute(2, 0, 1).float() / 255,
    ]
    results = [detector.predict(form, min_score=0.0) for form in forms]
    assert len(results[0]) > 0
    several = [*detector.predict(forms, 0.0), *detector.predict((each for each in forms), 0.0)]
    for result in [*results[1:], *several]:
        np.testing.assert_allclose(result.boxes, results[0].boxes, atol=1e-3)
        np.testing.assert_allclose(result.scores, results[0].scores, atol=1e-5)
        assert result.names == results[0].names


def test_a_picture_of_pil_is_turned_as_its_file_is(detector):
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    turned = upright.transpose(Image.Transpose.ROTATE_90)  # Exif's 6 turns it back
    turned.getexif()[0x0112] = 6
    result = detector.predict(turned)
    np.testing.assert_array_equal(result.pixels, np.asarray(upright))


def test_gray_pictures_are_gray_in_all_channels(detector):
    gray = np.random.default_rng(0).integers(0, 256, (40, 60), np.uint8)
    one, other = detector.predict([gray, gray[..., None].repeat(3, 2)], min_score=0.0)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.boxes, other.boxes)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((3, 40, 60), np.uint8), r"shape is \(3, 40, 60\)"),
        (np.zeros((40, 60, 3), np.uint16), "type is uint16"),
        (np.full((40, 60, 3), 200.0), "from 200 to 200"),
        (np.full((40, 60, 3), np.nan), "nan"),
        (np.zeros((0, 60, 3), np.uint8), "shape"),
        (7, "int is no picture"),
        (Image.new("I;16", (60, 40)), "mode is I;16"),
        (Image.new("F", (60, 40)), "mode is F"),
        (Image.new("RGB", (0, 0)), "size"),
        ("nowhere.jpg", r"nowhere\.jpg"),
    ],
)
def test_what_leaves_a_choice_is_refused_in_one_line(detector, picture, told):
    with pytest.raises(ssd.UserError, match=told) as error:
        detector.predict(picture)
    assert "\n" not in str(error.value)


def test_a_result_is_what_the_command_writes(detector, workplace, tool):
    folder = workplace / "drawn" / "JPEGImages"
    results = detector.predict(folder, min_score=0.05)
    assert [result.image for result in results] == sorted(path.stem for path in folder.iterdir())
    found = workplace / "found"
    run = workplace / "runs" / "small"
    done = tool("predict.py", run, folder, "--min-score", "0.05", "--out", found)
    assert done.returncode == 0, done.stderr
    written = json.loads((found / "detections.json").read_text())
    rows = [row for result in results for row in result.to_coco()]
    assert len(rows) == len(written)
    for row, other in zip(rows, written, strict=True):
        assert row["category"] == detector.classes[row["category_id"] - 1]
        assert {key: row[key] for key in other} == other
    assert results[0].draw().shape == results[0].pixels.shape
    assert len(list(results[0])) == len(results[0])


def test_training_works_outside_the_main_thread(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    settings = {"data.root": "drawn", "training.steps": 1, "model.input_size": 96}
    runs = []
    thread = threading.Thread(
        target=lambda: runs.append(ssd.train("custom_voc", settings, out="runs/thread"))
    )
    thread.start()
    thread.join()
    assert (runs[0] / "evaluation.json").exists()


def test_mistakes_are_the_exceptions_of_the_commands(tmp_path):
    with pytest.raises(ssd.UserError, match="did you mean custom_voc"):
        ssd.train("custom_vok")
    with pytest.raises(ssd.UserError, match=r"did you mean data\.root"):
        ssd.train("custom_voc", {"data.rot": "x"})
    with pytest.raises(ssd.UserError, match="nowhere"):
        ssd.load("nowhere")
    with pytest.raises(ssd.UserError, match="holds no run"):
        ssd.load(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ssd.UserError, match="file cannot be used"):
        ssd.train("quickstart", {"data.root": tmp_path / "drawn"}, out=tmp_path / "file")
    with pytest.raises(AttributeError, match="nothing"):
        _ = ssd.nothing


def test_settings_may_be_what_python_code_has_at_hand(tmp_path):
    settings = {"data.root": tmp_path, "data.classes": ("a", "b"), "training.epochs": np.int64(4)}
    config = config_of("custom_voc", settings | {"loss": {"box_weight": np.float32(0.5)}})
    assert (config.data.root, config.data.classes) == (str(tmp_path), ["a", "b"])
    assert (config.training.epochs, config.loss.box_weight) == (4, 0.5)


def test_settings_of_the_parts_are_those_of_the_config():
    boxes = ssd.default_boxes([ssd.FeatureMap(4, 16, 20, 40, (2.0,))], 64)
    with pytest.raises(ssd.UserError, match=r"did you mean loss\.match_iou"):
        ssd.MultiboxLoss(boxes, match_ious=0.5)
    with pytest.raises(ssd.UserError, match=r"loss\.divisor is 'positives'.* has to be one of"):
        ssd.MultiboxLoss(boxes, divisor="positives")
    with pytest.raises(ssd.UserError, match="image 0 has 1 box, but 2 labels"):
        ssd.MultiboxLoss(boxes).match([torch.rand(1, 4)], [torch.ones(2, dtype=torch.int64)])
    with pytest.raises(ssd.UserError, match="leave `library` and `engine` out"):
        ssd.Augment(library="mine.yaml")
    with pytest.raises(ssd.UserError, match="leave `closing_share` out"):
        ssd.Augment(mosaic_probability=1, closing_share=0.2)
    plain = ssd.Augment(64, engine="none", mean=np.zeros(3), std=torch.ones(3))
    batch = plain([np.full((64, 64, 3), 7, np.uint8)], [[]], [[]])
    torch.testing.assert_close(batch.images, torch.full((1, 3, 64, 64), 7.0))
    wide = ssd.Augment((64, 96), engine="none")
    assert wide([np.zeros((9, 9, 3), np.uint8)], [[]], [[]]).images.shape == (1, 3, 64, 96)


def test_the_diagnosis_needs_no_torch_and_the_import_no_time():
    subprocess.run([sys.executable, "-c", NO_TORCH], check=True)


def test_all_names_are_there():
    assert set(dir(ssd)) == set(ssd.__all__)
    for name in ssd.__all__:
        assert getattr(ssd, name).__doc__


def test_our_loss_in_torchvisions_model_learns():
    """The multibox loss of one image, in place of torchvision's, whose anchors it takes."""
    torch.manual_seed(0)
    model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=3).train()
    targets = [{"boxes": torch.tensor([[30.0, 30.0, 200.0, 180.0]]), "labels": torch.tensor([1])}]
    theirs = sum(model([torch.zeros(3, 300, 300)], targets).values())

    def compute_loss(targets, outputs, anchors, _):
        corners = anchors[0] / 300
        sides = corners[:, 2:] - corners[:, :2]
        loss = ssd.MultiboxLoss(torch.cat([corners[:, :2] + sides / 2, sides], 1))
        matched = loss.match([targets[0]["boxes"] / 300], [targets[0]["labels"]])
        return {"loss": loss(outputs["cls_logits"], outputs["bbox_regression"], matched)}

    model.compute_loss = compute_loss
    ours = sum(model([torch.zeros(3, 300, 300)], targets).values())
    # The only object has no rival, so both match the same boxes, and one image is the whole step.
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
