"""The experiment: the same run under six arms, the reported defect and its remedies.

Every arm trains the same network from the same weights on the same images, in the same order and
with the same augmentation; the effective learning rate on full batches is the same too. The arms
differ only in the divisor of the loss and in the remedy.

Under `batch_positives_and_size` the loss of a full batch is smaller than under `step_positives` by
a factor of the batch size. SGD then follows the same trajectory if the learning rate is larger by
that factor and the weight decay, which is added to the gradient, smaller by it. Adam ignores the
scale of its gradient, so its settings do not change.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ssd.common.errors import UserError
from ssd.common.files import write_whole
from ssd.config import Config, Divisor, OptimizerConfig, ShortStep
from ssd.config.settings import read_config, same_results
from ssd.data.shapes import ensure_shapes
from ssd.run.names import CONFIG, EVALUATION
from ssd.training.start import train
from ssd.training.trainer import DONE

NUM_TEST = 200
FEWEST_PICTURES = 16  # for the comparison of split steps
LARGEST = 2**31 - 1
OWN_SETTINGS = (
    *("data.format", "data.train_split", "data.eval_split", "data.classes"),
    *("loss.divisor", "loss.short_step"),
    *("training.seed", "training.steps", "training.accumulate", "training.drop_last"),
)


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes:
        name: short, for files and tables.
        divisor: the divisor of the summed loss.
        meaning: the arm in words.
        drop_last: whether the short last batch is left out.
        clipped: whether the gradient is clipped, to `training.clip_norm` / `gradient_factor`.
        short_step: how much the short step counts under `step_positives`.
    """

    name: str
    divisor: Divisor
    meaning: str
    drop_last: bool = False
    clipped: bool = False
    short_step: ShortStep = "full"


ARMS = (
    Arm(
        "reported",
        "batch_positives_and_size",
        "divided by the positives of the batch, then by its size as well: the defect",
    ),
    Arm(
        "drop_last",
        "batch_positives_and_size",
        "the defect; the short last batch is left out",
        drop_last=True,
    ),
    Arm("clipped", "batch_positives_and_size", "the defect; the gradient is clipped", clipped=True),
    Arm(
        "rescaled",
        "rank_positives",
        "multiplied by the batch size again, which leaves the positives of the batch",
    ),
    Arm("step_positives", "step_positives", "divided once, by the positives of the whole step"),
    Arm(
        "share",
        "step_positives",
        "divided once, and the short step weighted by its share of a full step's images",
        short_step="share",
    ),
)
ARM_NAMES = tuple(arm.name for arm in ARMS)


@dataclass(frozen=True)
class Scenario:
    """The set of runs that the experiment consists of.

    Attributes:
        full_steps: full batches of one pass over the data.
        remainders: sizes of the short last batch, one data set for each.
        seeds: the seeds of weights, order and augmentation.
        accumulate: micro-batches of a step in the runs with gradient accumulation; 1: no such runs.
        arms: the names of the arms.
    """

    full_steps: int
    remainders: tuple[int, ...]
    seeds: tuple[int, ...]
    accumulate: int = 2
    arms: tuple[str, ...] = ARM_NAMES

    @property
    def chosen(self) -> list[Arm]:
        """The arms, in the order of ARMS."""
        return [arm for arm in ARMS if arm.name in self.arms]


@dataclass(frozen=True)
class Run:
    """One run of the experiment; `accumulate` is 1 or the scenario's."""

    arm: Arm
    accumulate: int
    remainder: int
    seed: int

    @property
    def name(self) -> str:
        """The name of its run folder."""
        accumulated = f"_x{self.accumulate}" if self.accumulate > 1 else ""
        return f"{self.arm.name}{accumulated}_r{self.remainder}_seed{self.seed}"


def runs_of(scenario: Scenario) -> Iterator[Run]:
    """All runs of a scenario; those of one seed and remainder come together."""
    splits = dict.fromkeys((1, scenario.accumulate))
    kinds = itertools.product(scenario.seeds, scenario.remainders, splits, scenario.chosen)
    for seed, remainder, accumulate, arm in kinds:
        yield Run(arm, accumulate, remainder, seed)


def check(scenario: Scenario, base: Config) -> None:
    """Refuses scenarios that cannot show a spike, and settings that the experiment makes itself.

    Raises:
        UserError: a number is out of range or given twice, micro-batches do not fill a step, a
            setting would be overridden, or there is no bound to clip to.
    """
    batch_size = base.training.batch_size
    lowest = {"--full-steps": 1, "--accumulate": 1, "--remainders": 1, "--seeds": 0}
    highest = {"--accumulate": batch_size, "--remainders": batch_size - 1}
    given = {
        "--full-steps": (scenario.full_steps,),
        "--accumulate": (scenario.accumulate,),
        "--remainders": scenario.remainders,
        "--seeds": scenario.seeds,
    }
    for flag, values in given.items():
        for index, value in enumerate(values):
            low, high = lowest[flag], highest.get(flag, LARGEST)
            if not low <= value <= high:
                raise UserError(f"{flag} has {value}: give {low} to {high}")
            if value in values[:index]:
                raise UserError(f"{flag} has {value} twice: give each number once")
    for index, name in enumerate(scenario.arms):
        if name not in ARM_NAMES:
            raise UserError(f"--arms has {name}, but the arms are {', '.join(ARM_NAMES)}")
        if name in scenario.arms[:index]:
            raise UserError(f"--arms has {name} twice: give each arm once")
    if batch_size % scenario.accumulate:
        raise UserError(
            f"training.batch_size is {batch_size}, which is not divisible by "
            f"{scenario.accumulate} micro-batches: give another --accumulate"
        )
    for name in OWN_SETTINGS:
        if setting(base, name) not in (setting(Config(), name), "auto"):
            raise UserError(f"{name} is set by the experiment itself: leave it out")
    if base.training.clip_norm is None:
        raise UserError("training.clip_norm is null, but the arm `clipped` needs a bound: give one")


def setting(config: Config, name: str) -> object:
    """The value of the setting `section.key`."""
    section, key = name.split(".")
    return getattr(getattr(config, section), key)


def expected_ratio(run: Run, batch_size: int) -> float:
    """The factor by which the loss of the short last step is too large.

    The defect divides a micro-batch of n images by n, and a full one by
    b = batch_size / accumulate. The factor is thus batch_size / remainder without accumulation,
    else the mean of b / n over the micro-batches of the short step.
    """
    if run.arm.divisor != "batch_positives_and_size" or run.arm.drop_last:
        return 1.0
    full = batch_size // run.accumulate
    whole, rest = divmod(run.remainder, full)
    factors = [1.0] * whole + ([full / rest] if rest else [])
    return sum(factors) / len(factors)


def config_of(run: Run, base: Config, full_steps: int) -> Config:
    """The settings of a run: those of the base, with the changes of the run."""
    batch_size = base.training.batch_size // run.accumulate
    factor = gradient_factor(run.arm.divisor, batch_size)
    num_images = full_steps * base.training.batch_size + run.remainder
    bound = base.training.clip_norm
    return replace(
        base,
        data=replace(
            base.data,
            format="voc",
            root=str(data_root(base, full_steps)),
            train_split=image_list(num_images),
            eval_split="test",
        ),
        loss=replace(base.loss, divisor=run.arm.divisor, short_step=run.arm.short_step),
        optimizer=same_way(base.optimizer, factor),
        training=replace(
            base.training,
            batch_size=batch_size,
            accumulate=run.accumulate,
            drop_last=run.arm.drop_last,
            clip_norm=bound / factor if run.arm.clipped and bound is not None else None,
            seed=run.seed,
        ),
    )


def gradient_factor(divisor: Divisor, batch_size: float) -> float:
    """The factor by which the gradient of full batches is smaller than under `step_positives`."""
    return batch_size if divisor == "batch_positives_and_size" else 1


def same_way(optimizer: OptimizerConfig, factor: float) -> OptimizerConfig:
    """The optimizer that follows the same trajectory with a gradient smaller by `factor`."""
    if optimizer.name != "sgd":
        return optimizer
    return replace(
        optimizer, lr=optimizer.lr * factor, weight_decay=optimizer.weight_decay / factor
    )


def draw_data(base: Config, scenario: Scenario) -> None:
    """Draws the pictures once, with an image list for each remainder."""
    batch_size = base.training.batch_size
    root = data_root(base, scenario.full_steps)
    num_train = max((scenario.full_steps + 1) * batch_size, FEWEST_PICTURES)
    ensure_shapes(root, num_train, NUM_TEST)
    lists = root / "ImageSets" / "Main"
    names = (lists / "trainval.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    for remainder in scenario.remainders:
        count = scenario.full_steps * batch_size + remainder
        path = lists / f"{image_list(count)}.txt"
        if not path.exists():
            write_whole(path, "".join(names[:count]))


def data_root(base: Config, full_steps: int) -> Path:
    """The folder of the pictures, named after their number."""
    return Path(os.path.expanduser(f"{base.data.root}_{full_steps}x{base.training.batch_size}"))


def image_list(num_images: int) -> str:
    """The name of the list of the first `num_images` images."""
    return f"first_{num_images}"


def runs_left(base: Config, scenario: Scenario, out: Path) -> list[tuple[Run, Config]]:
    """The runs that are not finished in `out/runs`, with their settings.

    Raises:
        UserError: the folder holds runs with other settings.
    """
    runs = [(run, config_of(run, base, scenario.full_steps)) for run in runs_of(scenario)]
    return [
        (run, config) for run, config in runs if not is_finished(out / "runs" / run.name, config)
    ]


def train_all(runs: Sequence[tuple[Run, Config]], out: Path) -> int:
    """Trains each of the runs in `out/runs`; returns the exit status."""
    for number, (run, config) in enumerate(runs, 1):
        print(f"\nrun {number} of {len(runs)}: {run.name} · {run.arm.meaning}", flush=True)
        status = train(config, out / "runs" / run.name, "auto")
        if status != DONE:
            return status
    return DONE


def is_finished(run_dir: Path, config: Config) -> bool:
    """Returns whether a run with these settings is there and has been evaluated.

    Raises:
        UserError: it is a run with other settings.
    """
    saved = run_dir / CONFIG
    if saved.exists() and not same_results(read_config([saved]), config):
        raise UserError(
            f"{run_dir} holds a run with other settings: give another --out, or the previous "
            "settings"
        )
    return (run_dir / EVALUATION).exists()
