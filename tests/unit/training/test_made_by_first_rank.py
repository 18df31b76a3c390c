"""The first rank reads the data for all."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from ssd.common.errors import UserError
from ssd.data.coco import read_coco
from ssd.training.ranks import made_by_first_rank

SCRIPT = Path(__file__).with_name("made_on_ranks.py")


def test_without_other_ranks_it_is_a_call():
    made = ["a"]
    assert made_by_first_rank(lambda: made) is made
    with pytest.raises(UserError, match="wrong"):
        made_by_first_rank(lambda: (_ for _ in ()).throw(UserError("wrong")))


@pytest.mark.distributed
def test_all_ranks_have_the_same_data_and_the_same_errors(torchrun, coco, tmp_path):
    coco.write()
    done = torchrun(3, SCRIPT, coco.root, tmp_path)
    assert done.returncode == 0, done.stderr
    ours = read_coco(coco.root, ["val"], None)
    for rank in range(3):
        data, *errors = pickle.loads((tmp_path / f"{rank}.pickle").read_bytes())
        assert errors == [
            "UserError('a mistake')",
            "FileExistsError(17, 'exists')",
            "Stopped('now')",
        ]
        assert (data.classes, data.counts) == (ours.classes, ours.counts)
        assert data.image_ids == ours.image_ids == [7, 3]
        for mine, theirs in zip(ours.records, data.records, strict=True):
            assert (mine.image_id, mine.path) == (theirs.image_id, theirs.path)
            assert (mine.width, mine.height) == (theirs.width, theirs.height)
            for column in ("boxes", "labels", "difficult", "crowd"):
                np.testing.assert_array_equal(getattr(mine, column), getattr(theirs, column))
        np.testing.assert_array_equal(ours.truth.areas, data.truth.areas)
