import runpy
import sys

import pytest
from warm import WarmParent


@pytest.fixture(scope="session")
def warm_parent(tmp_path_factory):
    """Starts commands without the seconds of an import."""
    parent = WarmParent(tmp_path_factory.mktemp("printed"))
    yield parent
    parent.close()


@pytest.fixture(scope="session")
def tool(warm_parent, repository):
    """Runs a tool as a user would, in the current folder; returns the finished process."""

    def run(name, *arguments, timeout=120, prepare=""):
        script = repository / "tools" / name
        return warm_parent.run(script, list(map(str, arguments)), timeout, prepare)

    return run


@pytest.fixture
def mistaken(repository, monkeypatch, capfd):
    """Gives a tool a mistake, in this process, to save the seconds of a start; returns stderr."""

    def run(name, *arguments):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.setattr(sys, "argv", [str(repository / "tools" / name), *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_status:
            runpy.run_path(sys.argv[0], run_name="__main__")
        assert exit_status.value.code == 2
        return capfd.readouterr().err

    import torch

    before = torch.are_deterministic_algorithms_enabled()
    yield run
    torch.use_deterministic_algorithms(before)


@pytest.fixture(scope="session")
def small_shapes(tmp_path_factory):
    """A shapes set of 24 and 8 pictures, in VOC format."""
    from ssd.data.shapes import draw_shapes

    root = tmp_path_factory.mktemp("data") / "small"
    draw_shapes(root, 24, 8, seed=1)
    return root


@pytest.fixture
def small_run(small_shapes):
    """Flags of a run that takes seconds."""
    return [
        *("--data.format", "voc", "--data.root", str(small_shapes), "--data.workers", "0"),
        *("--model.input_size", "96", "--training.batch_size", "4", "--training.log_every", "3"),
        *("--training.device", "cpu", "--training.deterministic", "true"),
        *("--evaluation.every_epochs", "1"),
    ]
