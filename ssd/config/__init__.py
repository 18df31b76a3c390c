"""All settings, with their defaults, meanings and limits.

Most functions take their own section or plain values; only top-level ones take the whole Config.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ssd.config.data import AugmentConfig, DataConfig, Workers
from ssd.config.model import (
    DIVISORS,
    Backbone,
    BoxLoss,
    Divisor,
    LossConfig,
    ModelConfig,
    ShortStep,
)
from ssd.config.training import (
    CheckpointConfig,
    CocoEvaluator,
    EvaluationConfig,
    Metric,
    OptimizerConfig,
    Precision,
    TrainingConfig,
)

__all__ = [
    "DIVISORS",
    "AugmentConfig",
    "Backbone",
    "BoxLoss",
    "CheckpointConfig",
    "CocoEvaluator",
    "Config",
    "DataConfig",
    "Divisor",
    "EvaluationConfig",
    "LossConfig",
    "Metric",
    "ModelConfig",
    "OptimizerConfig",
    "Precision",
    "ShortStep",
    "TrainingConfig",
    "Workers",
]


@dataclass(frozen=True)
class Config:
    """All settings of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
