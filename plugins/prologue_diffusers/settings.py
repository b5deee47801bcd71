"""Settings of diffusers' tokenizers, without importing torch."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen(kw_only=True)
class DiffusersVqSettings:
    """Where the model is."""

    pretrained: str = ""
    """A folder with config.json and weights, or a name on the hub, as `VQModel.from_pretrained` takes them; empty makes
    a small model with random weights, which shows that everything runs and nothing else."""
    subfolder: str = ""
    """Of a pipeline's folder, the part that holds the tokenizer, such as vqvae."""
    random_seed: int = field(default=0, validator=validators.ge(0))
    """Of the random weights."""
