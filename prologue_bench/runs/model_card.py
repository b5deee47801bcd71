"""The model card of an exported run: Markdown with the metadata that model hubs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from prologue_bench.contracts.layout import TokenLayout
from prologue_bench.documents import yaml_values
from prologue_bench.reporting.formatting import environment
from prologue_bench.results.caveats import caveats
from prologue_bench.results.plain import Document
from prologue_bench.results.protocols import protocol_hash
from prologue_bench.results.schema import Export, MeasurementRecord
from prologue_bench.storage.files import write_text
from prologue_bench.texts.durations import duration

CARD = "README.md"


def write_model_card(
    config: Export, layout: TokenLayout, parameters: Mapping[str, int], folder: Path, name: str
) -> Path:
    """Write README.md beside an export.

    `parameters` counts those of each part; `layout` is the tokenizer's; `name` is what the folder
    will be called.
    """
    measurements = [each for each in config.measurements if not each.detail]
    text = (
        environment()
        .get_template("model_card.md.j2")
        .render(
            config=config,
            metadata=yaml_values.dump(_metadata(config, measurements)).strip(),
            layout=layout,
            parameters=parameters,
            measurements=[(each, protocol_hash(each.protocol)) for each in measurements],
            protocols={protocol_hash(each.protocol): each.protocol for each in measurements},
            caveats=caveats(config.measurements),
            warnings=list(dict.fromkeys(e.warning for e in config.measurements if e.warning)),
            folder=name,
            duration=duration,
        )
    )
    path = folder / CARD
    write_text(path, text)
    return path


def _metadata(config: Export, measurements: Sequence[MeasurementRecord]) -> Document:
    """As model hubs read it; the licence of the weights is the user's to choose."""
    dataset = {"type": config.data.name, "name": config.data.name}
    return {
        "library_name": "prologue-bench",
        "tags": [
            "image-tokenization",
            "autoregressive-image-generation",
            config.tokenizer.use,
        ],
        "datasets": [config.data.name],
        "model-index": [
            {
                "name": f"{config.ablation.name}: {config.variant}",
                "results": [
                    {
                        "task": {
                            "type": "unconditional-image-generation",
                            "name": "Class-conditional generation",
                        },
                        "dataset": dataset,
                        "metrics": [
                            {"type": each.name, "name": each.title, "value": each.value}
                            for each in measurements
                        ],
                    }
                ],
            }
        ],
    }
