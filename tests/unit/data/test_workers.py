import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing import get_context

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.data.workers import Workers

# Python 3.12 and newer warn whenever a process with threads forks
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


def started(work, tasks, count):
    """The workers, asked for all tasks at once."""
    workers = Workers(work, tasks, count)
    for number, _ in enumerate(tasks):
        workers.ask(number, 100 + number)
    return closing(workers)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_result_comes_by_its_number(count):
    with started(
        lambda place, task: (place, task * task, os.getpid()), range(30), count
    ) as workers:
        for number in [29, *range(29)]:
            place, square, process = workers.result(number)
            assert (place, square) == (100 + number, number * number)
            assert process != os.getpid()


def test_tasks_may_come_from_an_iterator_that_was_begun():
    tasks = iter("abcdef")
    next(tasks)
    with closing(Workers(lambda _place, task: task, tasks, 2)) as workers:
        for number in (0, 1, 4):
            workers.ask(number, 0)
        assert [workers.result(number) for number in (4, 0, 1)] == ["f", "b", "c"]
    assert next(tasks) == "b"


def test_the_next_task_goes_to_whoever_is_free():
    """The first task ends only after all others, which the other worker has to do."""
    others_done = get_context("fork").Event()

    def work(_place, task):
        if task == 0:
            return others_done.wait(60)
        if task == 9:
            others_done.set()
        return True

    with started(work, range(10), 2) as workers:
        assert all(workers.result(number) for number in range(10))


def test_an_error_comes_with_its_result():
    def work(_place, task):
        if task == 1:
            raise UserError("this image is broken")
        return 1 // (task - 3)

    with started(work, range(5), 2) as workers:
        assert workers.result(4) == 1
        with pytest.raises(UserError, match="^this image is broken$"):
            workers.result(1)
        with pytest.raises(RuntimeError, match=r"(?s)a worker failed:.*in work.*ZeroDivisionError"):
            workers.result(3)
        assert workers.result(0) == -1


def test_results_of_any_size_wait_for_the_parent():
    with started(lambda _place, task: bytes(task), range(10**6, 10**6 + 40), 3) as workers:
        time.sleep(0.1)
        for number in range(40):
            assert len(workers.result(number)) == 10**6 + number


def test_a_killed_worker_is_told():
    def work(_place, task):
        if task == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    told = r"no more images came \(a worker was killed by SIGKILL\): check that the storage"
    with started(work, range(3), 2) as workers, pytest.raises(UserError, match=told):
        workers.result(2)


def test_workers_that_were_killed_while_they_had_nothing_to_do_are_told():
    with closing(Workers(lambda _place, task: task, range(9), 2)) as workers:
        for process in workers._processes.values():
            process.kill()
            process.join()
        for number in range(9):
            workers.ask(number, 0)
        with pytest.raises(UserError, match=r"\(a worker was killed by SIGKILL\): check that the"):
            workers.result(0)


def test_a_worker_that_ends_is_told():
    told = r"no more images came \(a worker has ended\): check that the storage"
    workers = started(lambda _place, _task: os._exit(0), [0], 1)
    with workers as each, pytest.raises(UserError, match=told):
        each.result(0)


def test_nobody_waits_for_a_worker_that_hangs(monkeypatch):
    monkeypatch.setattr("ssd.data.workers.LONGEST_WAIT", 0.2)
    with started(lambda _place, _task: time.sleep(1000), range(1), 1) as workers:
        (process,) = workers._processes.values()
        with pytest.raises(UserError, match=r"no more images came \(none for 0\.2 seconds\): che"):
            workers.result(0)
    assert not process.is_alive()


def test_closing_ends_the_processes_and_leaves_no_open_file():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with started(lambda _place, _task: time.sleep(1000), range(4), 2) as workers:
            processes = list(workers._processes.values())
        assert [process.exitcode for process in processes] == [-signal.SIGKILL] * 2
        del workers, processes
    assert len(os.listdir("/proc/self/fd")) == before


ORPHANS = """
import sys, time
from contextlib import closing
from ssd.data.workers import Workers

first = Workers(lambda _place, task: bytes(task), [10**6] * 4, 3)  # more than a pipe holds
second = Workers(lambda _place, task: task, range(4), 2)
first.ask(0, 0)
first.ask(1, 0)
print(*(each.pid for own in (first, second) for each in own._processes.values()), flush=True)
time.sleep(1000)
"""


def test_workers_end_with_a_parent_that_is_killed():
    command = [sys.executable, "-W", "ignore", "-c", ORPHANS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        processes = [int(each) for each in parent.stdout.readline().split()]
        assert len(processes) == 5
        parent.kill()
    deadline = time.monotonic() + 20
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_reuses_the_memory_that_it_has_freed():
    """Else each megabyte would cost 256 page faults for each task."""

    def faults(_place, _task):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        images = [np.ones(1_000_000, np.uint8) for _ in range(9)]
        del images
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    with started(faults, range(9), 1) as workers:
        assert max(workers.result(number) for number in range(3, 9)) < 50
