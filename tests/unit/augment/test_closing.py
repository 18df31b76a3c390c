"""The closing epochs of a training, which show whole images."""

from dataclasses import fields, replace

import torch

from ssd.augment.plan import Plan, draw_plan
from ssd.config import AugmentConfig

CONFIG = AugmentConfig()


def test_the_closing_epochs_show_whole_images(many):
    """Of images of three epochs, the last one is closed; all else is drawn as without it."""
    epochs = torch.arange(len(many.keys)) % 3
    mixed = replace(many, epochs=epochs)
    ever, closed = (draw_plan(mixed, 0, CONFIG, closing) for closing in (None, 2))
    whole = draw_plan(mixed, 0, replace(CONFIG, crop=False, expand_probability=0))
    is_open = epochs < 2
    for field in fields(Plan):
        drawn, plain, found = (getattr(plan, field.name) for plan in (ever, whole, closed))
        assert torch.equal(found[is_open], drawn[is_open]), field.name
        assert torch.equal(found[~is_open], plain[~is_open]), field.name
    assert not torch.equal(ever.windows[~is_open], whole.windows[~is_open])
