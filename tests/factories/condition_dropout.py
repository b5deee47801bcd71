"""Small generators whose condition drops channels."""

from __future__ import annotations

import torch
from torch import nn

from prologue_bench.contracts import Segment, TokenLayout
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.rar import Rar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings, RarSettings

LAYOUT = TokenLayout((Segment("prologue", 2, 5), Segment("visual", 4, 6)))
IDS = torch.tensor([[0, 1, 2, 3, 4, 5], [4, 3, 2, 1, 0, 5], [1, 1, 1, 1, 1, 1], [0, 4, 5, 5, 0, 0]])


def randomised(module: nn.Module) -> nn.Module:
    """Norm scales, gates and biases that matter."""
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if "scale.affine" in name or "gate" in name or name.endswith("bias"):
            nn.init.normal_(parameter, std=0.3)
    return module


def generator(kind: type[Ar] = Ar, dropout: float = 0.3) -> Ar:
    size = ArTransformerSettings(width=16, layers=2, heads=2, condition_width=8, dropout=dropout)
    settings = RarSettings if kind is Rar else ArSettings
    torch.manual_seed(0)
    model = kind(settings(transformer=size), LAYOUT, 4)  # type: ignore[arg-type]
    randomised(model)
    return model.train()


def only_on_the_condition(model: nn.Module) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and not name.endswith("condition.dropout"):
            module.p = 0.0
