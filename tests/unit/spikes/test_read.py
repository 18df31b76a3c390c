"""Tables and bare columns, and the sentences on what is neither."""

import math

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.spikes.read import read_log
from tests.unit.spikes.samples import written

# Tables of others


def test_tensorboard_export(tmp_path):
    text = "Wall time,Step,Value\n" + "".join(f"1.7e9,{i},{i + 0.5}\n" for i in range(4))
    log = read_log(written(tmp_path, text))
    assert log.steps.tolist() == [0, 1, 2, 3]
    assert log.loss.tolist() == [0.5, 1.5, 2.5, 3.5]
    assert (log.first_step, log.steps_per_epoch, log.shuffled) == (0, None, None)


@pytest.mark.parametrize(
    ("steps", "first"),
    [([0, 1], 0), ([1, 2], 1), ([9, 19, 29], 0), ([10, 20], 1), ([1, 11, 21], 1), ([7, 8], None)],
)
def test_whether_steps_count_from_0_or_1(tmp_path, steps, first):
    text = "step,loss\n" + "".join(f"{step},1\n" for step in steps)
    assert read_log(written(tmp_path, text), steps_per_epoch=5).first_step == first


def test_a_step_that_comes_twice_counts_the_last_time(tmp_path):
    log = read_log(written(tmp_path, "step,loss\n1,1\n2,2\n3,3\n2,20\n3,30\n4,40\n"))
    assert log.steps.tolist() == [1, 2, 3, 4]
    assert log.loss.tolist() == [1, 20, 30, 40]


def test_rows_of_an_evaluation_in_between_do_not_replace_the_loss(tmp_path):
    text = "epoch,step,train_loss,val_loss\n0,1,5,\n0,2,4,\n0,2,,9\n1,3,3,\n1,4,nan,\n1,4,,8\n"
    log = read_log(written(tmp_path, text))
    assert log.steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(log.loss, [5, 4, 3, math.nan])


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
def test_separators(tmp_path, separator):
    lines = ["iter,loss,learning_rate,grad_norm", "1,2.5,0.1,7", "2,1.5,0.2,8"]
    log = read_log(written(tmp_path, "\n".join(lines).replace(",", separator)))
    assert log.loss.tolist() == [2.5, 1.5]
    assert log.columns["lr"].tolist() == [0.1, 0.2]
    assert log.columns["grad_norm"].tolist() == [7, 8]


@pytest.mark.parametrize(
    "header",
    ["loss", "Train Loss", "train/loss", '"Loss/train"', "total_loss", "my run - train/loss"],
)
def test_names_of_the_loss(tmp_path, header):
    log = read_log(written(tmp_path, f"step,{header},val_loss\n1,3,9\n2,2,9\n"))
    assert log.loss.tolist() == [3, 2]


def test_the_steps_of_a_pass_come_from_the_epochs(tmp_path):
    rows = [f"{step},{(step - 1) // 7},1.0" for step in range(1, 40)]
    log = read_log(written(tmp_path, "\n".join(["step,epoch,loss", *rows])))
    assert log.steps_per_epoch == 7
    assert log.first_step % 7 == 1


def test_the_steps_of_a_pass_survive_missing_rows(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{i},{i // 50},1.0" for i in range(3, 1000) if rng.random() > 0.1]
    log = read_log(written(tmp_path, "\n".join(["step,epoch,loss", *rows])))
    assert log.steps_per_epoch == 50
    assert log.first_step % 50 == 0


def test_uneven_epochs_have_no_length(tmp_path):
    starts = [0, 5, 12, 20, 31, 40]
    rows = [f"{np.searchsorted(starts, i, 'right')},1.0" for i in range(45)]
    assert read_log(written(tmp_path, "\n".join(["epoch,loss", *rows]))).steps_per_epoch is None


def test_batches_that_count_within_the_epoch_are_counted_through(tmp_path):
    rows = [f"{epoch},{batch},{epoch + batch / 10}" for epoch in (1, 2, 3) for batch in range(4)]
    log = read_log(written(tmp_path, "\n".join(["epoch,batch,loss", *rows])))
    assert log.steps.tolist() == list(range(12))
    assert (log.steps_per_epoch, log.first_step) == (4, 0)
    assert log.loss[5] == 2.1


def test_batches_that_start_anew_need_no_epoch(tmp_path):
    rows = [f"{batch},1.0" for batch in [1, 2, 3, 1, 2, 3, 1, 2]]
    log = read_log(written(tmp_path, "\n".join(["batch,loss", *rows])))
    assert log.steps.tolist() == list(range(1, 9))
    assert (log.steps_per_epoch, log.first_step) == (3, 1)


def test_several_rows_of_an_epoch_without_steps(tmp_path):
    rows = [f"{i // 5},0.5,{i}" for i in range(20)]
    log = read_log(written(tmp_path, "\n".join(["epoch;accuracy;loss".replace(";", ","), *rows])))
    assert log.steps.tolist() == list(range(20))
    assert (log.steps_per_epoch, log.first_step) == (5, 0)


def test_images_give_the_batch_size(tmp_path):
    log = read_log(written(tmp_path, "step,loss,batch_size\n1,1,16\n2,1,16\n3,1,4\n"))
    assert log.batch_size == 16
    assert log.columns["num_images"].tolist() == [16, 16, 4]


# A bare column


def test_a_bare_column(tmp_path):
    text = "# losses\n2.5\n1.5\n\nnan\ninf\nNA\n0.5\n"
    log = read_log(written(tmp_path, text, "losses.txt"))
    np.testing.assert_array_equal(log.loss, [2.5, 1.5, math.nan, math.inf, math.nan, 0.5])
    assert log.steps.tolist() == list(range(6))
    assert log.first_step == 0
    assert log.columns == {}


def test_a_column_with_a_name(tmp_path):
    assert read_log(written(tmp_path, "train loss\n2.5\n1.5\n")).loss.tolist() == [2.5, 1.5]


@pytest.mark.parametrize("encode", ["utf-8-sig", "latin-1"])
def test_encodings_and_windows_line_ends(tmp_path, encode):
    text = "step,loss,größe\r\n1,2.5,1\r\n2,1.5,1\r\n"
    log = read_log(written(tmp_path, text.encode(encode)))
    assert log.loss.tolist() == [2.5, 1.5]


def test_a_torn_last_row(tmp_path):
    log = read_log(written(tmp_path, 'step,loss,lr\n1,2.5,0.1\n2,1.5,0.1\n3,"1.'))
    assert log.steps[:2].tolist() == [1, 2]
    assert log.loss[:2].tolist() == [2.5, 1.5]


# Mistakes, in one line


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"# nothing\n", "has no rows"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
        ("step,loss\n1,2\n".encode("utf-16"), "UTF-16"),
        (b"step,loss\n", "no rows"),
        (b"step,accuracy,val_loss\n1,2,3\n", "found 'step', 'accuracy', 'val_loss'"),
        (b"a_loss,b_loss\n1,2\n", "several columns may be the loss"),
        (b"1,2\n3,4\n", "2 columns without names"),
        (b"step,loss\n1,high\n2,low\n", "'high' in row 1"),
        (b"step,loss\n1,\n2,\n", "the loss column is empty"),
        (b"step,loss\n,1\nx,2\n", "no row has both a step and a loss"),
        (b"epoch,accuracy,loss,val_loss\n0,0.1,3,4\n1,0.2,2,3\n2,0.3,1,2\n", "one row per epoch"),
        (b"step,loss\n1," + b"9" * 200_000, "is not a table"),
        (b'{"step": 1}\n', "no column is the loss"),
        (b'{"step": 1, "loss": null}\n', "the loss column is empty"),
        (b"[1, 2]", "no rows that are JSON objects"),
        (b'{"kind": "eval", "step": 1}\n', "no training step"),
        (b"Dear all,\nthe loss spikes.\n", "no column is the loss"),
    ],
)
def test_a_file_without_a_log(tmp_path, content, words):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read_log(path)
    message = str(caught.value)
    assert words in message
    assert str(path) in message
    assert "\n" not in message


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="there is no such file"):
        read_log(tmp_path / "none.csv")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"has no metrics\.jsonl"):
        read_log(tmp_path)


@pytest.mark.parametrize("given", [{"steps_per_epoch": 0}, {"batch_size": -1}])
def test_impossible_numbers(tmp_path, given):
    with pytest.raises(UserError, match="at least 1"):
        read_log(written(tmp_path, "1\n2\n"), **given)
