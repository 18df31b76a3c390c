"""Logs of each program, a few lines each, as it writes them."""

import json


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
