"""diffusers' VQModel and AutoencoderKL behind the tokenizer's contract."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, VQModel
from torch import Tensor

from prologue_bench.contracts import (
    ContinuousTokenizer,
    ImageSpec,
    Segment,
    Tokenizer,
    TokenizerOutput,
    TokenLayout,
    may_fetch,
)
from prologue_bench.errors import MissingDataError, UserError, shortened
from prologue_bench.seeds import seeded
from prologue_bench.storage.files import user_path
from prologue_plugins.diffusers.settings import (
    DiffusersKlSettings,
    DiffusersVqSettings,
    is_on_hub,
    is_path,
    local_folder,
)

CHANNELS = 3


class DiffusersVq(Tokenizer):
    """A convolutional VQ autoencoder with its weights, as it is.

    One token for each place of its latent grid. Grey images are given to it three times over, and
    its colours averaged.
    """

    frozen = True

    def __init__(self, settings: DiffusersVqSettings, images: ImageSpec) -> None:
        super().__init__()
        self.images = images
        self.model, self.grid = _model(VQModel, "diffusers-vq", settings, images)
        codes = self.model.config.num_vq_embeddings
        self.layout = TokenLayout(
            (Segment("visual", self.grid[0] * self.grid[1], codes, self.grid),)
        )

    def encode(self, images: Tensor) -> Tensor:
        latents = self.model.encode(images.expand(-1, CHANNELS, -1, -1)).latents
        ids: Tensor = self.model.quantize(latents)[2][2]
        return ids.reshape(len(images), -1).long()

    def decode(self, ids: Tensor) -> Tensor:
        codes = self.model.quantize.get_codebook_entry(
            ids.flatten(), (len(ids), *self.grid, self.model.quantize.vq_embed_dim)
        )
        decoded: Tensor = self.model.decode(codes, force_not_quantize=True).sample
        return decoded.mean(dim=1, keepdim=True) if self.images.channels == 1 else decoded

    def losses(self, images: Tensor) -> TokenizerOutput:
        raise UserError("tokenizer 'diffusers-vq' is frozen and has nothing to learn")


class DiffusersKl(ContinuousTokenizer):
    """A continuous autoencoder with its weights, as it is: the mean of its latents, decoded.

    Grey images are given to it three times over, and its colours averaged.
    """

    def __init__(self, settings: DiffusersKlSettings, images: ImageSpec) -> None:
        super().__init__()
        self.images = images
        self.model, _ = _model(AutoencoderKL, "diffusers-kl", settings, images)

    def reconstruct(self, images: Tensor) -> Tensor:
        latents = self.model.encode(images.expand(-1, CHANNELS, -1, -1)).latent_dist.mode()
        decoded: Tensor = self.model.decode(latents).sample
        return decoded.mean(dim=1, keepdim=True) if self.images.channels == 1 else decoded


def _model(
    cls: type[Any], name: str, settings: DiffusersVqSettings, images: ImageSpec
) -> tuple[Any, tuple[int, int]]:
    """A model of diffusers, and the sides of its latents' grid for these images."""
    # The weights are needed at once, also where tokenizers are made without memory for them.
    with torch.device("cpu"):
        model = _load(cls, settings) if settings.pretrained else _random(cls, name, settings)
    model.requires_grad_(False).eval()
    config = model.config
    if config.in_channels != CHANNELS:
        raise UserError(
            f"tokenizer {settings.pretrained!r}: found a model of {config.in_channels} "
            f"channels, expected {CHANNELS}"
        )
    factor = 2 ** (len(config.block_out_channels) - 1)
    if images.height % factor or images.width % factor:
        raise UserError(
            f"tokenizer {name!r}: the model halves images {factor.bit_length() - 1} "
            "times, expected a height and "
            f"width that {factor} divides; found {images.height} x {images.width}"
        )
    return model, (images.height // factor, images.width // factor)


def _load(cls: type[Any], settings: DiffusersVqSettings) -> Any:
    if is_path(settings.pretrained) and local_folder(settings) is None:
        raise MissingDataError(
            f"tokenizer.pretrained: found no folder {settings.pretrained}, expected one with "
            "config.json and safetensors weights"
        )
    options = {
        name: value for name in ("subfolder", "revision") if (value := getattr(settings, name))
    }
    if not may_fetch():
        options["local_files_only"] = True
    on_hub = is_on_hub(settings)
    where = settings.pretrained if on_hub else user_path(settings.pretrained)
    try:
        return cls.from_pretrained(where, use_safetensors=True, **options)
    except Exception as error:
        if on_hub and not may_fetch():
            raise MissingDataError(
                f"tokenizer.pretrained: {settings.pretrained!r} is not in the hub's cache, "
                "and nothing is fetched while a run is only planned; run it, "
                "or fetch it by `hf download`"
            ) from None
        if on_hub and isinstance(error, OSError):
            raise MissingDataError(
                f"tokenizer.pretrained: {settings.pretrained!r} cannot be fetched: "
                f"{shortened(str(error).strip(), 160)}"
            ) from None
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"tokenizer.pretrained: {settings.pretrained!r} cannot be loaded as diffusers' "
            f"{cls.__name__}: {first}; expected a "
            "folder with config.json and safetensors weights, or a name on the hub"
        ) from None


def _random(cls: type[Any], name: str, settings: DiffusersVqSettings) -> Any:
    with seeded(name, settings.random_seed):
        return cls(
            block_out_channels=(8, 16, 16),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            latent_channels=4,
            norm_num_groups=4,
            **({"num_vq_embeddings": 64} if cls is VQModel else {}),
        )
