"""The same images on 1, 2 and 4 ranks, in 1, 2 and 3 micro-batches each: the same training."""

from pathlib import Path

import pytest
import torch

from ssd.config import DIVISORS

SCRIPT = Path(__file__).with_name("train_on_ranks.py")
OTHERS = [divisor for divisor in DIVISORS if divisor != "step_positives"]

pytestmark = [pytest.mark.distributed, pytest.mark.long]


@pytest.fixture(scope="module")
def trained(torchrun, tmp_path_factory):
    """What `train_on_ranks.py` writes, by (divisor, ranks, micro-batches)."""
    out = tmp_path_factory.mktemp("ranks")
    for ranks in (1, 2, 4):
        done = torchrun(ranks, SCRIPT, out)
        assert done.returncode == 0, done.stderr
    return lambda *layout: torch.load(out / ("_".join(map(str, layout)) + ".pt"))


def distance(one, other):
    """How far apart two trained networks are, relative to their parameters."""
    first, second = one["parameters"], other["parameters"]
    return ((first - second).norm() / first.norm()).item()


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("micro_batches", [1, 2, 3])
def test_the_layout_does_not_matter(trained, ranks, micro_batches):
    whole, parts = trained("step_positives", 1, 1), trained("step_positives", ranks, micro_batches)
    assert distance(whole, parts) < 1e-5
    assert parts["losses"] == pytest.approx(whole["losses"], rel=1e-5)
    assert whole["losses"][-1] < 0.8 * whole["losses"][0]


def test_some_ranks_had_nothing_to_find(trained):
    assert max(trained("step_positives", 4, 1)["bare_ranks"]) >= 1


@pytest.mark.parametrize("divisor", OTHERS)
def test_with_the_other_divisors_it_matters(trained, divisor):
    """Least for `image_positives`: a mean over images suffers at the short last step alone."""
    assert distance(trained(divisor, 1, 1), trained(divisor, 4, 1)) > 5e-5
