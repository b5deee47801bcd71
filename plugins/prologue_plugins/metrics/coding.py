"""What tokens of an image cost: bits, and time to encode and decode."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from prologue_bench.contracts import (
    Measurement,
    Metric,
    MetricInputs,
    PlannedInputs,
    Procedure,
    to_bytes,
    to_float,
)
from prologue_bench.errors import DoesNotApply
from prologue_plugins.metrics.cost import timed
from prologue_plugins.metrics.settings import CodingSpeedSettings

NO_IDS = "its tokenizer has no ids"


class TokenBits(Metric):
    """Bits that name the tokens of an image: log2 of the vocabulary for each, added up.

    Given per image, and per pixel as image compression counts them: of height x width, whatever the
    channels. Nothing is assumed of how likely tokens are: `rate` measures what a generator needs.
    """

    def __init__(self, settings: object) -> None:
        pass

    def check(self, planned: PlannedInputs) -> None:
        if not planned.layout.segments:
            raise DoesNotApply(NO_IDS)

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        bits = sum(each.length * math.log2(each.vocabulary) for each in inputs.layout)
        spec = inputs.data.spec
        tokens = " + ".join(f"{each.length} of {each.vocabulary}" for each in inputs.layout)
        return [
            Measurement(
                name=name,
                title=title,
                value=value,
                unit=unit,
                direction="neutral",
                count=1,
                protocol=Procedure(
                    name="token-bits",
                    details={"tokens": tokens, "pixels": f"{spec.height} x {spec.width}"},
                ),
            )
            for name, title, value, unit in (
                ("token_bits", "bits of tokens", bits, "bits/image"),
                (
                    "token_bits_per_pixel",
                    "bits of tokens",
                    bits / (spec.height * spec.width),
                    "bits/pixel",
                ),
            )
        ]


class CodingSpeed(Metric):
    """Test images encoded and decoded per second: the best of several batches, one after another.

    From images in memory as bytes, and to them; reading and decompressing files is not counted.
    """

    needs = ("tokenizer",)

    def __init__(self, settings: CodingSpeedSettings) -> None:
        self.settings = settings

    def measure(self, inputs: MetricInputs) -> list[Measurement]:
        chosen = inputs.data.subset("test", self.settings.images)
        images = torch.from_numpy(inputs.data.images("test")[chosen])
        encoding, ids = self._fastest(
            inputs, 0, lambda: inputs.encode(to_float(images.to(inputs.device))).cpu()
        )
        decoding, _ = self._fastest(inputs, 1, lambda: to_bytes(inputs.decode(ids)).cpu())
        count = len(images)
        return [
            self._measurement(inputs, "encoding", count, encoding),
            self._measurement(inputs, "decoding", count, decoding),
        ]

    def _fastest(
        self, inputs: MetricInputs, index: int, work: Callable[[], Tensor]
    ) -> tuple[float, Tensor]:
        """The seconds of the fastest repeat, and what it gives; its copy to memory waits for a
        GPU."""
        repeats, seconds = self.settings.repeats, []
        for repeat in range(repeats):
            started = time.perf_counter()
            result = work()
            seconds.append(time.perf_counter() - started)
            inputs.advance(index * repeats + repeat + 1, 2 * repeats)
        return min(seconds), result

    def _measurement(
        self, inputs: MetricInputs, what: str, count: int, seconds: float
    ) -> Measurement:
        return Measurement(
            name=f"{what}_speed",
            title=f"{what} speed",
            value=count / seconds,
            unit="images/s",
            direction="higher",
            count=count,
            detail=True,
            protocol=Procedure(
                name="coding-speed", details=timed(count, self.settings.repeats, inputs)
            ),
        )
