"""Charts with a column for each run, columns that the user chooses, and runs in one file."""

import pytest

from ssd.common.errors import UserError
from ssd.spikes.formats.table import Chosen
from ssd.spikes.read import read_log, read_logs
from tests.unit.spikes.samples import written

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
