"""Event files of TensorBoard, and folders of logs."""

import struct

import pytest

from ssd.common.errors import UserError
from ssd.spikes.formats.table import Chosen
from ssd.spikes.read import read_log, read_logs
from tests.unit.spikes.samples import LIGHTNING, event_file, trainer_state, written


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
