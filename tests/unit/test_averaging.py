"""The moving average of weights is mmengine's."""

from __future__ import annotations

import copy

import torch
from torch import nn

from prologue_bench.training.averaging import MovingAverage
from prologue_bench.training.engine import ExponentialMovingAverage


def test_weights_move_as_mmengine_moves_them_bit_by_bit() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    ours, theirs = MovingAverage(model, momentum=0.03), ExponentialMovingAverage(model, 0.03)
    for step in range(5):
        if step == 3:  # as from a checkpoint
            resumed = MovingAverage(copy.deepcopy(model), momentum=0.03)
            resumed.load_state_dict(ours.state_dict())
            ours = resumed
        with torch.no_grad():
            for each in [*model.parameters(), *model.buffers()]:
                if each.is_floating_point():
                    each.add_(torch.randn(each.shape))
        model[1].num_batches_tracked = torch.tensor(step)  # another tensor
        ours.update_parameters(model)
        theirs.update_parameters(model)
        found = ours.state_dict()
        assert all(torch.equal(value, found[name]) for name, value in theirs.state_dict().items())
