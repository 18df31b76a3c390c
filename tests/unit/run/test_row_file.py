"""metrics.jsonl while it is written, also on a disk without room."""

import errno
import json
import math

import pytest

from ssd.run.rows import RowFile, cut_back, format_row, has_evaluation, read_rows
from ssd.steps import EvaluationRow


def written(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def said():
    return []


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


class FullDisk:
    """Wraps a file: takes `room` bytes, then has no room."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, content):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = self.file.write(content[: self.room])
        self.room -= taken
        return taken

    def __getattr__(self, name):
        return getattr(self.file, name)


def test_rows_are_added_and_numbers_that_json_lacks_are_null(path, said, step_row):
    for value in (math.nan, math.inf, 1.5):
        file = RowFile(path, said.append)
        file.add(step_row(step=1, loss=value, loss_under={"step_positives": value}))
        file.sync()
        file.close()
    assert [line["loss"] for line in written(path)] == [None, None, 1.5]
    under = [line["loss_under"]["step_positives"] for line in written(path)]
    assert under == [None, None, 1.5]
    assert said == []


@pytest.mark.parametrize("rows", [0, 0.01, 1.5])
def test_without_room_rows_wait_whole_and_are_written_once_there_is(path, said, rows, step_row):
    room = math.ceil(rows * len(format_row(step_row(step=2))))
    file = RowFile(path, said.append)
    file.add(step_row(step=1))
    real, file._file = file._file, FullDisk(file._file, room)
    for step in (2, 3, 4):
        file.add(step_row(step=step))
        steps = [line["step"] for line in written(path)]
        assert steps == list(range(1, len(steps) + 1))
    assert len(steps) == 1 + int(rows)
    assert len(said) == 1
    assert "No space left" in said[0]
    file._file = real
    file.add(step_row(step=5))
    file.close()
    assert [line["step"] for line in written(path)] == [1, 2, 3, 4, 5]
    assert len(said) == 1


def test_rows_that_never_found_room_are_named(path, said, step_row):
    file = RowFile(path, said.append)
    file._file = FullDisk(file._file, 0)
    file.add(step_row(step=1))
    file.add(step_row(step=2))
    file.close()
    assert "lacks the last 2 rows" in said[-1]


def test_cutting_back_removes_later_rows_and_a_torn_line(path, step_row):
    steps = [step_row(step=step, loss=0.5) for step in (1, 2, 3)]
    rows = [*steps[:2], EvaluationRow(2, 0, "voc07", 0.5, {"cat": 0.5}), steps[2]]
    lines = [format_row(row) for row in rows]
    for keep_evaluation, kept in ((True, 3), (False, 2)):
        path.write_bytes(b"".join(lines) + b'{"kind": "train", "st')
        cut_back(path, 2, keep_evaluation)
        assert path.read_bytes().splitlines(keepends=True) == lines[:kept]
        assert has_evaluation(path, 2) == keep_evaluation
    assert not has_evaluation(path, 1)


def test_a_row_that_lost_its_newline_does_not_swallow_the_next(path, said, step_row):
    file = RowFile(path, said.append)
    file.add(step_row(step=1))
    file.add(step_row(step=2))
    file.close()
    path.write_bytes(path.read_bytes()[:-1])
    cut_back(path, 2, keep_evaluation=True)
    file = RowFile(path, said.append)
    file.add(step_row(step=3))
    file.close()
    assert [one.step for one in read_rows(path)] == [1, 2, 3]


def test_a_run_without_the_file_has_nothing_to_cut(path):
    cut_back(path, 2, keep_evaluation=True)
    assert not has_evaluation(path, 2)
    assert not path.exists()


@pytest.mark.parametrize("line", ["3", "[]", '"x"', "{}", '{"step": "a"}', '{"step": null}'])
def test_lines_that_are_no_rows_are_left_out(path, line):
    row = '{"kind": "train", "step": 1}\n'
    path.write_text(f"{row}{line}\n")
    cut_back(path, 5, keep_evaluation=True)
    assert path.read_text() == row
