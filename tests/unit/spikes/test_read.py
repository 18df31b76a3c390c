import json
import math

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.spikes.explain import explain
from ssd.spikes.log import Log
from ssd.spikes.read import read_log


def written(tmp_path, content, name="log.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def row(step, length=5, **more):
    """A line of metrics.jsonl of a run with `batch_positives_and_size`."""
    last = (step - 1) % length == length - 1
    size = 4 if last else 16
    return {
        "kind": "train",
        "step": step,
        "epoch": (step - 1) // length,
        "step_in_epoch": (step - 1) % length,
        "steps_per_epoch": length,
        "loss": 8.0 / size,
        "num_positives": 20 * size,
        "num_images": size,
        "divisor": 20.0 * size * size,
        "lr": 0.01,
        "grad_norm": 2.0,
        "clipped": last,
        "skipped": False,
    } | more


def run_folder(tmp_path, rows, config=None):
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    if config is not None:
        (tmp_path / "config.yaml").write_text(config)
    return tmp_path


CONFIG = "loss:\n  divisor: batch_positives_and_size\ntraining:\n  batch_size: 4\n  accumulate: 4\n"


# Runs of this framework


@pytest.mark.parametrize("file", ["", "metrics.jsonl"])
def test_a_run_is_read_from_its_folder_or_its_metrics(tmp_path, file):
    folder = run_folder(tmp_path, [row(step) for step in range(1, 13)], CONFIG)
    log = read_log(folder / file)
    assert log.source == str(folder / file)
    assert log.steps.tolist() == list(range(1, 13))
    assert log.loss[:5].tolist() == [0.5] * 4 + [2.0]
    assert (log.steps_per_epoch, log.first_step, log.batch_size) == (5, 1, 16)
    assert (log.divisor, log.shuffled) == ("batch_positives_and_size", True)
    assert log.columns["clipped"][:5].tolist() == [0, 0, 0, 0, 1]
    assert "momentum_norm" not in log.columns


def test_losses_under_each_divisor_come_from_the_rows(tmp_path):
    under = {"step_positives": 1.0, "batch_positives_and_size": 0.25}
    rows = [row(1, loss_under=under), row(2, loss_under=None), row(3, loss_under=under)]
    losses = read_log(run_folder(tmp_path, rows)).losses_under
    assert losses.keys() == under.keys()
    np.testing.assert_array_equal(losses["step_positives"], [1, math.nan, 1])


def test_an_older_run_knows_its_loss_under_step_positives(tmp_path):
    losses = read_log(run_folder(tmp_path, [row(step) for step in range(1, 6)])).losses_under
    assert losses.keys() == {"step_positives"}
    np.testing.assert_allclose(losses["step_positives"], 8.0)


def test_a_run_with_missing_figures(tmp_path):
    rows = [row(1, loss=None), row(2), {"kind": "eval", "step": 2}, row(3, grad_norm="odd")]
    log = read_log(run_folder(tmp_path, rows))
    np.testing.assert_array_equal(log.loss, [math.nan, 0.5, 0.5])
    np.testing.assert_array_equal(log.columns["grad_norm"], [2, 2, math.nan])
    assert log.divisor is None


def test_numbers_that_no_float_can_hold_are_missing(tmp_path):
    rows = [row(1), row(2, loss=10**400), row(10**30)]
    log = read_log(run_folder(tmp_path, rows))
    assert log.steps.tolist() == [1, 2]
    assert math.isnan(log.loss[1])


def test_a_resumed_run_with_other_steps_per_epoch_knows_where_a_pass_begins(tmp_path):
    rows = [row(step) for step in range(1, 8)]
    rows += [row(8, steps_per_epoch=4, step_in_epoch=0), row(9, steps_per_epoch=4, step_in_epoch=1)]
    log = read_log(run_folder(tmp_path, rows))
    assert log.steps_per_epoch == 4
    assert (8 - log.first_step) % 4 == 0


def test_a_real_spike_is_explained_from_the_folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = [row(step, 20) for step in range(1, 201)]
    for line in rows:
        line["loss"] *= float(np.exp(0.05 * rng.normal()))
        line["divisor"] = line["num_positives"] * line["num_images"]
    found = explain(read_log(run_folder(tmp_path, rows, CONFIG)))
    assert (found.cause, found.spikes.period) == ("short_last_batch", 20)
    assert found.remedy == "step_positives"


def test_what_the_user_gives_wins(tmp_path):
    folder = run_folder(tmp_path, [row(step) for step in range(1, 13)])
    log = read_log(folder, steps_per_epoch=3, batch_size=7)
    assert (log.steps_per_epoch, log.batch_size) == (3, 7)


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


@pytest.mark.parametrize("config", ["loss: [", "\x00", "[" * 5000])
def test_a_broken_config(tmp_path, config):
    with pytest.raises(UserError, match=r"config\.yaml: is not YAML") as caught:
        read_log(run_folder(tmp_path, [row(1)], config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("config", ["", "7", "loss: 7", "loss:\n  divisor: other", "loss: {}"])
def test_a_config_that_does_not_say_the_divisor(tmp_path, config):
    assert read_log(run_folder(tmp_path, [row(1)], config)).divisor is None


# Whatever the bytes are: a log or a sentence

SEEDS = [
    b"Wall time,Step,Value\n" + b"".join(b"1.0,%d,%d.5\n" % (i, i % 7) for i in range(60)),
    b"epoch;batch;loss;lr\n" + b"".join(b"%d;%d;2.5;0.1\n" % (i // 6, i % 6) for i in range(60)),
    b"".join(b"%d\n" % (1 + i % 9) for i in range(60)),
    b"".join(json.dumps(row(step)).encode() + b"\n" for step in range(1, 40)),
]
SPLICES = [b"", b"\n", b",", b";", b'"', b"nan", b"1e999", b"-1", b"99999999999999999999", b"\xff"]
SPLICES += [b"{", b"}", b"[", b"#", b"epoch", b"loss", b"\r", b"\x0c", b"0x", b"null", b": 1e300"]


def mutated(rng):
    content = SEEDS[rng.integers(len(SEEDS))]
    for _ in range(int(rng.integers(1, 30))):
        start = int(rng.integers(len(content) + 1))
        end = start + int(rng.choice([0, 1, 5, 200]))
        piece = SPLICES[rng.integers(len(SPLICES))] if rng.random() < 0.9 else rng.bytes(3)
        content = content[:start] + piece + content[end:]
    return content


def log_or_sentence(path):
    try:
        return read_log(path)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize("made", ["mutated", "random"])
def test_any_bytes_give_a_log_or_a_sentence(tmp_path, made):
    rng = np.random.default_rng(0)
    outcomes = {Log: 0, str: 0}
    path = tmp_path / "log.csv"
    for _ in range(300):
        content = mutated(rng) if made == "mutated" else rng.bytes(int(rng.integers(0, 300)))
        path.write_bytes(content)
        log = log_or_sentence(path)
        outcomes[type(log)] += 1
        if isinstance(log, str):
            assert "\n" not in log
            continue
        assert (np.diff(log.steps) > 0).all()
        assert all(
            len(column) == len(log.steps) == len(log.loss) for column in log.columns.values()
        )
        explain(log)
    assert outcomes[str] > 0
    assert outcomes[Log] > 100 or made == "random"
