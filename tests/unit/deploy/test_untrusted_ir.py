"""Damaged, foreign and hostile OpenVINO models end in one line, and never reach the runtime."""

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.deploy.runtime import ExportedDetector
from ssd.deploy.untrusted_ir import read_ir
from tests.unit.deploy.nets import photo

GOOD = """<?xml version="1.0"?>
<net name="n" version="11">
  <layers>
    <layer id="0" name="w" type="Const" version="opset1">
      <data element_type="f32" shape="2" offset="8" size="8" />
      <output><port id="0" precision="FP32"><dim>2</dim></port></output>
    </layer>
    <layer id="1" name="r" type="Result" version="opset1"><input><port id="0" /></input></layer>
  </layers>
  <edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0" /></edges>
  <rt_info><framework><form value="raw" /><run value="a &lt; b" /></framework></rt_info>
</net>
"""
HEADER = '<?xml version="1.0"?>'
RELU = '<layer type="ReLU" version="opset1"/>'
HOSTILE = [
    ("a document type", HEADER, HEADER + '<!DOCTYPE net [<!ENTITY a "aaa">]>'),
    ("a document type", HEADER, HEADER + '<!DOCTYPE net SYSTEM "file:///etc/passwd">'),
    ("an instruction", "<layers>", "<layers><?run it?>"),
    ("a CDATA section", "<layers>", '<layers><![CDATA[<layer type="Loop"/>]]>'),
    ("a text where none belongs", "<layers>", "<layers>text"),
    ("encoded as 'latin-1'", '"1.0"?>', '"1.0" encoding="latin-1"?>'),
    (r"the operator 'opset1\.Loop'", 'type="Const"', 'type="Loop"'),
    (r"the operator 'opset6\.ReadValue'", 'type="Const" version="opset1"', "ReadValue"),
    (r"the operator 'extension\.Const'", "opset1", "extension"),
    ("it holds 'body'", "<layers>", "<layers><body></body>"),
    ("nested too deeply", "<layers>", "<layers>" * 9),
    ("nested too deeply", "<framework>", "<framework>" + "<a>" * 100_000),
    ("cut off, or of another model", 'offset="8"', 'offset="9"'),
    (r"its weights are at \['-8', '8'\]", 'offset="8"', 'offset="-8"'),
    (r"its weights are at \['', '8'\]", 'offset="8" ', ""),
    ("it is no XML", "</net>", ""),
    ("it is no XML", "<net", "\0<net"),
    (
        "more than 20000 operators",
        "<layers>",
        "<layers>" + '<layer type="ReLU" version="opset1"/>' * 20_001,
    ),
]


def written(folder, text, weights=16):
    path = folder / "model.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.with_suffix(".bin").write_bytes(bytes(weights))
    return path


def test_a_plain_model_is_taken_with_its_metadata(tmp_path):
    xml, weights, metadata = read_ir(written(tmp_path, GOOD))
    assert (xml.decode(), weights) == (GOOD, bytes(16))
    assert metadata == {"form": "raw", "run": "a < b"}


@pytest.mark.parametrize(("message", "old", "new"), HOSTILE)
def test_what_no_export_holds_is_refused(tmp_path, message, old, new):
    new = 'type="ReadValue" version="opset6"' if new == "ReadValue" else new
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UserError, match=rf"model\.xml is no file that can be run: .*{message}"):
        read_ir(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", b"<html></html>", GOOD.encode("utf-16"), b"\xff\xfe", b"<net></net>"],
)
def test_what_is_no_model_is_refused(tmp_path, content):
    with pytest.raises(UserError, match=r"model\.xml is no file that can be run"):
        read_ir(written(tmp_path, content))


def test_both_files_have_to_be_there(tmp_path):
    path = written(tmp_path, GOOD)
    path.with_suffix(".bin").unlink()
    with pytest.raises(UserError, match=r"model\.bin cannot be read: No such file"):
        read_ir(path)
    with pytest.raises(UserError, match=r"none\.xml cannot be read: No such file"):
        read_ir(tmp_path / "none.xml")


def test_another_projects_model_is_refused(tmp_path):
    openvino = pytest.importorskip("openvino", reason="needs openvino: pip install '.[openvino]'")
    ops = openvino.opset13
    images = ops.parameter([1, 3, 9, 9], np.float32, "images")
    path = tmp_path / "model.xml"
    openvino.save_model(openvino.Model([ops.relu(images)], [images], "foreign"), path)
    with pytest.raises(UserError, match="not written by `ssd export`"):
        ExportedDetector(path)


def test_a_damaged_export_ends_in_one_line_or_detects(exported, tmp_path):
    """Each copy has another value in an attribute, or in the constants of the .bin file."""
    source, _ = exported("ssd7", "detections", pixels=True, suffix=".xml")
    xml, weights = source.read_bytes(), source.with_suffix(".bin").read_bytes()
    generator = np.random.default_rng(0)
    marks = [place for place in range(len(xml)) if xml[place : place + 2] == b'="']
    refused = []
    for number in range(24):
        text, constants = bytearray(xml), bytearray(weights)
        if number % 2:
            start = marks[int(generator.integers(len(marks)))] + 2
            text[start : text.index(b'"', start)] = [b"-1", b"99999999999", b"foo"][number % 3]
        else:
            constants[:4000] = generator.bytes(4000)
        path = written(tmp_path, bytes(text))
        path.with_suffix(".bin").write_bytes(constants)
        try:
            detector = ExportedDetector(path)
            assert len(detector(photo(40, 60)).scores) <= detector.facts.max_detections
        except UserError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert "\n" not in "".join(refused)
