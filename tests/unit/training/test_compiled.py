"""The compiled step, on the CPU; Inductor needs a C++ compiler there."""

import copy
import shutil

import pytest
import torch

from ssd.training.compiled import compile_step, try_out
from ssd.training.step import image_losses, train_step
from tests.unit.training.tiny import new_state, settings, split


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler, which differ from version to version
def test_the_compiled_step_follows_the_plain_one_and_short_steps_are_plain(
    twelve_images, monkeypatch
):
    plain, compiled = (new_state(batch_norm=True) for _ in range(2))
    lines, shapes = [], []
    compile_step(compiled, settings(compiled), twelve_images.images.shape, lines.append)
    assert lines[0] == "compiling the model, which takes about half a minute"
    assert lines[1].startswith("compiled the model in ")

    def seen(model, images, targets, used):
        shapes.append(len(images))
        return image_losses(model, images, targets, used)

    monkeypatch.setattr("ssd.training.compiled.image_losses", seen)
    for batches in ([twelve_images], split(twelve_images, (5,)), [twelve_images]):
        expected = train_step(plain, batches, settings(plain))
        found = train_step(compiled, batches, settings(compiled))
        torch.testing.assert_close(found.grad_norm, expected.grad_norm, rtol=1e-4, atol=0)
        for name, value in expected.sums.by_name().items():
            torch.testing.assert_close(found.sums.by_name()[name], value, rtol=1e-4, atol=1e-4)
    assert shapes == [5]
    for ours, theirs in zip(compiled.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_trying_out_changes_nothing(twelve_images):
    state = new_state(batch_norm=True)
    before = copy.deepcopy(state.model.state_dict())
    try_out(image_losses, state, settings(state), twelve_images.images.shape)
    after = state.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in state.model.parameters())


def test_a_compiler_that_fails_leaves_the_plain_step_and_a_line(twelve_images, monkeypatch):
    state, lines = new_state(), []

    def fails(*_arguments):
        raise AssertionError("no kernel\nfor this")

    monkeypatch.setattr("torch.compile", lambda *_arguments, **_others: fails)
    compile_step(state, settings(state), twelve_images.images.shape, lines.append)
    assert lines[1] == "the model is not compiled, so steps are slower: no kernel for this"
    assert state.image_losses is image_losses
