"""Explains the regular spikes of a log, or says that there are none, or why it cannot tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ssd.common.words import counted
from ssd.config import DIVISORS
from ssd.spikes.candidate import best_candidate
from ssd.spikes.causes import Cause, Verdict, judge
from ssd.spikes.detect import (
    CERTAIN,
    FEWEST_PASSES,
    NOTABLE,
    Spikes,
    aftershock,
    grid_of,
    heights_at,
    median_of,
    usable_rows,
)
from ssd.spikes.evidence import gather, images_text, mostly_clipped
from ssd.spikes.log import Log
from ssd.spikes.short_step import ShortStep, find_short_step, height_at_short, short_rows

AFTERSHOCK_COLUMNS = {
    "momentum_norm": "The momentum",
    "grad_norm": "The gradient",
    "loss": "The loss",
}
SPARSE = 0.6
DIVERGED = 3  # rows at the end without a finite loss
OUTLIER, OUTLIER_ROWS = 2.0, 15


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of the regular spikes of a loss, or of their absence.

    Attributes:
        cause: its name; `none` where nothing is regular, `too_short` where nothing can be judged.
        sentence: the cause with its numbers, in one line of plain words.
        advice: what to do; empty if nothing.
        spikes: the spikes found; None where there are none.
        aftershock: the number of steps for which `loss`, `grad_norm` and `momentum_norm` stay
            raised after a spike, for those columns that the log has.
        divisor: the run's divisor, named as in `ssd.loss.normalize`; None if unknown.
        ratio_under: height of the same steps under each divisor for which the log has losses.
        remedy: the divisor under which the spike is gone; None where there is none, or unknown.
        short_step: the second finding: a short step whose images count too much, with or without a
            spike in the loss; None if there is none, or unknown.
    """

    cause: Cause
    sentence: str
    advice: str = ""
    spikes: Spikes | None = None
    aftershock: Mapping[str, int] = field(default_factory=dict)
    divisor: str | None = None
    ratio_under: Mapping[str, float] = field(default_factory=dict)
    remedy: str | None = None
    short_step: ShortStep | None = None

    @property
    def paragraphs(self) -> list[str]:
        """The findings and what to do about them, in plain words."""
        texts = [self.sentence, self.advice]
        if self.short_step is not None:
            texts += [self.short_step.sentence, self.short_step.advice]
        return [text for text in texts if text]


def explain(log: Log, period: int | None = None) -> Explanation:
    """Finds the regular spikes of a log and their cause.

    Args:
        log: the log of a run.
        period: look only for spikes this many steps apart; None: try the length of a pass, where
            it is known, and all other periods.
    """
    log, diverged = _until_it_diverges(log)
    candidate = best_candidate(log, period)
    if candidate is None or not candidate.found:
        passes = _passes(log)
        if candidate is None or (passes is not None and passes < FEWEST_PASSES):
            sentence = f"{_too_short(log, period, passes)}{diverged}"
            return Explanation("too_short", sentence, divisor=log.divisor)
        sentence = f"{_nothing_found(log, candidate, passes)}{_sparse(log)}{diverged}"
        short_step = find_short_step(log, None)
        return Explanation("none", sentence, divisor=log.divisor, short_step=short_step)
    evidence = gather(log, candidate)
    verdict = judge(evidence)
    shocks = {
        name: aftershock(log.loss if name == "loss" else log.columns[name], candidate, log.steps)
        for name in AFTERSHOCK_COLUMNS
        if name == "loss" or name in log.columns
    }
    heights = {
        name: median_of(heights_at(log.steps, values, candidate.rows, candidate.period))
        for name, values in log.losses_under.items()
    }
    ratio_under = {name: ratio for name, ratio in heights.items() if math.isfinite(ratio)}
    remedy = _remedy(ratio_under, log.divisor) if evidence.twice_divided else None
    return Explanation(
        cause=verdict.cause,
        sentence="".join(
            [verdict.sentence, _clipped(log, candidate), _shaken(shocks), _sparse(log), diverged]
        ),
        advice=_advice(verdict, ratio_under, remedy),
        spikes=candidate,
        aftershock=shocks,
        divisor=log.divisor,
        ratio_under=ratio_under,
        remedy=remedy,
        short_step=find_short_step(log, candidate if verdict.cause == "short_last_batch" else None),
    )


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as plain JSON types; numbers that are not finite become None."""
    plain = {name: _plain(value) for name, value in asdict(explanation).items()}
    if explanation.spikes is not None:
        plain["spikes"]["found"] = explanation.spikes.found
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _until_it_diverges(log: Log) -> tuple[Log, str]:
    """Cuts off the end of a log that diverged; the text says so, and is empty for other logs."""
    finite = np.flatnonzero(np.isfinite(log.loss))
    end = int(finite[-1]) + 1 if len(finite) else len(log.loss)
    if len(log.loss) - end < DIVERGED:
        return log, ""
    cut = replace(
        log,
        steps=log.steps[:end],
        loss=log.loss[:end],
        columns={name: values[:end] for name, values in log.columns.items()},
        losses_under={name: values[:end] for name, values in log.losses_under.items()},
    )
    return cut, f" From step {log.steps[end]} on, the loss is not finite."


def _passes(log: Log) -> float | None:
    """The number of passes over the data that the log covers; None where unknown."""
    if not len(log.steps):
        return 0
    if log.steps_per_epoch:
        return float(log.steps[-1] - log.steps[0] + grid_of(log.steps)[0]) / log.steps_per_epoch
    epoch = log.columns.get("epoch", np.zeros(0))
    epochs = np.unique(np.floor(epoch[np.isfinite(epoch)]))
    return float(len(epochs)) or None


def _too_short(log: Log, period: int | None, passes: float | None) -> str:
    """The reason why the log cannot be judged, as a sentence."""
    steps, usable = len(log.loss), int(usable_rows(log.loss).sum())
    needed = "three passes are needed to tell a regular spike from chance"
    if not steps:
        return "The log has no losses yet: nothing to judge."
    if not usable:
        return f"No loss ({steps} in the log) is a finite number above 0: nothing to judge."
    if 2 * usable < steps:
        losses = counted(steps, "loss")
        return f"Only {usable} of {losses} are finite and above 0: too few to judge."
    if passes is not None and passes < FEWEST_PASSES:
        return f"The log covers {_rounded_down(passes)} ({counted(steps, 'step')}): {needed}."
    if _share_present(log) < SPARSE:
        share = f"{_share_present(log):.0%}"
        return f"The log holds {share} of its steps, too few to judge: log the loss of every step."
    length = period or log.steps_per_epoch
    what = f"for passes of {counted(length, 'step')}" if length else "to judge"
    return f"The log has too few losses ({usable}) {what}: {needed}."


def _rounded_down(passes: float) -> str:
    if passes == 1:
        return "1 pass"
    return f"{math.floor(10 * passes) / 10:g} passes"


def _nothing_found(log: Log, candidate: Spikes, passes: float | None) -> str:
    """The extent of a log without regular spikes, and its best candidate, as a sentence."""
    extent = counted(len(log.loss), "step")
    if passes is not None and log.steps_per_epoch:
        extent += f" ({_rounded_down(passes)} of {log.steps_per_epoch})"
    best = (
        f"the best candidate, every {candidate.period} steps, stands at {candidate.ratio:.3g} "
        f"times its surroundings (p = {candidate.p_value:.1g})"
    )
    low = candidate.p_value < CERTAIN and candidate.ratio < NOTABLE
    found = f"No regular spike of {NOTABLE} times or more" if low else "No regular spike"
    return f"{found} in {extent}: {best}.{_outliers(log)}{_short_steps(log)}"


def _outliers(log: Log) -> str:
    """A sentence on the losses that are twice as high as those around them, if any."""
    loss = log.loss[np.isfinite(log.loss)]
    around = sliding_window_view(np.pad(loss, OUTLIER_ROWS // 2, mode="reflect"), OUTLIER_ROWS)
    count = int(np.sum(loss > OUTLIER * np.median(around, axis=1)))
    if not count:
        return ""
    they = "1 loss stands" if count == 1 else f"{count} losses stand"
    return f" {they} twice as high as those around."


def _short_steps(log: Log) -> str:
    """A sentence on the loss of the short steps, if there are any."""
    rows = short_rows(log)
    height = height_at_short(log, rows, "loss") if len(rows) else None
    if height is None:
        return ""
    images = log.columns["num_images"]
    count, full = images_text(float(np.median(images[rows]))), float(np.nanmedian(images))
    return (
        f" The short steps, of {count} instead of {full:g}, stand at {height:.3g} times their "
        "surroundings."
    )


def _clipped(log: Log, spikes: Spikes) -> str:
    if not mostly_clipped(log, spikes.rows):
        return ""
    return (
        " The gradient was clipped there, which protects the weights in part; the reported loss "
        "spikes all the same."
    )


def _shaken(shocks: Mapping[str, int]) -> str:
    """A sentence on what stays raised after a spike, and so carries its damage on, if anything."""
    raised = [(name, shocks[name]) for name in AFTERSHOCK_COLUMNS if shocks.get(name)]
    if not raised:
        return ""
    name, steps = raised[0]
    return (
        f" {AFTERSHOCK_COLUMNS[name]} stays raised for {counted(steps, 'step')} after each spike."
    )


def _sparse(log: Log) -> str:
    """A caution, if the log lacks many steps."""
    share = _share_present(log)
    if share > SPARSE:
        return ""
    return (
        f" The log holds only {share:.0%} of its steps: spikes between them are not seen, and the "
        "true period may be a part of the one that shows."
    )


def _share_present(log: Log) -> float:
    """The number of rows / the number of steps from the first row to the last."""
    if len(log.steps) < 2:
        return 1.0
    return len(log.steps) / float(log.steps[-1] - log.steps[0] + 1)


def _remedy(ratio_under: Mapping[str, float], divisor: str | None) -> str | None:
    """The first divisor under which the same steps do not stand out."""
    others = (name for name in DIVISORS if name in ratio_under and name != divisor)
    return next((name for name in others if ratio_under[name] < NOTABLE), None)


def _advice(verdict: Verdict, ratio_under: Mapping[str, float], remedy: str | None) -> str:
    """The advice; for a short last batch with a remedy, the remedy and the height under it."""
    if verdict.cause != "short_last_batch" or remedy is None:
        return verdict.advice
    return (
        f"Use loss.divisor {remedy}: under it the same steps stand at "
        f"{ratio_under[remedy]:.3g} times their surroundings."
    )
