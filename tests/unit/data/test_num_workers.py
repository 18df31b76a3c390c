import pytest

from ssd.data import num_workers as module
from ssd.data.num_workers import choose_workers, num_workers, workers_line


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"),
    [(16, 1, 15), (64, 1, 16), (64, 8, 7), (2, 1, 1), (1, 1, 1), (4, 8, 1)],
)
def test_ranks_on_gpus_leave_a_core_each_for_the_training(cores, ranks, expected):
    assert choose_workers(cores, ranks, "cuda") == expected


@pytest.mark.parametrize(
    ("cores", "ranks", "expected"),
    [(1, 1, 0), (2, 1, 0), (4, 1, 1), (16, 1, 4), (16, 2, 2), (256, 1, 16)],
)
def test_ranks_on_a_cpu_keep_most_cores_for_the_training(cores, ranks, expected):
    assert choose_workers(cores, ranks, "cpu") == expected


@pytest.mark.parametrize(("cores", "expected"), [(1, 1), (2, 2), (64, 16)])
def test_a_process_that_only_waits_leaves_them_all_cores(cores, expected):
    assert choose_workers(cores, 1, None) == expected


@pytest.fixture
def on(monkeypatch):
    """Makes this a machine with so many cores and ranks."""

    def set_to(cores, ranks):
        monkeypatch.setattr(module, "usable_cores", lambda: cores)
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))

    return set_to


def test_a_number_is_taken_as_it_is(on):
    on(cores=4, ranks=2)
    assert [num_workers(count, "cuda") for count in (0, 3, 200)] == [0, 3, 200]
    assert workers_line(3, "cuda", for_training=True) == "3"


def test_the_summary_says_how_the_number_came_about(on, monkeypatch):
    on(cores=16, ranks=1)
    assert num_workers("auto", "cuda") == 15
    line = workers_line("auto", "cuda", for_training=True)
    assert line == "15 (data.workers auto: 16 cores)"
    line = workers_line("auto", "cuda", for_training=False)
    assert line == "15 to evaluate, none to train (data.workers auto: 16 cores)"
    on(cores=16, ranks=4)
    line = workers_line("auto", "cuda", for_training=True)
    assert line == "3 (data.workers auto: 16 cores for 4 ranks)"
    on(cores=1, ranks=1)
    line = workers_line("auto", "cuda", for_training=True)
    assert line == "1 (data.workers auto: 1 core)"
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert num_workers("auto", "cuda") == 1
