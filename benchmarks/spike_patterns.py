"""Counts how often `ssd spikes --explain` is right about logs with a known pattern.

    python -m benchmarks.spike_patterns                 200 logs of each pattern and way
    python -m benchmarks.spike_patterns --logs 20 --first 0 --misses

The thresholds were chosen on seeds below 40,000; the figures of docs/spikes.md are those from
40,000 on, the default.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter

from benchmarks.spike_logs import PATTERNS, WAYS, Made, holds, make
from ssd.spikes.explain import Explanation, explain

UNSEEN = 40_000
MOST_SLACK = 0.1  # of a period: a claim that is less certain is of no use
NO_CLAIM = {"none", "not_held", "too_short"}
SPIKES = {"short_last_batch", "epoch_reset", "fixed_sample", "unknown"}
CAUSES = {
    "spike": SPIKES,
    "running mean": {"running_mean"},
    "drop": {"epoch_drop"},
    "fixed order": {"fixed_order"},
    "grouped": {"grouped_batches"},
    "restarts": {"lr_schedule"},
}


def is_right(made: Made, told: Explanation) -> bool:
    """Whether the weightiest finding is the pattern of the log; none where it has none."""
    if made.pattern == "none":
        return told.cause in NO_CLAIM
    return told.cause in CAUSES[made.pattern]


def is_in_place(made: Made, told: Explanation) -> bool:
    """Whether the period, and the step that spikes, are those of the log.

    A log of every k-th step returns to a step after lcm(k, pass) steps, and that is then its
    period. A mean over k steps, and a length of a pass that is known to the next row, leave room.
    """
    if made.pattern == "none":
        return True
    finding = told.findings[0]
    period = finding.period or 0.0
    room = made.every - 1 if not made.log.exact else min(finding.slack, MOST_SLACK * period)
    if made.pattern == "grouped":
        return abs(period - made.period) <= made.every
    if made.pattern != "spike" or told.spikes is None:
        room += made.every if made.pattern == "restarts" else 0
        known = made.log.steps_per_epoch is not None
        wanted = made.period if known else math.lcm(made.period, made.every)
        return min(abs(period - wanted), abs(period - made.period)) <= room
    spikes = told.spikes
    if made.way == "means over k":
        room = max(spikes.slack, 1)
        return abs(period - made.period) <= room or period % made.period == 0
    fits = {made.period, math.lcm(made.period, made.every)}
    if made.log.exact:
        at = (spikes.phase - 1 - made.place) % made.length
        return period in fits and (at == 0 or at > made.length - spikes.width)
    at_row = Counter(made.at[spikes.rows].tolist())
    return at_row[made.place] == len(spikes.rows) and min(abs(period - fit) for fit in fits) <= room


def is_cautious(made: Made, told: Explanation) -> bool:
    """Whether the answer is that the log cannot tell, or not false though less than the whole."""
    hardest = made.pattern == "fixed order" and told.cause == "fixed_sample"
    return told.cause in NO_CLAIM or told.cause == "unknown" or hardest


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--first", type=int, default=UNSEEN)
    parser.add_argument("--patterns", nargs="+", default=PATTERNS)
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--misses", action="store_true")
    flags = parser.parse_args()
    print("| pattern | way | held | right | in place | not held | right or cautious | ms |")
    print("|---|---|---|---|---|---|---|---|")
    for pattern in flags.patterns:
        for way in flags.ways:
            if (pattern, way) != ("running mean", "means over k"):  # no logger does both
                print(row(pattern, way, range(flags.first, flags.first + flags.logs), flags.misses))


def row(pattern: str, way: str, seeds: range, shows_misses: bool) -> str:
    """One row of the table."""
    counts: Counter[str] = Counter()
    start = time.process_time()
    for seed in seeds:
        made = make(pattern, way, seed)
        told = explain(made.log)
        right = is_right(made, told)
        placed = right and is_in_place(made, told)
        if holds(made):
            counts.update(held=1, right=right, placed=placed)
        else:
            counts.update(other=1, cautious=placed or is_cautious(made, told))
        bad = not placed if holds(made) else not (placed or is_cautious(made, told))
        if bad and shows_misses:
            about = f"L={made.length} k={made.every} n={made.passes} h={made.height:.2f}"
            print(f"  {seed}: {about} place {made.place} | {told.cause}: {told.sentence[:200]}")
    share = (time.process_time() - start) / len(seeds) * 1000
    held, other = counts["held"], counts["other"]
    return (
        f"| {pattern} | {way} | {held} | {percent(counts['right'], held)} | "
        f"{percent(counts['placed'], held)} | {other} | {percent(counts['cautious'], other)} | "
        f"{share:.0f} |"
    )


def percent(part: int, whole: int) -> str:
    """The share in words."""
    return f"{part / whole:.1%}" if whole else "–"


if __name__ == "__main__":
    main()
