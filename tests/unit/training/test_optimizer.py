import pytest
import torch
from torch import nn

from ssd.config import ModelConfig, OptimizerConfig
from ssd.model.ssd import build_model
from ssd.training.optimizer import (
    build_optimizer,
    learning_rate,
    learning_rates,
    parameter_groups,
    restore_optimizer,
    scaled_learning_rate,
    update_weights,
)


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 1))


def test_caffes_groups_train_biases_twice_as_fast_and_without_decay():
    config = OptimizerConfig(weight_decay=5e-4, bias_lr_factor=2.0)
    weights, biases, scales = parameter_groups(model(), config)
    assert [len(group["params"]) for group in (weights, biases, scales)] == [2, 3, 1]
    assert (weights["weight_decay"], weights["lr_factor"]) == (5e-4, 1.0)
    assert (biases["weight_decay"], biases["lr_factor"]) == (0.0, 2.0)
    assert (scales["weight_decay"], scales["lr_factor"]) == (0.0, 1.0)


def test_every_trained_parameter_is_in_one_group():
    network = model()
    network[0].bias.requires_grad_(False)
    groups = parameter_groups(network, OptimizerConfig())
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_the_backbone_has_groups_of_its_own_if_asked():
    network = build_model(ModelConfig(input_size=96), 3)
    plain = parameter_groups(network, OptimizerConfig(bias_lr_factor=2.0))
    assert [group["lr_factor"] for group in plain] == [1.0, 2.0, 1.0]
    config = OptimizerConfig(bias_lr_factor=2.0, backbone_lr_factor=0.1)
    factors = {
        id(p): group["lr_factor"]
        for group in parameter_groups(network, config)
        for p in group["params"]
    }
    assert len(factors) == len(list(network.parameters()))
    for name, parameter in network.named_parameters():
        bias = 2.0 if parameter.ndim == 1 and name.endswith("bias") else 1.0
        expected = bias * (0.1 if name.startswith("backbone.") else 1.0)
        assert factors[id(parameter)] == pytest.approx(expected), name


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_learning_rate_reaches_each_group_with_its_factor(name):
    network = model()
    config = OptimizerConfig(name=name, lr=1.0, bias_lr_factor=2.0, weight_decay=0.0, momentum=0.0)
    optimizer = build_optimizer(network, config)
    before = [p.detach().clone() for p in network.parameters()]
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    update_weights(optimizer, torch.tensor(0.25, dtype=torch.float64), torch.tensor(True))
    moved = {
        parameter: (old - new).mean().item()
        for (parameter, new), old in zip(network.named_parameters(), before, strict=True)
    }
    assert moved["0.weight"] == pytest.approx(0.25, rel=1e-4)
    assert moved["0.bias"] == pytest.approx(0.5, rel=1e-4)


def test_warm_up_rises_to_the_full_rate_and_takes_at_most_a_tenth():
    config = OptimizerConfig(lr=1.0, schedule="constant", warmup_steps=500)
    rates = [learning_rate(config, update, 1000) for update in range(200)]
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(1 / 101)
    assert rates[99] == pytest.approx(100 / 101)
    assert rates[100] == 1.0


def test_multistep_drops_at_the_milestones():
    config = OptimizerConfig(lr=1.0, schedule="multistep", warmup_steps=0)
    rates = [learning_rate(config, update, 120) for update in (0, 79, 80, 99, 100, 119)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_equals_torchs():
    config = OptimizerConfig(lr=0.3, schedule="cosine", warmup_steps=0)
    optimizer = torch.optim.SGD(model().parameters(), lr=0.3)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)
    for update in range(50):
        assert learning_rate(config, update, 50) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        reference.step()


@pytest.mark.parametrize("schedule", ["cosine", "multistep", "constant"])
@pytest.mark.parametrize("total", [1, 7, 120])
def test_the_rates_on_the_device_are_those_of_the_formula(schedule, total):
    config = OptimizerConfig(lr=0.3, schedule=schedule, warmup_steps=5)
    rates = learning_rates(config, total)
    assert rates.dtype == torch.float64
    assert rates.tolist() == [learning_rate(config, update, total) for update in range(total)]


def test_restored_momenta_come_with_the_settings_of_the_config():
    network = model()
    saved = build_optimizer(network, OptimizerConfig(weight_decay=0.5, momentum=0.3))
    for p in network.parameters():
        p.grad = torch.randn_like(p)
    saved.step()
    fresh = build_optimizer(network, OptimizerConfig(weight_decay=0.1, momentum=0.8))
    restore_optimizer(fresh, saved.state_dict())
    assert fresh.param_groups[0]["weight_decay"] == 0.1
    assert fresh.param_groups[0]["momentum"] == 0.8
    for p in network.parameters():
        assert torch.equal(fresh.state[p]["momentum_buffer"], saved.state[p]["momentum_buffer"])


def test_the_learning_rate_follows_the_images_of_a_step_only_if_asked():
    assert scaled_learning_rate(OptimizerConfig(lr=0.001), 256).lr == 0.001
    config = OptimizerConfig(lr=0.001, lr_images=32)
    assert [scaled_learning_rate(config, n).lr for n in (8, 32, 256)] == [0.00025, 0.001, 0.008]
