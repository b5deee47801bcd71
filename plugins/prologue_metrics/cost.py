"""What a variant costs: training once, and sampling each image."""

from __future__ import annotations

import time

import torch

from prologue_bench.errors import StageError
from prologue_bench.images import to_bytes
from prologue_bench.interfaces import Measurement, Metric, MetricInputs, Protocol
from prologue_metrics.settings import SpeedSettings

TRAINING = ("train-tokenizer", "train-generator")


class Cost(Metric):
    """Training of tokenizer (with all it builds on) and generator: operations, and seconds where they were run.

    The operations are counted on the models, as the plan shows them: tokenizer, joint prior and generator, without
    losses such as LPIPS. The seconds are comparable on one machine only, which their protocol names.
    """

    needs = ("costs",)

    def __init__(self, settings: object) -> None:
        pass

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        assert inputs.costs is not None
        costs = [inputs.costs[stage] for stage in TRAINING if stage in inputs.costs]
        if not costs or TRAINING[0] not in inputs.costs:
            raise StageError(
                "cost: the tokenizer is imported and what its training took is not known; leave this metric out"
            )
        machines = ", ".join(sorted({cost.machine for cost in costs}))
        return [
            Measurement(
                name="training_flops",
                title="training operations",
                value=sum(cost.flops for cost in costs) / 1e12,
                unit="TFLOP",
                direction="lower",
                count=len(costs),
                detail=True,
                protocol=Protocol(name="training-cost", details={"stages": ", ".join(TRAINING)}),
            ),
            Measurement(
                name="training_seconds",
                title="training time",
                value=sum(cost.seconds for cost in costs),
                unit="s",
                direction="lower",
                count=len(costs),
                detail=True,
                protocol=Protocol(name="training-cost", details={"stages": ", ".join(TRAINING), "machine": machines}),
            ),
        ]


class Speed(Metric):
    """Images a second that are drawn token by token and decoded, in the best of several repeats of one batch."""

    needs = ("tokenizer", "generator")

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
                protocol=Protocol(
                    name="sampling-speed",
                    details={
                        "batch": self.settings.images,
                        "repeats": f"the best of {self.settings.repeats}",
                        "device": inputs.device.type,
                        "machine": inputs.machine,
                        "threads": torch.get_num_threads(),
                        **{f"sampling.{key}": item for key, item in inputs.sampling.items() if key.startswith("guid")},
                    },
                ),
            )
        ]

    def _seconds(self, inputs: MetricInputs, repeat: int) -> float:
        assert inputs.draw is not None
        assert inputs.tokenizer is not None
        classes = max(1, len(inputs.data.spec.class_names))
        labels = torch.arange(self.settings.images) % classes
        started = time.perf_counter()
        ids = inputs.draw(labels, None, repeat)
        to_bytes(inputs.tokenizer.decode(ids.to(inputs.device))).cpu()  # the copy waits for a GPU
        inputs.advance(repeat + 1, self.settings.repeats)
        return time.perf_counter() - started
