"""The ground truth of evaluation data, to draw it beside the objects found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ssd.config import Config
from ssd.detect.drawn import Truth
from ssd.detect.evaluate import located, read_data
from ssd.detect.predict_files import Order
from ssd.detect.shown import ground_truth


def with_truth(
    order: Order, config: Config, classes: Sequence[str], division: Path | None = None
) -> tuple[Order, Truth]:
    """The order, for all images of the evaluation data if it names none, and their ground truth.

    Args:
        order: what to predict.
        config: names the data.
        classes: names of the labels from 1 on.
        division: the file of the run that keeps which images are held out.

    Raises:
        UserError: the data is missing or invalid.
    """
    records = read_data(located(config), classes, division).records
    given = order.given or [str(record.path) for record in records]
    truth = {record.path.resolve(): ground_truth(record, classes) for record in records}
    return replace(order, given=given), truth
