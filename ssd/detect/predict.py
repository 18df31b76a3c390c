"""Runs a trained detector on pictures, videos and streams."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ssd.config.settings import Settings
from ssd.detect.detector import Detector
from ssd.detect.load import build_detector, config_of, open_checkpoint
from ssd.detect.predict_files import Order, Predicted, predict_files
from ssd.run.checkpoint import Checkpoint
from ssd.run.folder import check_out
from ssd.run.names import DIVISION


def predict(
    trained: Path,
    order: Order,
    overrides: Settings,
    which: str | None = None,
    show_truth: bool = False,
) -> Predicted:
    """Detects objects by a run, as `predict_files` does.

    Args:
        trained: run folder or checkpoint.
        order: what to predict, and what to write.
        overrides: settings that differ from those it was trained with.
        which: the checkpoint of a run folder, as `open_checkpoint` takes it.
        show_truth: draw the ground truth of the run's evaluation data too, of which all images are
            taken if none is given.

    Raises:
        UserError: as of `predict_files`, there is no intact checkpoint, or the data is invalid.
    """

    @cache
    def checkpoint() -> Checkpoint:
        return open_checkpoint(trained, which)

    def opened() -> tuple[Detector, str]:
        chosen = checkpoint()
        detector = build_detector(chosen, config_of(chosen, overrides))
        return detector, f"using {chosen.choice} ({chosen.path})"

    truth = None
    check_out(order.out, "predictions")
    if show_truth:
        from ssd.detect.evaluate import run_of
        from ssd.detect.truth import with_truth

        run = run_of(checkpoint().path)
        division = None if run is None else run / DIVISION
        config, classes = config_of(checkpoint(), overrides), checkpoint().manifest.classes
        order, truth = with_truth(order, config, classes, division)
    return predict_files(opened, order, truth)
