"""Explains the regular spikes of a log and the other patterns of its passes, or their absence."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ssd.common.words import counted
from ssd.config import DIVISORS
from ssd.spikes.causes import Verdict, judge
from ssd.spikes.detect import FEWEST_PASSES, NOTABLE, Spikes, aftershock, heights_at, median_of
from ssd.spikes.epoch_drop import tell_epoch_drop
from ssd.spikes.evidence import Evidence, gather, mostly_clipped
from ssd.spikes.finding import Cause, Finding
from ssd.spikes.fixed_order import tell_fixed_order
from ssd.spikes.grouped import tell_groups
from ssd.spikes.log import Log
from ssd.spikes.patterns import Patterns, find_patterns
from ssd.spikes.restarts import restart_rows, tell_restarts
from ssd.spikes.running_mean import tell_running_mean
from ssd.spikes.short_step import ShortStep, find_short_step
from ssd.spikes.words import count_passes, lacks_steps, nothing_found, sparse, too_short

AFTERSHOCK_COLUMNS = {
    "momentum_norm": "The momentum",
    "grad_norm": "The gradient",
    "loss": "The loss",
}
DIVERGED = 3  # rows at the end without a finite loss


@dataclass(frozen=True, eq=False)
class Explanation:
    """The explanation of the patterns of a loss, or of their absence.

    Attributes:
        cause: that of the weightiest finding; `none` where nothing is regular, `not_held` where
            nothing is in the rows but most steps have none, `too_short` where nothing can be
            judged.
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
        findings: all patterns that the log shows, the weightiest first.
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
    findings: tuple[Finding, ...] = ()

    @property
    def paragraphs(self) -> list[str]:
        """The findings and what to do about them, in plain words."""
        texts = [self.sentence, self.advice]
        for finding in self.findings[1:]:
            texts += [finding.sentence, finding.advice]
        if self.short_step is not None:
            texts += [self.short_step.sentence, self.short_step.advice]
        return [text for text in texts if text]


def explain(log: Log, period: int | None = None) -> Explanation:
    """Finds the regular spikes of a log, and the other patterns of its passes, and their causes.

    Args:
        log: the log of a run.
        period: look only for spikes this many steps apart; None: try the length of a pass, where
            it is known, and all other periods, and look for the other patterns too.
    """
    log, diverged = _until_it_diverges(log)
    patterns = find_patterns(log, period)
    candidate, passes = patterns.candidate, count_passes(log, patterns.passes)
    is_short = passes is not None and passes < FEWEST_PASSES
    evidence = verdict = None
    if candidate is not None and candidate.found and not is_short:
        evidence = gather(patterns.log, candidate, patterns.passes)
        verdict = judge(evidence)
    findings = [] if is_short else list(_findings(log, patterns, evidence, verdict))
    if not findings:
        return _nothing(log, patterns, period, passes, diverged)
    first = findings[0]
    explanation = Explanation(
        first.cause,
        f"{first.sentence}{diverged}",
        first.advice,
        divisor=log.divisor,
        findings=tuple(findings),
    )
    if evidence is None or verdict is None:
        return replace(explanation, short_step=find_short_step(log, None))
    return _with_spikes(explanation, log, evidence, verdict)


def _nothing(
    log: Log, patterns: Patterns, period: int | None, passes: float | None, diverged: str
) -> Explanation:
    """The explanation of a log that shows no pattern."""
    candidate = patterns.candidate
    if candidate is None or (passes is not None and passes < FEWEST_PASSES):
        sentence = f"{too_short(log, period, passes)}{diverged}"
        return Explanation("too_short", sentence, divisor=log.divisor)
    length = patterns.passes.length if patterns.passes else log.steps_per_epoch
    sentence = nothing_found(log, candidate, passes, length)
    return Explanation(
        "not_held" if lacks_steps(log) else "none",
        f"{sentence}{sparse(log)}{diverged}",
        divisor=log.divisor,
        short_step=find_short_step(log, None),
    )


def _findings(
    log: Log, patterns: Patterns, evidence: Evidence | None, verdict: Verdict | None
) -> Iterator[Finding]:
    """All findings, the weightiest first: those that harm, before those that merely show."""
    order, restarts = patterns.fixed_order, patterns.restarts
    if evidence is not None and verdict is not None:
        spike = _spike(log, evidence, verdict)
        if order and evidence.images is None:  # the spike may be the hardest batch of the order
            yield tell_fixed_order(order, patterns.passes is not None)
            order = None
        if not (restarts and restarts.are_at(evidence.spikes.rows)):
            yield spike
    if order:
        yield tell_fixed_order(order, patterns.passes is not None)
    if restarts:
        yield tell_restarts(restarts)
    if patterns.drop:
        yield tell_epoch_drop(patterns.drop)
    if patterns.groups:
        yield tell_groups(patterns.groups)
    if patterns.running_mean:
        yield tell_running_mean(patterns.running_mean)


def _spike(log: Log, evidence: Evidence, verdict: Verdict) -> Finding:
    """The finding of the spikes."""
    spikes, shocks = evidence.spikes, _shocks(evidence.log, evidence.spikes)
    texts = [verdict.sentence, _clipped(log, spikes), _shaken(shocks), sparse(log)]
    ratio_under = _ratio_under(log, spikes)
    remedy = _remedy(ratio_under, log.divisor) if evidence.twice_divided else None
    period = float(spikes.period)
    if verdict.cause == "lr_schedule" and len(rows := restart_rows(log.columns["lr"])) > 1:
        period = float(np.median(np.diff(log.steps[rows])))
    return Finding(
        verdict.cause,
        "".join(texts),
        _advice(verdict, ratio_under, remedy),
        period,
        spikes.ratio,
        spikes.p_value,
        float(spikes.slack),
    )


def _with_spikes(
    explanation: Explanation, log: Log, evidence: Evidence, verdict: Verdict
) -> Explanation:
    """The explanation with the figures of the spikes."""
    spikes = evidence.spikes
    ratio_under = _ratio_under(log, spikes)
    short = spikes if verdict.cause == "short_last_batch" else None
    return replace(
        explanation,
        spikes=spikes,
        aftershock=_shocks(evidence.log, spikes),
        ratio_under=ratio_under,
        remedy=_remedy(ratio_under, log.divisor) if evidence.twice_divided else None,
        short_step=find_short_step(log, short),
    )


def _shocks(log: Log, spikes: Spikes) -> dict[str, int]:
    """The number of steps for which each column stays raised after a spike."""
    return {
        name: aftershock(log.loss if name == "loss" else log.columns[name], spikes, log.steps)
        for name in AFTERSHOCK_COLUMNS
        if name == "loss" or name in log.columns
    }


def _ratio_under(log: Log, spikes: Spikes) -> dict[str, float]:
    """The height of the spikes under each divisor that the log has losses for."""
    heights = {
        name: median_of(heights_at(log.steps, values, spikes.rows, spikes.period))
        for name, values in log.losses_under.items()
    }
    return {name: ratio for name, ratio in heights.items() if math.isfinite(ratio)}


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
    if isinstance(value, list | tuple):
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
