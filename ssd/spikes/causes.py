"""Infers the cause of regular spikes from their place and from what accompanies them.

Each rule looks at the evidence and returns a verdict if it can tell. The rules are asked in the
order of their certainty: those about the steps themselves (images, learning rate) come before
those about their place in the pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from ssd.spikes.detect import NOTABLE, aftershock
from ssd.spikes.evidence import SHORT, Evidence, images_text
from ssd.spikes.finding import Cause

LR_JUMP = 1.2
AGREES = 1.5

DIVIDE_ONCE = "Divide the summed loss once, by the positives of the whole step"


@dataclass(frozen=True)
class Verdict:
    """A cause, in a sentence, and what to do about it."""

    cause: Cause
    sentence: str
    advice: str = ""


def judge(evidence: Evidence) -> Verdict:
    """The verdict of the first rule that can tell; `unknown` where none can."""
    rules = (short_step, lr_jump, other_rhythm, highest, last_step, first_step, same_place)
    verdicts = (rule(evidence) for rule in rules)
    return next((verdict for verdict in verdicts if verdict), None) or Verdict(
        "unknown",
        f"{evidence.where} ({evidence.seen}). The log does not tell where a pass begins, so the "
        "cause is open.",
        "Give a log that starts with the run, the steps per epoch and the batch size, and columns "
        "of the learning rate and the number of images if there are any.",
    )


def short_step(e: Evidence) -> Verdict | None:
    """The steps that spike have fewer images than the others."""
    if e.images is None or e.images[0] > SHORT * e.images[1]:
        return None
    few, full = e.images
    start = f"{e.where}: that step has {images_text(few)} instead of {full:.0f}"
    advice = (
        f"{DIVIDE_ONCE} (loss.divisor step_positives), or leave the short step out "
        "(training.drop_last)."
    )
    if e.division is not None and e.division < NOTABLE:
        return Verdict(
            "short_last_batch",
            f"{start} ({e.seen}). Its loss is divided like that of every step, so the few images "
            "themselves raise it: BatchNorm over so few, or images unlike the rest.",
            "Leave the short step out (training.drop_last), or take a batch size that leaves more "
            "images for it.",
        )
    twice = "divided by the positives and then again by the batch size"
    factor = e.division or full / few
    if e.division is not None:
        why = f"the loss is {twice}, which makes it {factor:.3g} times too large"
        return Verdict("short_last_batch", f"{start}, and {why} ({e.seen}).", advice)
    agrees = 1 / AGREES < e.spikes.ratio / factor < AGREES
    fits = "which fits what is seen" if agrees else "which is not quite what is seen"
    why = f"A loss {twice} is {factor:.3g} times too large there, {fits}"
    return Verdict("short_last_batch", f"{start} ({e.seen}). {why}.", advice)


def lr_jump(e: Evidence) -> Verdict | None:
    """The learning rate jumps up at the spikes."""
    if e.lr is None or e.lr[1] < LR_JUMP * e.lr[0]:
        return None
    jump = f"where the learning rate jumps from {e.lr[0]:.3g} to {e.lr[1]:.3g}"
    if e.is_last and e.images is None:
        return Verdict(
            "unknown",
            f"{e.where} ({e.seen}), {jump}. Either the schedule restarts, or the last batch is "
            "short and its loss is divided by the positives and then again by the batch size.",
            "Log the number of images of each step, or leave the last batch out (drop_last): the "
            "spikes of a short batch vanish.",
        )
    return Verdict(
        "lr_schedule",
        f"{e.where} ({e.seen}), {jump}: the schedule restarts.",
        "The loss itself is sound. Restart at a lower rate, or take a schedule that only falls.",
    )


def other_rhythm(e: Evidence) -> Verdict | None:
    """The period is known not to be one pass."""
    if e.pass_length is None or e.once_per_pass:
        return None
    if e.spikes.period == e.pass_length + 1:
        return Verdict(
            "unknown",
            f"{e.where} ({e.seen}), one more than the {e.pass_length} that a pass is said to have. "
            f"With a short last step, a pass of {e.pass_length} full ones has {e.spikes.period}.",
            f"Look again with {e.spikes.period} steps per epoch.",
        )
    return Verdict(
        "unknown",
        f"{e.where} ({e.seen}), but a pass has {e.pass_length} steps: they do not come "
        "once per pass.",
        f"Look for what happens every {e.spikes.period} steps: an evaluation, a checkpoint, a "
        "change of the learning rate or of the source of the data.",
    )


def highest(e: Evidence) -> Verdict | None:
    """Other steps of the pass differ as regularly as those that spike."""
    if not e.of_pattern or e.images is not None:
        return None
    return Verdict(
        "unknown",
        f"{e.where} ({e.seen}), but other steps differ as regularly: it is the highest of a "
        "pattern that repeats. An order that is not shuffled looks like this, and so do batches "
        "grouped by length and a learning rate that restarts.",
        "Shuffle the images anew in each pass; what then stays is of the step itself. To settle "
        "it, log every step, with the epoch.",
    )


def last_step(e: Evidence) -> Verdict | None:
    """The spikes are at the last step of the pass, and its number of images is unknown."""
    if not e.is_last or e.images is not None:
        return None
    batch_size = e.log.batch_size if e.names_images else None
    rest = f" of about {images_text(max(1, batch_size / e.spikes.ratio))}" if batch_size else ""
    that = "That" if e.pass_length else f"If a pass has {e.spikes.period} steps, that"
    return Verdict(
        "short_last_batch",
        f"{e.where} ({e.seen}). {that} fits a short last batch{rest} whose loss is divided "
        "by the positives and then again by the batch size; the log does not hold the number of "
        "images, so this is inferred.",
        f"To confirm, leave the last batch out (drop_last): the spikes vanish. {DIVIDE_ONCE}. If "
        "they stay, and the order is not shuffled, look at the images that close it.",
    )


def first_step(e: Evidence) -> Verdict | None:
    """The spikes are at the start of the pass, and no jump of the learning rate is known."""
    late = 2 if e.log.shuffled else 0  # a reset may show only after the first update
    if e.place is None or e.place > late:
        return None
    reset = "something is reset there, such as the optimizer's state, a running mean or BatchNorm"
    decay = aftershock(e.log.loss, e.spikes, e.log.steps)
    if e.lr is not None and (e.log.shuffled or decay >= 2):
        return Verdict(
            "epoch_reset",
            f"{e.where} ({e.seen}), without a jump of the learning rate: {reset}.",
            "Look at what the program does between two passes, and keep the state of the "
            "optimizer and the model through it.",
        )
    others, tests = [], []
    if e.lr is None:
        others.append("the learning rate restarts there")
        tests.append("log the learning rate")
    if not e.log.shuffled:
        others.append("the order is not shuffled and begins with odd images")
        tests.append("shuffle the images anew in each pass")
    return Verdict(
        "unknown",
        f"{e.where} ({e.seen}): either {', or '.join([reset, *others])}; the log cannot tell "
        "which.",
        f"{_capital(' and '.join(tests))}: what these do not explain is a reset.",
    )


def same_place(e: Evidence) -> Verdict | None:
    """The spikes are somewhere within the pass, at steps not known to be short."""
    if e.place is None or e.pass_length is None:
        return None
    if e.log.shuffled:
        return Verdict(
            "unknown",
            f"{e.where} ({e.seen}), though the images are shuffled anew in each pass and the "
            "step has as many as the others.",
            "Look for what happens once per pass at that step: an evaluation, a checkpoint, a "
            "change of the learning rate.",
        )
    size = e.log.batch_size if e.names_images and e.log.shuffled is False else None
    which = f" (images {e.place * size + 1} to {(e.place + 1) * size} of the order)" if size else ""
    condition = "" if e.log.shuffled is False else "If the order is the same in each pass, "
    sentence = f"the same images{which} come at that step and are bad or unlike the rest"
    return Verdict(
        "fixed_sample",
        f"{e.where} ({e.seen}). {_capital(condition + sentence)}.",
        "Look at these images and their annotations, and shuffle the order anew in each pass.",
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
