"""What `ssd export` writes, refuses and keeps under another name."""

import shutil
import warnings
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch._inductor import config

from ssd.common.errors import UserError
from ssd.config import Config, ModelConfig
from ssd.config.settings import to_yaml
from ssd.deploy import export as module
from ssd.deploy import onnx_file
from ssd.deploy.card import CARD, MARK, card_of, check_card
from ssd.deploy.compare import Difference, same_objects
from ssd.deploy.export import Wanted, export_graph
from ssd.deploy.runtime import ExportedDetector, Objects
from ssd.deploy.smaller import quantised
from ssd.model.ssd import build_model
from ssd.run.checkpoint import save_checkpoint
from tests.unit.deploy.nets import lively, photo

pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install '.[export]'")
onnx = pytest.importorskip("onnx", reason="needs onnx: pip install '.[export]'")


@pytest.fixture
def run(tmp_path):
    """A run folder with one checkpoint."""
    settings = Config(model=ModelConfig("ssd7", 96))
    model = lively(build_model(settings.model, 3).eval(), 96)
    state = {"model": model.state_dict(), "average": None}
    save_checkpoint(tmp_path / "mine" / "checkpoints", 9, state, to_yaml(settings), ["cat", "dog"])
    return tmp_path / "mine"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = photo(40 + number, 60, number)
        cv2.imwrite(str(folder / f"{number}.png"), pixels[..., ::-1])
    return folder


def test_a_checked_file_its_facts_and_its_card(run, photos, tmp_path, monkeypatch):
    out = tmp_path / "new" / "model.onnx"
    wanted = Wanted(pixels=True, images=photos)
    told = export_graph(run, out, wanted, {"evaluation": {"score_threshold": 0.2, "nms_iou": 0.3}})
    assert sorted(path.name for path in out.parent.iterdir()) == [CARD, "model.onnx"]
    assert "checked on 3 images beside the model: scores differ by at most" in told
    assert "0 of " in told
    assert "opset 18" in told
    detector = ExportedDetector(out)
    facts = detector.facts
    assert (facts.run, facts.step, facts.classes) == ("mine", 9, ("cat", "dog"))
    assert (facts.score_threshold, facts.nms_iou) == (0.2, 0.3)
    assert str(tmp_path) not in facts.config
    found = detector(photo(50, 70))
    assert len(found.scores) > 5
    assert found.scores.min() > 0.2
    card = (out.parent / CARD).read_text()
    assert "cat, dog" in card
    assert "uint8 [B, H, W, 3]" in card
    assert 'onnxruntime.InferenceSession("model.onnx")' in card
    monkeypatch.chdir(out.parent)
    cv2.imwrite("photo.jpg", photo(50, 70))
    plain, own = (part.split("```")[0] for part in card.split("```python\n")[1:])
    names = {}
    exec(plain, names)
    assert names["counts"][0] > 5
    exec(own, names)
    assert names["box"].shape == (4,)


def test_the_program_of_pytorch(run, photos, tmp_path, monkeypatch):
    out = tmp_path / "new" / "model.pt2"
    with pytest.raises(UserError, match=r"model\.pt2 needs --raw"):
        export_graph(run, out, Wanted(images=photos), {})
    told = export_graph(run, out, Wanted(raw=True, pixels=True, images=photos), {})
    assert "checked on 3 images" in told
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.load(out).module()
    boxes, scores = program(torch.from_numpy(photo(31, 47))[None].repeat(2, 1, 1, 1))
    assert boxes.shape[0] == scores.shape[0] == 2
    card = (out.parent / CARD).read_text()
    monkeypatch.chdir(out.parent)
    cv2.imwrite("photo.jpg", photo(50, 70))
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(card.split("```python\n")[1].split("```")[0], names)
    assert names["boxes"].shape[0] == 1


def test_a_file_that_differs_is_kept_under_another_name(run, photos, tmp_path, monkeypatch):
    contents = module.file_contents

    def other(detector, facts, suffix, compiled):
        config = replace(detector.config, nms_iou=0.9)
        return contents(replace(detector, config=config), facts, suffix, compiled)

    monkeypatch.setattr(module, "file_contents", other)
    out = tmp_path / "new" / "model.onnx"
    message = r"of \d+ detections changed.*; at most 0\.0001, 0\.05 pixels and 1% are allowed: .*"
    with pytest.raises(UserError, match=message + r"kept as .*model\.failed\.onnx"):
        export_graph(run, out, Wanted(images=photos), {})
    assert [path.name for path in out.parent.iterdir()] == ["model.failed.onnx"]


@pytest.mark.parametrize("numbers", ["float16", "int8"])
def test_a_file_in_other_numbers(run, photos, tmp_path, numbers):
    out = tmp_path / "new" / "model.onnx"
    wanted = Wanted(images=photos, numbers=numbers)
    told = export_graph(run, out, wanted, {})
    assert "are found by one alone; the others differ by" in told
    lines = f"mAP in {numbers}: not measured, since --images takes the place of the data"
    assert lines in told
    assert f"| the file itself | {lines} |" in (out.parent / CARD).read_text()
    assert len(ExportedDetector(out)(photo(50, 70)).scores) > 5
    assert out.stat().st_size < 4_500_000  # float32 has 5.9 million bytes
    with pytest.raises(UserError, match="--half and --int8 are for a file that ends in .onnx"):
        export_graph(run, tmp_path / "x.pt2", wanted._replace(raw=True), {})


def test_int8_of_raw_scores_that_ruins_the_model_is_refused(run, photos, tmp_path, monkeypatch):
    def ruined(content, inputs):
        model = onnx.load_from_string(content)
        for each in model.graph.initializer:
            if "head.logits" in each.name:
                negated = -onnx.numpy_helper.to_array(each)
                each.CopyFrom(onnx.numpy_helper.from_array(negated, each.name))
        return quantised(model.SerializeToString(), inputs)

    wanted = Wanted(raw=True, images=photos, numbers="int8")
    export_graph(run, tmp_path / "good" / "model.onnx", wanted, {})
    monkeypatch.setattr(module, "quantised", ruined)
    message = r"at most 50% of the objects may .*kept as .*model\.failed\.onnx"
    with pytest.raises(UserError, match=message):
        export_graph(run, tmp_path / "bad" / "model.onnx", wanted, {})


def test_missing_packages_are_named_first(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: name == "onnx" or None)
    with pytest.raises(UserError, match="needs onnxscript, onnxruntime: pip install onnx onnx"):
        export_graph(run, tmp_path / "new" / "model.onnx", Wanted(images=photos), {})
    assert not (tmp_path / "new").exists()


def test_nothing_of_the_users_is_overwritten(run, photos, tmp_path):
    mine = tmp_path / CARD
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"MODEL\.md would be overwritten"):
        export_graph(run, tmp_path / "model.onnx", Wanted(images=photos), {})
    assert mine.read_text() == "mine"
    (tmp_path / "new").mkdir()
    out = tmp_path / "new" / "model.onnx"
    out.write_text("mine")
    with pytest.raises(UserError, match=r"model\.onnx is there already"):
        export_graph(run, out, Wanted(images=photos), {})
    assert out.read_text() == "mine"


def test_without_images_to_check_on_nothing_is_written(run, tmp_path):
    (tmp_path / "empty").mkdir()
    out = tmp_path / "new" / "model.onnx"
    with pytest.raises(UserError, match="no image in .*empty"):
        export_graph(run, out, Wanted(images=tmp_path / "empty"), {})
    overrides = {"data": {"root": str(tmp_path / "none"), "format": "voc"}}
    with pytest.raises(UserError, match="or give --images FOLDER to check the export on"):
        export_graph(run, out, Wanted(), overrides)
    assert not out.parent.exists()


@pytest.mark.parametrize(
    ("scores", "boxes", "detections", "changed", "is_small"),
    [
        (1e-4, 0.05, 500, 5, True),
        (1.1e-4, 0, 500, 0, False),
        (0, 0.051, 500, 0, False),
        (0, 0, 500, 6, False),
        (0, 0, 10, 1, True),
        (0, 0, 0, 2, False),
        (float("nan"), 0, 500, 0, False),
        (0, float("nan"), None, 0, False),
    ],
)
def test_the_bounds(scores, boxes, detections, changed, is_small):
    assert Difference(3, scores, boxes, detections, changed).is_small == is_small


def test_detections_pair_with_the_nearest_of_their_class():
    def objects(*rows):
        values = np.array(rows, np.float32)
        return Objects(values[:, 2:], values[:, 1], values[:, 0].astype(np.int64))

    one = objects((1, 0.9, 0, 0, 9, 9), (1, 0.8, 0, 0, 9, 8.5), (2, 0.7, 0, 0, 9, 9))
    other = objects((1, 0.8, 0, 0, 9, 8.5), (1, 0.9, 0, 0, 9, 9), (3, 0.7, 0, 0, 9, 9))
    assert sorted(same_objects(one, other)) == [(0, 1), (1, 0)]
    nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert same_objects(one, nothing) == same_objects(nothing, one) == []


def test_a_model_for_openvino(run, photos, tmp_path, monkeypatch):
    pytest.importorskip("openvino", reason="needs openvino: pip install '.[openvino]'")
    out = tmp_path / "new" / "model.xml"
    told = export_graph(run, out, Wanted(pixels=True, images=photos), {})
    assert sorted(path.name for path in out.parent.iterdir()) == [CARD, "model.bin", "model.xml"]
    assert "checked on 3 images beside the model: scores differ by at most" in told
    assert f"written: {out}, {out.with_suffix('.bin')} (" in told
    card = (out.parent / CARD).read_text()
    monkeypatch.chdir(out.parent)
    cv2.imwrite("photo.jpg", photo(50, 70))
    for part in card.split("```python\n")[1:]:
        names = {}
        exec(part.split("```")[0], names)
        assert len(names["boxes" if "boxes" in names else "box"]) > 0
    out.unlink()
    with pytest.raises(UserError, match=r"model\.bin is there already"):
        export_graph(run, out, Wanted(images=photos), {})


def test_what_openvino_needs_is_named(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: name == "onnx" or None)
    with pytest.raises(UserError, match=r"to \.xml needs onnxscript, openvino: pip install onnx"):
        export_graph(run, tmp_path / "new" / "model.xml", Wanted(images=photos), {})


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_compiled_program(run, photos, tmp_path, monkeypatch):
    out = tmp_path / "new" / "model.pt2"
    told = export_graph(run, out, Wanted(raw=True, images=photos, compiled=True), {})
    assert "checked on 3 images" in told
    card = (out.parent / CARD).read_text()
    monkeypatch.chdir(out.parent)
    names = {}
    exec(card.split("```python\n")[1].split("```")[0], names)
    assert names["boxes"].shape[0] == 1


def test_without_a_compiler_nothing_is_compiled(run, photos, tmp_path):
    out = tmp_path / "new" / "model.pt2"
    with (
        config.patch({"cpp.cxx": (None, "no_such_compiler")}),
        pytest.raises(UserError, match=r"--compile needs a C\+\+ compiler, such as g\+\+"),
    ):
        export_graph(run, out, Wanted(raw=True, images=photos, compiled=True), {})
    assert not out.parent.exists()


def test_each_file_has_a_card_of_its_own(tmp_path):
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    assert card_of(first) == tmp_path / CARD
    (tmp_path / CARD).write_text(f"{MARK}\n# a.onnx\n\nAn SSD detector")
    assert card_of(first) == card_of(second) == tmp_path / CARD  # a.onnx is gone
    first.write_bytes(b"")
    assert card_of(first) == tmp_path / CARD
    assert card_of(second) == tmp_path / f"b.onnx.{CARD}"
    (tmp_path / CARD).write_text("# a.onnx\n\nwritten by a person")
    with pytest.raises(UserError, match="would be overwritten"):
        check_card(second)
