"""Reads a few lines of each format, as its program writes them."""

import json
import struct

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.spikes.explain import explain
from ssd.spikes.formats.table import Chosen
from ssd.spikes.read import read_log, read_logs


def written(folder, content, name="log"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def trainer_state(last=30, length=4):
    rows = [
        {"step": step, "loss": step / 10, "epoch": step / length, "learning_rate": 1e-4}
        for step in range(1, last + 1)
    ]
    evaluated = {"step": 4, "eval_loss": 9.0, "epoch": 1.0}
    end = {"step": last, "train_loss": 5.0, "epoch": last / length}
    return json.dumps({"best_metric": None, "log_history": [*rows[:4], evaluated, *rows[4:], end]})


MMCV = [
    {"env_info": "…", "seed": 0},
    *(
        {"mode": "train", "epoch": epoch, "iter": i, "lr": 0.1, "loss_cls": 1, "loss": epoch + i}
        for epoch in (1, 2)
        for i in (50, 100)
    ),
    {"mode": "val", "epoch": 2, "iter": 10, "loss": 7.0},
]
MMENGINE = [
    {"lr": 0.1, "loss": 3.0, "loss_cls": 1.0, "epoch": 1, "iter": 50, "step": 50},
    {"coco/bbox_mAP": 0.1, "step": 1},
    {"lr": 0.1, "loss": 2.0, "loss_cls": 1.0, "epoch": 2, "iter": 100, "step": 100},
    {"lr": 0.1, "loss": 1.0, "loss_cls": 1.0, "epoch": 2, "iter": 150, "step": 150},
]
DETECTRON2 = [
    {"iteration": 19, "total_loss": 3.0, "loss_cls": 1.0, "lr": 0.1, "eta_seconds": 5.0},
    {"iteration": 39, "total_loss": 2.0, "loss_cls": 1.0, "lr": 0.1, "eta_seconds": 5.0},
    {"iteration": 39, "bbox/AP": 2.0},
]
DLLOGGER = (
    'DLLL {"type": "LOG", "step": "PARAMETER", "data": {"lr": 0.1}}\n'
    + "".join(
        f'DLLL {{"timestamp": "1", "type": "LOG", "step": [{e}, {i}], "data": {{"loss": {i}.5}}}}\n'
        for e in (0, 1)
        for i in (0, 1, 2)
    )
    + 'DLLL {"type": "LOG", "step": [1], "data": {"loss": 9.5}}\n'
)
MLPERF = "".join(
    f':::MLLOG {{"namespace": "", "time_ms": 1, "event_type": "POINT_IN_TIME", {rest}}}\n'
    for rest in (
        '"key": "global_batch_size", "value": 8, "metadata": {}',
        '"key": "train_loss", "value": 3.5, "metadata": {"samples_count": 8}',
        '"key": "eval_accuracy", "value": 0.5, "metadata": {"samples_count": 8}',
        '"key": "train_loss", "value": 2.5, "metadata": {"samples_count": 16}',
        '"key": "train_loss", "value": 1.5, "metadata": {"samples_count": 24}',
    )
)
LIGHTNING = (
    "epoch,step,train_loss_epoch,train_loss_step,val_loss\n"
    "0,49,,3.0,\n0,99,,2.0,\n0,120,2.5,,\n0,120,,,9.0\n1,149,,1.0,\n"
)
# (content, steps, losses, steps of a pass, first step, window, exact)
READ = {
    "trainer_state": (trainer_state(), range(1, 31), None, 4, 1, 1, True),
    "detectron2": (lines(*DETECTRON2), [19, 39], [3, 2], None, 0, "median", True),
    "mmcv": (lines(*MMCV), [50, 100, 150, 200], [51, 101, 52, 102], 100, 1, 50, False),
    "mmengine": (lines(*MMENGINE), [50, 100, 150], [3, 2, 1], None, 1, None, True),
    "dllogger": (DLLOGGER, range(6), [0.5, 1.5, 2.5] * 2, 3, 0, None, True),
    "MLPerf": (MLPERF, [1, 2, 3], [3.5, 2.5, 1.5], None, 1, None, True),
    "lightning": (LIGHTNING, [49, 99, 149], [3, 2, 1], None, 0, 1, True),
}
TEXTS = {
    "torchvision": (
        "Epoch: [{e}]  [{i:>4}/500]  eta: 0:05:10  lr: 0.020000  loss: 9.9999 ({x:.4f})  "
        "loss_classifier: 0.1 (0.2)  time: 0.5  data: 0.01  max mem: 1000",
        [(e, i) for e in (0, 1) for i in (0, 250, 499)],
        (500, 0, "running"),
    ),
    "imagenet": (
        "Epoch: [{e}][{i:>4}/500]\tTime  0.5 ( 0.5)\tData  0.1 ( 0.1)\tLoss {x:.4e} (9.9e+00)\t"
        "Acc@1   0.00 (  0.00)",
        [(e, i) for e in (0, 1) for i in (0, 250, 490)],
        (500, 0, 1),
    ),
    "YOLOX": (
        "2022-08-07 20:23:28 | INFO     | yolox.core.trainer:261 - epoch: {e}/300, iter: {i}/500, "
        "mem: 584Mb, iter_time: 0.2s, data_time: 0.0s, total_loss: {x:.1f}, iou_loss: 9.9, lr: 1",
        [(e, i) for e in (1, 2) for i in (10, 250, 500)],
        (500, 1, 1),
    ),
    "mmdetection": (
        "2020-01-01 00:00:00,000 - mmdet - INFO - Epoch [{e}][{i}/517]\tlr: 0.1, eta: 1:00, "
        "loss_cls: 9.9, loss: {x:.4f}, grad_norm: 9.9",
        [(e, i) for e in (1, 2) for i in (50, 250, 500)],
        (517, 1, None),
    ),
    "mmengine": (
        "01/01 00:00:00 - mmengine - INFO - Epoch(train)  [{e}][ {i}/517]  lr: 1.0e-01  "
        "eta: 1:00  loss: {x:.4f}  loss_cls: 9.9",
        [(e, i) for e in (1, 2) for i in (50, 250, 500)],
        (517, 1, None),
    ),
    "ssd.pytorch": (
        "timer: 0.1234 sec.\niter {i} || Loss: {x:.4f} ||",
        [(0, i) for i in (0, 10, 20)],
        (None, 0, 1),
    ),
    "pytorch-ssd": (
        "2020-01-01 00:00:00,000 - root - INFO - Epoch: {e}, Step: {i}, Average Loss: {x:.4f}, "
        "Average Regression Loss 9.9, Average Classification Loss: 9.9",
        [(e, i) for e in (0, 1) for i in (100, 200, 300)],
        (300, 0, 100),
    ),
    "darknet": (
        " {i}: {x:.6f}, 9.900000 avg loss, 0.001000 rate, 0.9 seconds, 64 images, 1.0 hours left\n"
        "Loaded: 0.000000 seconds",
        [(0, i) for i in (1, 2, 3)],
        (None, 1, 1),
    ),
    "Caffe": (
        "I0101 00:00:00.0 1 solver.cpp:243] Iteration {i} (1.2 iter/s, 8.1s/10 iters), loss = {x}\n"
        "I0101 00:00:00.0 1 solver.cpp:259]     Train net output #0: mbox_loss = 9.9",
        [(0, i) for i in (0, 10, 20)],
        (None, 0, None),
    ),
    "older Caffe": (
        "I0101 00:00:00.0 1 solver.cpp:228] Iteration {i}, loss = {x}\n"
        "I0101 00:00:00.0 1 solver.cpp:337] Iteration {i}, Testing net (#0)",
        [(0, i) for i in (0, 10, 20)],
        (None, 0, None),
    ),
    "nanoGPT": (
        "iter {i}: loss {x:.4f}, time 123.45ms, mfu 12.34%\nstep {i}: train loss 9.9, val loss 9.9",
        [(0, i) for i in (0, 10, 20)],
        (None, 0, 1),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_format(tmp_path, name):
    content, steps, losses, length, first, window, exact = READ[name]
    log = read_log(written(tmp_path, content))
    assert log.steps.tolist() == list(steps)
    assert losses is None or log.loss.tolist() == list(losses)
    assert (log.steps_per_epoch, log.first_step) == (length, first)
    assert (log.window, log.exact, log.run) == (window, exact, "")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_log(tmp_path, name):
    line, places, (length, first, window) = TEXTS[name]
    losses = [round(5 - 0.5 * n, 1) for n in range(len(places))]
    rows = [line.format(e=e, i=i, x=x) for (e, i), x in zip(places, losses, strict=True)]
    log = read_log(written(tmp_path, "Namespace(lr=0.1)\n\n" + "\n".join(rows)))
    least = places[0][0]
    assert log.steps.tolist() == [(e - least) * (length or 0) + i for e, i in places]
    assert log.loss.tolist() == losses
    assert (log.steps_per_epoch, log.first_step, log.window) == (length, first, window)


def test_other_columns_come_with_their_rows(tmp_path):
    log = read_log(written(tmp_path, trainer_state()))
    assert set(log.columns) == {"epoch", "lr"}
    assert log.batch_size is None


def test_lines_of_json_that_hold_nan_or_are_cut_off(tmp_path):
    text = '{"step": 1, "loss": 1.0}\n{"step": 2, "loss": NaN}\n{"step": 3, "loss": 1'
    log = read_log(written(tmp_path, text))
    np.testing.assert_array_equal(log.loss, [1, np.nan])


def test_a_list_of_objects(tmp_path):
    rows = [{"global_step": step, "train/loss": 1 / step} for step in (1, 2, 3)]
    assert read_log(written(tmp_path, json.dumps(rows, indent=1))).steps.tolist() == [1, 2, 3]


# Charts


def chart(runs, rows, metric="train/loss"):
    names = [f"{run} - {metric}{end}" for run in runs for end in ("", "__MIN", "__MAX")]
    head = ",".join(f'"{name}"' for name in ["Step", *names])
    return "\n".join([head, *rows])


def test_the_chart_of_one_run(tmp_path):
    text = chart(["fluent-oath-59"], ['"1","2.5","2.5","2.5"', '"3","1.5","1.5","1.5"'])
    (log,) = read_logs(written(tmp_path, text))
    assert (log.steps.tolist(), log.loss.tolist(), log.run) == ([1, 3], [2.5, 1.5], "")


def test_the_chart_of_several_runs(tmp_path):
    rows = ['"1","2","2","2","",  "",""', '"2","","","","5","5","5"', '"3","1","1","1","4","4","4"']
    logs = read_logs(written(tmp_path, chart(["a - b", "c"], rows)))
    assert [(log.run, log.steps.tolist(), log.loss.tolist()) for log in logs] == [
        ("a - b", [1, 3], [2, 1]),
        ("c", [2, 3], [5, 4]),
    ]


def test_the_chart_of_keras_is_a_running_mean(tmp_path):
    text = chart(["a"], ['"1","2.5","2.5","2.5"', '"2","1.5","1.5","1.5"'], metric="batch/loss")
    assert read_log(written(tmp_path, text)).window == "running"


def test_a_chart_without_a_loss(tmp_path):
    with pytest.raises(UserError, match="--loss-column"):
        read_logs(written(tmp_path, chart(["a"], ['"1","2","2","2"'], metric="val/loss")))


@pytest.mark.parametrize(("rows", "said"), [(1000, True), (999, False)])
def test_the_sample_of_tensorboard_says_so(tmp_path, rows, said):
    text = "Wall time,Step,Value\n" + "".join(f"1.5,{7 * i},{i}\n" for i in range(rows))
    log = read_log(written(tmp_path, text))
    assert ("event file" in log.note) == said
    assert log.steps[1] == 7


# Columns that the user chooses


def test_chosen_columns(tmp_path):
    path = written(tmp_path, "n,turn,a_loss,b_loss\n1,0,5,1\n2,0,4,2\n3,1,3,3\n4,1,2,4\n5,2,1,5\n")
    with pytest.raises(UserError, match="--loss-column"):
        read_log(path)
    log = read_log(path, chosen=Chosen("b_loss", "n", "turn"))
    assert log.loss.tolist() == [1, 2, 3, 4, 5]
    assert (log.steps.tolist(), log.steps_per_epoch) == ([1, 2, 3, 4, 5], 2)
    with pytest.raises(UserError, match="no column 'c'; found 'n', 'turn'"):
        read_log(path, chosen=Chosen("c"))


def test_a_text_log_has_no_columns(tmp_path):
    path = written(tmp_path, "iter 0 || Loss: 1.0 ||\niter 1 || Loss: 1.0 ||")
    with pytest.raises(UserError, match="leave --loss-column"):
        read_log(path, chosen=Chosen("loss"))


def test_an_axis_that_counts_samples(tmp_path):
    path = written(tmp_path, "samples,loss\n" + "".join(f"{8 * i},1\n" for i in (1, 2, 3, 5)))
    log = read_log(path)
    assert (log.steps.tolist(), log.exact) == ([1, 2, 3, 5], True)
    log = read_log(path, batch_size=4)
    assert log.steps.tolist() == [2, 4, 6, 10]
    log = read_log(written(tmp_path, "samples,loss\n8,1\n16,1\n20,1\n28,1\n"))
    assert not log.exact


def test_an_axis_that_may_count_samples_is_not_exact(tmp_path):
    path = written(tmp_path, "step,loss\n" + "".join(f"{4 * i},1\n" for i in range(1, 9)))
    assert read_log(path).exact
    assert read_log(path, batch_size=16).exact
    assert not read_log(path, batch_size=4).exact


# Runs


def test_a_run_is_chosen_by_its_number_or_name(tmp_path):
    path = written(tmp_path, "step,loss\n1,1\n2,2\n1,3\n2,4\n3,5\n")
    assert [log.run for log in read_logs(path)] == ["run 1", "run 2"]
    assert read_log(path, run="2").loss.tolist() == [3, 4, 5]
    assert read_log(path, run="run 1").loss.tolist() == [1, 2]
    for given in (None, "3", "other"):
        with pytest.raises(UserError, match=r"--run, by number or name \(1: run 1, 2: run 2\)"):
            read_log(path, run=given)


def test_rows_that_a_resume_replaced_are_counted(tmp_path):
    log = read_log(written(tmp_path, "step,loss\n1,1\n2,2\n3,3\n2,4\n3,5\n"))
    assert "2 rows were replaced" in log.note


def test_one_row_per_epoch_with_evaluations_between(tmp_path):
    rows = "".join(f"{e},{69 * e},0.5,\n,{e},,70\n" for e in range(1, 9))
    with pytest.raises(UserError, match="one row per epoch"):
        read_log(written(tmp_path, "epoch,step,loss,accuracy\n" + rows))


# Event files


def event_file(folder, scalars):
    """An event file of `add_scalar(tag, value, step)`, as TensorBoard's own writer makes it."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for tag, value, step in scalars:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        writer.add_event(Event(step=step, summary=summary))
    writer.close()
    return next(folder.glob("*tfevents*"))


def test_an_event_file(tmp_path):
    scalars = [(tag, step / 4, step) for step in range(20) for tag in ("train/loss", "lr")]
    path = event_file(tmp_path, [*scalars, ("val/loss", 9.0, 7), *scalars[:0]])
    for given in (path, tmp_path):
        log = read_log(given)
        assert log.steps.tolist() == list(range(20))
        assert log.loss.tolist() == [step / 4 for step in range(20)]
        assert log.columns["lr"].tolist() == log.loss.tolist()


def test_every_tag_with_a_loss_and_every_folder_is_a_log(tmp_path):
    for name in ("a", "b"):
        scalars = [(tag, 1.0, s) for s in range(5) for tag in ("loss/cls", "loss/box", "map")]
        event_file(tmp_path / name, scalars)
    logs = read_logs(tmp_path)
    assert [log.run for log in logs] == ["a/loss/cls", "a/loss/box", "b/loss/cls", "b/loss/box"]
    logs = read_logs(tmp_path, chosen=Chosen("loss/box"))
    assert [log.run for log in logs] == ["a", "b"]
    with pytest.raises(UserError, match="found 'loss/cls', 'loss/box', 'map'"):
        read_logs(tmp_path, chosen=Chosen("loss"))


def test_scalars_of_tensorflow_2(tmp_path):
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    for step in range(3):
        tensor = TensorProto(dtype=1, tensor_content=struct.pack("<f", step + 0.5))
        value = Summary.Value(tag="epoch_loss", tensor=tensor)
        value.metadata.plugin_data.plugin_name = "scalars"
        writer.add_event(Event(step=step, summary=Summary(value=[value])))
    writer.close()
    assert read_log(tmp_path).loss.tolist() == [0.5, 1.5, 2.5]


def test_an_event_file_that_is_cut_off(tmp_path):
    path = event_file(tmp_path, [("loss", 1.0, step) for step in range(20)])
    path.write_bytes(path.read_bytes()[:-5])
    assert len(read_log(path).steps) == 19


# Folders


def test_the_longest_history_of_each_run_of_a_folder(tmp_path):
    for run in ("a", "b"):
        for last in (12, 20):
            written(
                tmp_path / run / f"checkpoint-{last}", trainer_state(last), "trainer_state.json"
            )
    logs = read_logs(tmp_path)
    assert [len(log.steps) for log in logs] == [20, 20]
    assert [log.run for log in logs] == [f"{r}/checkpoint-20/trainer_state.json" for r in "ab"]


def test_what_a_folder_holds_that_cannot_be_read_is_named(tmp_path):
    written(tmp_path / "version_0", "epoch,step,train_loss\n0,9,1\n1,19,2\n2,29,1\n", "metrics.csv")
    written(tmp_path / "version_1", LIGHTNING, "metrics.csv")
    (log,) = read_logs(tmp_path)
    assert log.run == "version_1/metrics.csv"
    assert "version_0/metrics.csv: has one row per epoch" in log.note
    (tmp_path / "version_1" / "metrics.csv").unlink()
    with pytest.raises(UserError, match="one row per epoch"):
        read_logs(tmp_path)


# Hostile


def mutated(content, rng):
    for _ in range(int(rng.integers(1, 20))):
        start = int(rng.integers(len(content) + 1))
        end = start + int(rng.choice([0, 1, 5, 200]))
        pieces = [b"", b"\n", b"-1", b"1e999", b"{", b"]", b'"', b"null", b"9" * 25, rng.bytes(3)]
        content = content[:start] + pieces[rng.integers(len(pieces))] + content[end:]
    return content


def text_of(name):
    line, places, _ = TEXTS[name]
    return "\n".join(line.format(e=e, i=i, x=1.5) for e, i in places).encode()


def event_bytes(folder):
    return event_file(folder, [("loss", 1.0, step) for step in range(20)]).read_bytes()


def logs_or_sentence(path):
    try:
        return read_logs(path)
    except UserError as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", [*READ, *TEXTS, "events"])
def test_any_damage_gives_logs_or_a_sentence(tmp_path, name):
    rng = np.random.default_rng(0)
    if name == "events":
        content = event_bytes(tmp_path / "whole")
    else:
        content = READ[name][0].encode() if name in READ else text_of(name)
    path = tmp_path / "log"
    outcomes = {list: 0, str: 0}
    for _ in range(60):
        path.write_bytes(mutated(content, rng))
        logs = logs_or_sentence(path)
        outcomes[type(logs)] += 1
        if isinstance(logs, str):
            assert "\n" not in logs
            continue
        for log in logs[:3]:
            assert (np.diff(log.steps) > 0).all()
            assert all(len(values) == len(log.steps) for values in log.columns.values())
            explain(log)
    assert outcomes[list] > 0


def test_a_line_without_an_end_takes_no_time(tmp_path):
    line = "Epoch: [1]  [ 1/2]  eta: " * 200_000
    with pytest.raises(UserError):
        read_log(written(tmp_path, line))


def test_a_frame_that_claims_to_be_larger_than_the_file(tmp_path):
    content = event_bytes(tmp_path / "whole")
    content += struct.pack("<Q", 2**63) + bytes(100)
    assert len(read_log(written(tmp_path, content)).steps) == 20
