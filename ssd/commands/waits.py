"""Limits the time that PyTorch's threads on the CPU spin while they wait for one another."""

from __future__ import annotations

import os

SPIN_COUNT = "10000"
TAKEN = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")


def shorten_waits() -> None:
    """Makes waiting threads sleep after a fraction of a millisecond, if the user sets nothing else.

    By default GNU's OpenMP spins 30 times as long. On cores that other processes want too, a
    thread then spins away the time that the thread it waits for needs; docs/benchmarks.md has
    figures. OpenMP reads the number once, when PyTorch is imported.
    """
    if not any(name in os.environ for name in TAKEN):
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
