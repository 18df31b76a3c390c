import pytest

from ssd.run.changes import Change, changes, value_text, write_changes

DATE = "2026-11-28T10:00:00+01:00"


def test_changes_read_back_as_they_were_written(tmp_path):
    made = [
        Change(3, "optimizer.lr", 0.003, 0.0005, DATE),
        Change(3, "data.classes", None, ["Käfer", "true"], DATE),
        Change(9, "training.deterministic", False, True, DATE),
    ]
    write_changes(tmp_path, made)
    assert changes(tmp_path) == made
    write_changes(tmp_path, [])
    assert not list(tmp_path.iterdir())
    assert changes(tmp_path) == []


@pytest.mark.parametrize("line", ["", "{", "[]", "3", '{"step": 1}', "[" * 10**5, "\udcff"])
def test_lines_that_are_no_changes_are_left_out(tmp_path, line):
    kept = Change(3, "optimizer.lr", 0.003, 0.0005, DATE)
    write_changes(tmp_path, [kept])
    path = tmp_path / "changes.jsonl"
    whole = path.read_bytes()
    path.write_bytes(line.encode(errors="surrogateescape") + b"\n" + whole)
    assert changes(tmp_path) == [kept]
    path.write_bytes(whole.replace(b'"step": 3', b'"step": "3"'))
    assert changes(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.0005, "0.0005"),
        ("share", "share"),
        ("a\nb", "a b"),
        (["cat", 1], '["cat", 1]'),
        ("x" * 81, "x" * 80 + " …"),
    ],
)
def test_a_value_is_shown_on_one_short_line(value, text):
    assert value_text(value) == text
