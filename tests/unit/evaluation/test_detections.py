import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd.common.errors import UserError
from ssd.evaluation.detections import DetectionTable, read_detections, write_detections

IMAGES = ["000005", "a b", "ünïcode"]
CLASSES = ["cat", "dog"]
GOOD = {"image_id": "a b", "category": "dog", "bbox": [10, 20.5, 30, 40], "score": 0.25}


def read(tmp_path, text):
    path = tmp_path / "detections.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_detections(path, IMAGES, CLASSES)


def test_the_format_is_the_documented_one(tmp_path):
    path = tmp_path / "detections.json"
    table = DetectionTable(
        image_index=np.array([1]),
        labels=np.array([2]),
        scores=np.array([0.25]),
        boxes=np.array([[10, 20.5, 40, 60.5]]),
    )
    write_detections(path, table, IMAGES, CLASSES)
    assert json.loads(path.read_text()) == [GOOD]
    assert [file.name for file in tmp_path.iterdir()] == ["detections.json"]


def test_an_entry_is_read_into_corners(tmp_path):
    table = read(tmp_path, json.dumps([{**GOOD, "note": "kept out"}]))
    assert (table.image_index.tolist(), table.labels.tolist()) == ([1], [2])
    assert (table.scores.tolist(), table.boxes.tolist()) == ([0.25], [[10, 20.5, 40, 60.5]])


def test_cocos_results_form(tmp_path):
    path = tmp_path / "detections.json"
    table = read(tmp_path, json.dumps([GOOD]))
    write_detections(path, table, [7, 139, 8], CLASSES, [17, 90])
    (entry,) = json.loads(path.read_text())
    assert entry == GOOD | {"image_id": 139, "category_id": 90}
    for absent in ("category", "category_id"):
        path.write_text(json.dumps([{key: entry[key] for key in entry if key != absent}]))
        again = read_detections(path, [7, 139, 8], CLASSES, [17, 90])
        assert (again.image_index.tolist(), again.labels.tolist()) == ([1], [2])


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (
            {"image_id": "139"},
            "image_id is '139', but has to be the COCO id of one of the 3 images",
        ),
        ({"image_id": True}, "image_id is True"),
        ({"image_id": 139.0}, "image_id is 139.0"),
        ({"category_id": 2}, "category_id is 2, but has to be one of the 2 classes"),
        ({"category_id": [17]}, r"category_id is \[17\]"),
        ({"category": "dog", "category_id": 17}, None),
    ],
)
def test_a_broken_entry_of_coco(tmp_path, changed, says):
    path = tmp_path / "detections.json"
    entry = {"image_id": 139, "category_id": 17, "bbox": [1, 2, 3, 4], "score": 0.5}
    path.write_text(json.dumps([entry | changed]))
    if says is None:
        table = read_detections(path, [7, 139, 8], CLASSES, [17, 90])
        assert table.labels.tolist() == [2]  # the name counts
    else:
        with pytest.raises(UserError, match=says):
            read_detections(path, [7, 139, 8], CLASSES, [17, 90])


@pytest.mark.parametrize("text", ["[]", " [ ]\n"])
def test_no_detections(tmp_path, text):
    table = read(tmp_path, text)
    assert (len(table), table.boxes.shape) == (0, (0, 4))
    write_detections(tmp_path / "again.json", table, IMAGES, CLASSES)
    assert len(read_detections(tmp_path / "again.json", IMAGES, CLASSES)) == 0


inside = st.floats(0, 4096, width=32)
rows = st.tuples(
    st.integers(0, 2),
    st.integers(1, 2),
    st.floats(0, 1),
    st.tuples(inside, inside, inside, inside).map(
        lambda c: [min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3])]
    ),
)


@settings(deadline=None)
@given(st.lists(rows, min_size=1, max_size=20))
def test_what_is_written_comes_back_bit_for_bit(tmp_path_factory, entries):
    images, labels, scores, boxes = zip(*entries, strict=True)
    table = DetectionTable(np.array(images), np.array(labels), np.array(scores), np.array(boxes))
    path = tmp_path_factory.mktemp("detections") / "detections.json"
    write_detections(path, table, IMAGES, CLASSES)
    back = read_detections(path, IMAGES, CLASSES)
    for column in ("image_index", "labels", "scores", "boxes"):
        np.testing.assert_array_equal(getattr(back, column), getattr(table, column))


BROKEN_FILES = {
    "empty": ("", "is not JSON"),
    "cut": ('[{"image_id": "a', "is not JSON"),
    "not utf-8": (b"[\xff\xfe\xfa]", "is not JSON"),
    "an object": ('{"a": 1}', "holds a dict"),
    "null": ("null", "holds a NoneType"),
    "deep": ("[" * 200_000, "nested too deeply"),
    "endless integer": ("[" + "9" * 5000 + "]", "is not JSON"),
    "entry is a list": ("[[]]", "entry 1: is []"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN_FILES.values(), ids=BROKEN_FILES)
def test_a_broken_file_is_told_in_one_line(tmp_path, text, says):
    with pytest.raises(UserError) as told:
        read(tmp_path, text)
    assert says in str(told.value)
    assert "detections.json" in str(told.value)
    assert "\n" not in str(told.value)


BROKEN_FIELDS = {
    "unknown image": ("image_id", '"b"'),
    "image as number": ("image_id", "5"),
    "image as list": ("image_id", "[1]"),
    "unknown category": ("category", '"ca\\nt\\ud800"'),
    "category as number": ("category", "1"),
    "category as object": ("category", "{}"),
    "three numbers": ("bbox", "[1, 2, 3]"),
    "box as string": ("bbox", '"1234"'),
    "number as string": ("bbox", '[1, 2, "3", 4]'),
    "NaN": ("bbox", "[NaN, 2, 3, 4]"),
    "infinite": ("bbox", "[1, 2, 3, 1e999]"),
    "huge": ("bbox", "[1, 2, 1e300, 4]"),
    "negative width": ("bbox", "[1, 2, -3, 4]"),
    "nested": ("bbox", "[[1, 2, 3, 4]]"),
    "score as string": ("score", '"0.5"'),
    "score true": ("score", "true"),
    "score null": ("score", "null"),
    "score infinite": ("score", "-Infinity"),
    "score too large": ("score", "1" + "0" * 400),
    "score a long text": ("score", '"' + "x" * 100_000 + '"'),
}


@pytest.mark.parametrize(("field", "value"), BROKEN_FIELDS.values(), ids=BROKEN_FIELDS)
def test_a_broken_field_is_told_with_its_entry(tmp_path, field, value):
    good = {name: json.dumps(item) for name, item in GOOD.items()}
    entries = [good, {**good, field: value}]
    text = ",".join(
        "{" + ",".join(f'"{name}": {item}' for name, item in entry.items()) + "}"
        for entry in entries
    )
    with pytest.raises(UserError) as told:
        read(tmp_path, f"[{text}]")
    message = str(told.value)
    assert "detections.json: entry 2: " + field in message
    assert "\n" not in message
    assert len(message) < 400 + len(str(tmp_path))
    message.encode()


@pytest.mark.parametrize("field", GOOD)
def test_a_missing_field_is_told(tmp_path, field):
    entry = {name: item for name, item in GOOD.items() if name != field}
    with pytest.raises(UserError, match=f"entry 1: has no {field}"):
        read(tmp_path, json.dumps([entry]))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_detections(tmp_path / "nowhere.json", IMAGES, CLASSES)
    with pytest.raises(UserError, match="cannot be read"):
        read_detections(tmp_path, IMAGES, CLASSES)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
hostile_entries = st.fixed_dictionaries(
    {}, optional={name: st.one_of(st.just(item), json_values) for name, item in GOOD.items()}
)


@settings(deadline=None, max_examples=100)
@given(st.lists(hostile_entries | json_values, max_size=3) | json_values)
def test_hostile_content_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("detections") / "detections.json"
    path.write_text(json.dumps(content))
    try:
        table = read_detections(path, IMAGES, CLASSES)
    except UserError as told:
        message = str(told)
    else:
        message = "read"
        assert len(table) == len(content)
        assert np.isfinite(table.boxes).all()
    assert len(message.splitlines()) == 1
