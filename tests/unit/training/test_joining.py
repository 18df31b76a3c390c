"""How ranks find each other, and BatchNorm over all of them; the training itself: test_ranks.py."""

import pytest
import torch
from torch import nn

from ssd.common.errors import UserError
from ssd.training import ranks
from ssd.training.ranks import any_rank, of_this_start, synchronise_batchnorm

TORCHRUN = {
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_MAX_RESTARTS": "0",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "GROUP_WORLD_SIZE": "1",
}


@pytest.fixture
def started(monkeypatch):
    """Looks at a store as a rank that torchrun has started with other variables than usual."""

    def look(store, **changed):
        for name, value in (TORCHRUN | changed).items():
            monkeypatch.setenv(name, value)
        return of_this_start(store)

    return look


def test_a_start_on_one_machine_sees_nothing_of_the_one_before(started):
    store = torch.distributed.HashStore()
    first = started(store, TORCHELASTIC_MAX_RESTARTS="3")
    first.set("address of rank 0", "gone")
    again = started(store, TORCHELASTIC_MAX_RESTARTS="3", TORCHELASTIC_RESTART_COUNT="1")
    assert not again.check(["address of rank 0"])
    assert first.check(["address of rank 0"])


def test_several_machines_have_one_store_if_nothing_is_started_again(started):
    store = torch.distributed.HashStore()
    assert started(store, GROUP_WORLD_SIZE="2") is store
    own = {"TORCHELASTIC_USE_AGENT_STORE": "False", "TORCHELASTIC_MAX_RESTARTS": "3"}
    assert started(store, GROUP_WORLD_SIZE="2", **own) is store
    with pytest.raises(UserError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        started(store, GROUP_WORLD_SIZE="2", TORCHELASTIC_MAX_RESTARTS="3")


def test_batchnorm_over_all_ranks_keeps_its_names_and_needs_gpus(monkeypatch):
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    with pytest.raises(UserError, match="sync_batchnorm needs GPUs, .* 2 ranks train on cpu"):
        synchronise_batchnorm(model, torch.device("cpu"))
    synchronise_batchnorm(model, torch.device("cuda"))
    assert isinstance(model[1], nn.SyncBatchNorm)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_alone_a_flag_is_ones_own():
    assert any_rank(True, False) == [True, False]
