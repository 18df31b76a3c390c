"""Does the same with many files in threads, which end at once if the caller does."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TypeVar

from ssd.common.progress import Progress

PART = 32  # items that a thread takes at once: a task of its own for each takes longer

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    threads: int,
    description: str,
    bar_after: float = 0,
) -> list[Result]:
    """The results of `work` on all items, in order, with its progress shown.

    Ctrl-C waits for the items that the threads have begun, and for no others.

    Args:
        work: runs in a thread; Pillow's warnings of broken data are silenced meanwhile.
        items: what to work on.
        threads: how many items are worked on at a time.
        description: of the progress bar.
        bar_after: seconds after which the bar appears.
    """
    stopped = Event()

    def work_on(part: Sequence[Item]) -> list[Result]:
        return [work(item) for item in part if not stopped.is_set()]

    parts = [items[start : start + PART] for start in range(0, len(items), PART)]
    progress = Progress(description, len(items), "image", after=bar_after)
    pool = ThreadPoolExecutor(threads)
    results: list[Result] = []
    with warnings.catch_warnings(), progress:
        warnings.simplefilter("ignore")
        try:
            for done in pool.map(work_on, parts):
                results += done
                progress.advance(len(done))
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
    return results
