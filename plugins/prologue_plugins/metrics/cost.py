"""What a variant costs: training once, and sampling each image."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    to_bytes,
)
from prologue_bench.contracts.stage_kinds import TRAIN_TOKENIZER, TRAINED
from prologue_bench.errors import DoesNotApply, StageError
from prologue_plugins.metrics.settings import SpeedSettings

UNKNOWN = "a model is imported, so that the cost of its training is not known"


class Cost(Metric):
    """What training tokenizer and generator takes: operations, and seconds where they were run.

    The tokenizer counts with all that it builds on. The operations are counted on the models, as
    the plan shows them: tokenizer, joint prior and generator, without losses such as LPIPS. The
    seconds are comparable on one machine only, which their protocol names. A number of which a part
    is not known is left out: operations that could not be counted, a training that was done
    elsewhere.
    """

    needs = ("costs",)

    def __init__(self, settings: object) -> None:
        pass

    def check(self, planned: PlannedInputs) -> None:
        if planned.imported:
            raise DoesNotApply(UNKNOWN)

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        costs = [inputs.costs[stage] for stage in TRAINED if stage in inputs.costs]
        machines = ", ".join(sorted({name for cost in costs for name in cost.machine.split(", ")}))
        flops = _total([cost.flops for cost in costs])
        seconds = _total([cost.seconds for cost in costs])
        found = []
        if flops:
            found.append(
                _measurement(
                    "training_flops", "training operations", flops / 1e12, "TFLOP", len(costs), {}
                )
            )
        if seconds:
            where = {"machine": machines}
            found.append(
                _measurement("training_seconds", "training time", seconds, "s", len(costs), where)
            )
        if TRAIN_TOKENIZER not in inputs.costs or not found:
            raise StageError(f"cost: {UNKNOWN}; leave this metric out")
        return found


def _total(parts: Sequence[float | None]) -> float | None:
    """The sum; None where a part is not known."""
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _measurement(
    name: str, title: str, value: float, unit: str, count: int, details: Mapping[str, str]
) -> Measurement:
    return Measurement(
        name=name,
        title=title,
        value=value,
        unit=unit,
        direction="lower",
        count=count,
        detail=True,
        protocol=Procedure(name="training-cost", details={"stages": ", ".join(TRAINED), **details}),
    )


def timed(batch: int, repeats: int, inputs: MetricInputs) -> dict[str, Any]:
    """What protocols of speeds say of how they were taken."""
    return {
        "batch": batch,
        "repeats": f"the best of {repeats}",
        "device": inputs.device.type,
        "machine": inputs.machine,
        "threads": torch.get_num_threads(),
    }


class Speed(Metric):
    """Images drawn token by token and decoded per second: the best of several batches."""

    needs = ("tokenizer", "draw")

    def __init__(self, settings: SpeedSettings) -> None:
        self.settings = settings

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        fastest = min(self._seconds(inputs, repeat) for repeat in range(self.settings.repeats))
        return [
            Measurement(
                name="sampling_speed",
                title="sampling speed",
                value=self.settings.images / fastest,
                unit="images/s",
                direction="higher",
                count=self.settings.images,
                detail=True,
                protocol=Procedure(
                    name="sampling-speed",
                    details={
                        **timed(self.settings.images, self.settings.repeats, inputs),
                        **{
                            f"sampling.{key}": item
                            for key, item in inputs.sampling.items()
                            if key.startswith("guidance")
                        },
                    },
                ),
            )
        ]

    def _seconds(self, inputs: MetricInputs, repeat: int) -> float:
        classes = max(1, len(inputs.data.spec.class_names))
        labels = torch.arange(self.settings.images) % classes
        started = time.perf_counter()
        ids = inputs.draw(labels, None, repeat)
        to_bytes(inputs.decode(ids)).cpu()  # the copy waits for a GPU
        inputs.advance(repeat + 1, self.settings.repeats)
        return time.perf_counter() - started
