"""Whether two finished runs are equal, in all but what they tell of the clock."""

import json
import logging
from pathlib import Path

import torch

from ssd.run.checkpoint import load_checkpoint
from ssd.run.checkpoints import list_checkpoints

logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every start it finds
OF_THE_CLOCK = {"images_per_second", "data_wait_seconds"}


def curves(run_dir: Path) -> dict[str, dict[int, float]]:
    """TensorBoard's curves, as it shows them; a step may come twice, but none after a later one.

    (Twice: a run that is killed between TensorBoard's point of an evaluation and the row in
    metrics.jsonl evaluates again, with the same result.)
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    found = {}
    for tag in events.Tags()["scalars"]:
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in points] == sorted(step for step, _ in points), tag
        if not tag.startswith("speed/"):
            found[tag] = dict(points)
            assert len(found[tag]) == len(set(points)), tag
    return found


def rows(run_dir: Path) -> list[dict]:
    """The rows of metrics.jsonl without what they tell of the clock."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in OF_THE_CLOCK} for line in lines]


def evaluation(run_dir: Path) -> dict:
    """The content of evaluation.json without its date and the folder of its checkpoint."""
    content = json.loads((run_dir / "evaluation.json").read_text())
    return content | {"date": None, "checkpoint": Path(content["checkpoint"] or "").name}


def differences(one: Path, other: Path) -> list[str]:
    """What differs between two finished runs."""
    found = []
    if (one / "detections.json").read_bytes() != (other / "detections.json").read_bytes():
        found.append("detections.json")
    if evaluation(one) != evaluation(other):
        found.append("evaluation.json")
    if rows(one) != rows(other):
        found.append("metrics.jsonl")
    if repr(curves(one)) != repr(curves(other)):  # NaN equals NaN
        found.append("TensorBoard")
    last = [load_checkpoint(list_checkpoints(run / "checkpoints")[0]) for run in (one, other)]
    found += [f"checkpoint{where}" for where in differing(last[0].state, last[1].state)]
    if last[0].manifest.mean_average_precision != last[1].manifest.mean_average_precision:
        found.append("the score of the checkpoint")
    if not torch.isfinite(last[0].state["model"]["head.logits.0.weight"]).all():
        found.append("the weights are not finite, so equal ones mean nothing")
    return found


def differing(one: object, other: object, where: str = "") -> list[str]:
    """The places in which two nested states differ by a bit or more."""
    match one, other:
        case torch.Tensor(), torch.Tensor():
            return [] if torch.equal(one, other) else [where]
        case dict(), dict() if one.keys() == other.keys():
            return [p for key in one for p in differing(one[key], other[key], f"{where}.{key}")]
        case ((list() | tuple()), (list() | tuple())) if len(one) == len(other):
            pairs = enumerate(zip(one, other, strict=True))
            return [p for key, pair in pairs for p in differing(*pair, f"{where}.{key}")]
        case _:
            return [] if one == other else [where]
