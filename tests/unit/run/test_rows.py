import json
import math
from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from ssd.run.rows import column, format_row, only, parse_row, read_rows
from ssd.steps import EvaluationRow, StepRow


def train(step, **more):
    return {"kind": "train", "step": step, **more}


def evaluation(step, mAP=math.nan):
    return {"kind": "eval", "step": step, "metric": "voc07", "mAP": mAP}


def evaluation_row(step, mAP=math.nan):
    return EvaluationRow(step, None, "voc07", mAP, {})


def read(tmp_path, *lines):
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return read_rows(path)


def assert_same(rows, expected):
    """Every figure to the bit and of the same type, a NaN equal to a NaN."""
    assert list(map(repr, rows)) == list(map(repr, expected))


COUNTS = st.integers(0, 2**63 - 1)
NUMBERS = st.floats(allow_infinity=False)
VALUES = {
    "int": COUNTS,
    "int | None": st.none() | COUNTS,
    "float": NUMBERS,
    "bool | None": st.none() | st.booleans(),
    "str": st.text(),
    "dict[str, float]": st.dictionaries(st.text(), NUMBERS),
}
STEP_ROWS, EVALUATION_ROWS = (
    st.builds(kind, **{field.name: VALUES[field.type] for field in fields(kind)})
    for kind in (StepRow, EvaluationRow)
)


@given(STEP_ROWS | EVALUATION_ROWS)
def test_a_line_gives_back_the_row_that_was_written(row):
    line = format_row(row)
    assert line.splitlines(keepends=True) == [line]
    assert line.endswith(b"\n")
    assert_same([parse_row(line)], [row])


def test_rows_of_a_kind_and_their_columns(step_row):
    rows = [step_row(step=1, num_images=16, lr=0.5, clipped=True), evaluation_row(1)]
    rows += [step_row(step=2, num_images=None, lr=math.inf, clipped=False)]
    assert only(EvaluationRow, rows) == rows[1:2]
    steps = only(StepRow, rows)
    assert [row.step for row in steps] == [1, 2]
    assert str(column(steps, "num_images").tolist()) == "[16.0, nan]"
    assert column(steps, "lr").tolist() == [0.5, math.inf]
    assert column(steps, "clipped").tolist() == [1.0, 0.0]


def test_rows_in_the_order_of_the_file(tmp_path, step_row):
    lines = [train(1, loss=2.0), train(2, loss=1.0), evaluation(2, mAP=0.5), train(3, loss=0.5)]
    steps = [step_row(step=step, loss=loss) for step, loss in ((1, 2.0), (2, 1.0), (3, 0.5))]
    assert_same(read(tmp_path, *lines), [*steps[:2], evaluation_row(2, 0.5), steps[2]])


def test_a_torn_last_line_is_left_out(tmp_path, step_row):
    assert_same(read(tmp_path, train(1), '{"kind": "train", "st'), [step_row(step=1)])


def test_lines_that_are_no_rows_are_left_out(tmp_path, step_row):
    odd = [
        "",
        "7",
        "[]",
        "{}",
        '{"kind": "train"}',
        '{"kind": "train", "step": "2"}',
        '{"kind": "train", "step": true}',
        '{"kind": ["train"], "step": 2}',
        '{"kind": "test", "step": 2}',
        '{"step": 2}',
        "[" * 100_000,
    ]
    rows = read(tmp_path, train(1), *odd, train(2))
    assert_same(rows, [step_row(step=1), step_row(step=2)])


def test_figures_of_another_type_are_missing(tmp_path, step_row):
    odd = {"loss": "2.0", "lr": True, "grad_norm": 10**400, "num_images": 2.0, "epoch": 10**30}
    odd |= {"clipped": 1, "loss_under": {"step_positives": 3, "rank_positives": "4"}}
    under = {"step_positives": 3.0, "rank_positives": math.nan}
    assert_same(read(tmp_path, train(1, **odd)), [step_row(step=1, loss_under=under)])
    assert_same(read(tmp_path, train(1, loss_under=[1.0])), [step_row(step=1)])


def test_nan_and_infinity_are_read(tmp_path):
    (row,) = read(tmp_path, '{"kind": "train", "step": 1, "loss": NaN, "grad_norm": Infinity}')
    assert math.isnan(row.loss)
    assert row.grad_norm == math.inf


def test_a_resumed_run_replaces_the_steps_it_repeats(tmp_path, step_row):
    before = [train(1), train(2), evaluation(2), train(3), evaluation(3), train(4)]
    after = [train(3, loss=0.25), evaluation(3, mAP=0.75)]
    kept = [step_row(step=1), step_row(step=2), evaluation_row(2)]
    again = [step_row(step=3, loss=0.25), evaluation_row(3, 0.75)]
    assert_same(read(tmp_path, *before, *after), [*kept, *again])


def test_an_evaluation_that_is_repeated_replaces_the_first(tmp_path, step_row):
    rows = read(tmp_path, train(1), evaluation(1, mAP=0.1), evaluation(1, mAP=0.2))
    assert_same(rows, [step_row(step=1), evaluation_row(1, 0.2)])


def test_no_rows(tmp_path):
    assert read(tmp_path, "") == []
    assert read_rows(tmp_path / "none.jsonl") == []
