"""What a finished run has come to, printed after its last step."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ssd.common.terminal import GREEN, painted
from ssd.run.checkpoints import list_checkpoints
from ssd.run.names import CHECKPOINTS, METRICS, REPORT
from ssd.run.rows import only, read_rows
from ssd.steps import EvaluationRow


def last_words(run_dir: Path) -> str:
    """The best and the last score, their checkpoints, the page and the next commands."""
    saved = list_checkpoints(run_dir / CHECKPOINTS)
    rows = only(EvaluationRow, read_rows(run_dir / METRICS))
    scores = list(score_lines(rows, saved)) or [("last", str(path)) for path in saved[:1]]
    folder = shlex.quote(str(run_dir))
    commands = [f"ssd evaluate {folder}"] if rows else []
    commands += [f"ssd predict {folder} IMAGES"]
    names = ("next", *[""] * len(commands))
    lines = [*scores, ("report", str(run_dir / REPORT)), *zip(names, commands, strict=False)]
    return "\n".join(f"{name:<10}{line}" for name, line in lines)


def score_lines(rows: Sequence[EvaluationRow], saved: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """The best and the last evaluation of a run, which may be the same."""
    known = [row for row in rows if math.isfinite(row.mAP)]
    best = max(known, key=lambda row: (row.mAP, row.step), default=None)
    if best is not None:
        yield "best", painted(score(best, saved), GREEN, sys.stdout)
    if rows and rows[-1] != best:
        yield "last", score(rows[-1], saved)


def score(row: EvaluationRow, saved: Sequence[Path]) -> str:
    """The score of an evaluation, and the checkpoint of its step if it is there."""
    paths = [f": {path}" for path in saved if path.name == f"step_{row.step}"]
    return f"mAP {row.mAP:.4f} at step {row.step:,}{''.join(paths)}"
