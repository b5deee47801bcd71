"""TiTok (Yu et al. 2024): an image as N tokens without a grid.

Letters: B batch, N tokens, D width of a transformer, c code width, g patches along a side, p pixels
along a patch's side, K codes of the pixel decoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from prologue_bench.contracts import ImageSpec, Segment, TokenLayout
from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import nearest, unit
from prologue_plugins.zoo.parts.maskgit import MASKGIT, RGB, Decoder
from prologue_plugins.zoo.parts.vit import EPSILON, blocks, check_one_size, grid_side, positions
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings_maskgit import TiTokSettings, VitSize
from prologue_plugins.zoo.taming import Quantizer


class TokenTransformer(nn.Module):
    """What encoder and decoder share: a class token, g^2 patches and N tokens, in this order."""

    def __init__(self, settings: TiTokSettings, size: VitSize) -> None:
        super().__init__()
        self.patches = grid_side(settings) ** 2
        self.grid = grid_side(settings)
        self.class_embedding = positions(1, size.width)
        self.positional_embedding = positions(self.patches + 1, size.width)
        self.latent_token_positional_embedding = positions(settings.num_latent_tokens, size.width)
        self.ln_pre = nn.LayerNorm(size.width, eps=EPSILON)
        self.transformer = blocks(size)
        self.ln_post = nn.LayerNorm(size.width, eps=EPSILON)

    def states(self, patches: Tensor, tokens: Tensor) -> Tensor:
        """The last layer's states [B, 1 + g^2 + N, D] of patches and tokens, not normalised."""
        first = self.class_embedding.expand(len(patches), 1, -1)
        patches = torch.cat([first, patches], dim=1) + self.positional_embedding
        tokens = tokens + self.latent_token_positional_embedding
        states: Tensor = self.transformer(self.ln_pre(torch.cat([patches, tokens], dim=1)))
        return states


class TiTokEncoder(TokenTransformer):
    """Images to latents."""

    def __init__(self, settings: TiTokSettings) -> None:
        super().__init__(settings, settings.encoder)
        width, size = settings.encoder.width, settings.patch_size
        self.is_legacy = settings.is_legacy
        self.patch_embed = nn.Conv2d(RGB, width, size, stride=size)
        self.conv_out = nn.Conv2d(width, settings.token_size, 1)

    def forward(self, images: Tensor, queries: Tensor) -> Tensor:
        """Latents [B, c, 1, N] of images [B, 3, H, W] in [0, 1] and queries [N, D]."""
        patches = rearrange(self.patch_embed(images), "B D h w -> B (h w) D")
        states = self.states(patches, queries.expand(len(images), -1, -1))
        tokens: Tensor = self.ln_post(states[:, 1 + self.patches :])
        if self.is_legacy:  # mixes tokens and channels, as the published weights expect
            tokens = tokens.reshape(len(images), tokens.shape[2], 1, tokens.shape[1])
        else:
            tokens = rearrange(tokens, "B N D -> B D 1 N")
        latents: Tensor = self.conv_out(tokens)
        return latents


class ToPatches(nn.Module):
    """Channels of each patch to its pixels: [B, 3 p^2, g, g] to [B, 3, g p, g p]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return rearrange(
            x, "B (row column C) h w -> B C (h row) (w column)", row=self.size, column=self.size
        )


class TiTokDecoder(TokenTransformer):
    """Codes to pixels, or to logits over the codes of the pixel decoder."""

    def __init__(self, settings: TiTokSettings) -> None:
        super().__init__(settings, settings.decoder)
        width, size = settings.decoder.width, settings.patch_size
        self.mask_token = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.decoder_embed = nn.Linear(settings.token_size, width)
        self.ffn: nn.Module
        self.conv_out: nn.Module
        if settings.pixel is None:
            self.ffn = nn.Sequential(nn.Conv2d(width, RGB * size**2, 1), ToPatches(size))
            self.conv_out = nn.Conv2d(RGB, RGB, 3, padding=1)
        else:
            self.ffn = nn.Sequential(
                nn.Conv2d(width, 2 * width, 1),
                nn.Tanh(),
                nn.Conv2d(2 * width, settings.pixel.num_embeddings, 1),
            )
            self.conv_out = nn.Identity()

    def forward(self, codes: Tensor) -> Tensor:
        """Images [B, 3, H, W], or logits [B, K, g, g], of codes [B, c, 1, N]."""
        tokens = self.decoder_embed(rearrange(codes, "B c 1 N -> B N c"))
        states = self.states(self.mask_token.expand(len(codes), self.patches, -1), tokens)
        patches = self.ln_post(states[:, 1 : 1 + self.patches])
        out: Tensor = self.conv_out(
            self.ffn(rearrange(patches, "B (h w) D -> B D h w", h=self.grid))
        )
        return out


class TiTok(ZooTokenizer[TiTokSettings]):
    """Transformers around a codebook; in models of two stages, a MaskGIT decoder behind them."""

    name = "titok"
    input_range = (0.0, 1.0)

    def build(self, settings: TiTokSettings) -> None:
        self.latent_tokens = positions(settings.num_latent_tokens, settings.encoder.width)
        self.encoder = TiTokEncoder(settings)
        self.decoder = TiTokDecoder(settings)
        self.quantize = Quantizer(settings.codebook_size, settings.token_size)
        if settings.pixel is not None:
            self.pixel_quantize = Quantizer(
                settings.pixel.num_embeddings, settings.pixel.z_channels
            )
            self.pixel_decoder = Decoder(settings.pixel, settings.pixel.z_channels, MASKGIT)

    @property
    def factor(self) -> int:
        return self.settings.patch_size

    def make_layout(self) -> TokenLayout:
        settings = self.settings
        return TokenLayout((Segment("tokens", settings.num_latent_tokens, settings.codebook_size),))

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.encoder(images, self.latent_tokens)
        return latents

    @property
    def codebook(self) -> Tensor:
        """The codes [K, c] that the decoder gets."""
        codes = self.quantize.codebook
        return unit(codes) if self.settings.use_l2_norm else codes

    def ids_of(self, latents: Tensor) -> Tensor:
        vectors = rearrange(latents, "B c 1 N -> (B N) c")
        if self.settings.use_l2_norm:
            vectors = unit(vectors)
        return nearest(vectors, self.codebook).reshape(len(latents), -1)

    def codes_of(self, ids: Tensor) -> Tensor:
        return rearrange(self.codebook[ids], "B N c -> B c 1 N")

    def pixel_latents(self, logits: Tensor) -> Tensor:
        """What the pixel decoder gets: the mean code by the softmax of logits [B, K, g, g]."""
        codes = self.pixel_quantize.codebook
        return torch.einsum("bkhw,kc->bchw", logits.softmax(dim=1), codes)

    def images_of(self, codes: Tensor) -> Tensor:
        decoded: Tensor = self.decoder(codes)
        if self.settings.pixel is not None:
            decoded = self.pixel_decoder(self.pixel_latents(decoded))
        return decoded

    def golden(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield from super().golden(images)
        if self.settings.pixel is not None:
            logits = self.decoder(self.codes_of(self.encode(images)))
            yield "proxy_logits", logits
            yield "pixel_latents", self.pixel_latents(logits)

    def _check(self, images: ImageSpec) -> None:
        super()._check(images)
        check_one_size(self.name, self.settings.image_size, images)


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    model = config.get("vq_model")
    if not isinstance(model, Mapping) or "num_latent_tokens" not in model:
        return None
    names = ("codebook_size", "token_size", "use_l2_norm", "num_latent_tokens", "is_legacy")
    values = {name: model[name] for name in names if name in model}
    values |= {
        "image_size": config["image_size"],
        "patch_size": model["vit_enc_patch_size"],
        "encoder": config["sizes"][model["vit_enc_model_size"]],
        "decoder": config["sizes"][model["vit_dec_model_size"]],
    }
    if "pixel" in config:
        values["pixel"] = {**config["pixel"], "norm_groups": config["norm_groups"]}
    return computed(TiTok, TiTokSettings, values, weights, io)
