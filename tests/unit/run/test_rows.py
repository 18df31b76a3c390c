import json
import math

from ssd.run.rows import read_metrics


def train(step, **more):
    return {"kind": "train", "step": step, **more}


def evaluation(step, **more):
    return {"kind": "eval", "step": step, **more}


def read(tmp_path, *lines):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return read_metrics(path)


def test_rows_in_the_order_of_the_file(tmp_path):
    rows = [train(1, loss=2.0), train(2, loss=1.0), evaluation(2, mAP=0.5), train(3, loss=0.5)]
    assert read(tmp_path, *rows) == rows


def test_a_torn_last_line_is_left_out(tmp_path):
    assert read(tmp_path, train(1), '{"kind": "train", "st') == [train(1)]


def test_lines_that_are_no_rows_are_left_out(tmp_path):
    odd = [
        "",
        "7",
        "[]",
        "{}",
        '{"kind": "train"}',
        '{"kind": "train", "step": "2"}',
        "[" * 100_000,
    ]
    assert read(tmp_path, train(1), *odd, train(2)) == [train(1), train(2)]


def test_nan_and_infinity_are_read(tmp_path):
    (row,) = read(tmp_path, '{"kind": "train", "step": 1, "loss": NaN, "grad_norm": Infinity}')
    assert math.isnan(row["loss"])
    assert row["grad_norm"] == math.inf


def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path):
    before = [train(1), train(2), evaluation(2), train(3), evaluation(3), train(4)]
    after = [train(3, again=True), evaluation(3, again=True)]
    assert read(tmp_path, *before, *after) == [*before[:3], *after]


def test_an_evaluation_that_is_repeated_replaces_the_first(tmp_path):
    rows = [train(1), evaluation(1, mAP=0.1), evaluation(1, mAP=0.2)]
    assert read(tmp_path, *rows) == [rows[0], rows[2]]


def test_no_rows(tmp_path):
    assert read(tmp_path, "") == []
