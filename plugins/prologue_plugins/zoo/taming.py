"""VQGAN of taming-transformers (Esser et al. 2021), and the VQ models of latent diffusion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from prologue_plugins.zoo.base import ZooTokenizer
from prologue_plugins.zoo.golden import computed
from prologue_plugins.zoo.parts.codebooks import from_grid, nearest, to_grid
from prologue_plugins.zoo.parts.taming import Decoder, Encoder, Shape
from prologue_plugins.zoo.reading import State
from prologue_plugins.zoo.settings import TamingVqganSettings


class Quantizer(nn.Module):
    """A codebook [K, c] under its official name."""

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, width)

    @property
    def codebook(self) -> Tensor:
        """The codes [K, c] as they are stored."""
        return self.embedding.weight


class ConvolutionalVq(ZooTokenizer[Any]):
    """Encoder and decoder of the taming family around one codebook on a grid.

    A family makes `encoder`, `quant_conv`, `quantize`, `post_quant_conv` and `decoder`.
    """

    encoder: Encoder
    quant_conv: nn.Conv2d
    quantize: Quantizer
    post_quant_conv: nn.Conv2d
    decoder: Decoder

    def assemble(
        self, encoder: Shape, decoder: Shape, codes: int, width: int, side: int = 1
    ) -> None:
        """Make the modules, with codes of this width between convolutions with this side."""
        self.encoder = Encoder(encoder)
        self.decoder = Decoder(decoder)
        self.quantize = Quantizer(codes, width)
        self.quant_conv = nn.Conv2d(encoder.z_channels, width, side, padding=side // 2)
        self.post_quant_conv = nn.Conv2d(width, decoder.z_channels, side, padding=side // 2)

    def latents(self, images: Tensor) -> Tensor:
        latents: Tensor = self.quant_conv(self.encoder(images))
        return latents

    def choose(self, vectors: Tensor) -> Tensor:
        """Ids [N] of vectors [N, c]: the nearest codes, unless overridden."""
        return nearest(vectors, self.codebook)

    @property
    def codebook(self) -> Tensor:
        """The codes [K, c] that the decoder gets."""
        return self.quantize.codebook

    def ids_of(self, latents: Tensor) -> Tensor:
        return self.choose(from_grid(latents)).reshape(len(latents), -1)

    def codes_of(self, ids: Tensor) -> Tensor:
        return to_grid(self.codebook[ids], self.grid)

    def images_of(self, codes: Tensor) -> Tensor:
        images: Tensor = self.decoder(self.post_quant_conv(codes))
        return images

    def golden(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        yield "encoder_out", self.encoder(self._native(images))
        yield from super().golden(images)


class TamingVqgan(ConvolutionalVq):
    """One token for each place of the grid, the nearest code; codes are not normalised."""

    name = "taming-vqgan"

    def build(self, settings: TamingVqganSettings) -> None:
        levels = len(settings.ch_mult)
        vanilla, wanted = settings.attn_type == "vanilla", settings.attn_resolutions
        coarsest = settings.resolution // 2 ** (levels - 1)
        # The decoder doubles the rounded coarsest side; the two differ where sides are odd.
        sides = [settings.resolution // 2**level for level in range(levels)]
        doubled = [coarsest * 2 ** (levels - 1 - level) for level in range(levels)]
        encoder, decoder = (
            Shape(
                ch=settings.ch,
                ch_mult=settings.ch_mult,
                num_res_blocks=settings.num_res_blocks,
                z_channels=settings.z_channels,
                groups=settings.norm_groups,
                attention=[i for i, side in enumerate(nominal) if vanilla and side in wanted],
                mid_attention=vanilla,
            )
            for nominal in (sides, doubled)
        )
        self.assemble(encoder, decoder, settings.n_embed, settings.embed_dim)

    @property
    def factor(self) -> int:
        return int(2 ** (len(self.settings.ch_mult) - 1))

    @property
    def vocabulary(self) -> int:
        return int(self.settings.n_embed)


def official_settings(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings for an official configuration; None for that of another family."""
    network = config.get("ddconfig")
    if not isinstance(network, Mapping) or "attn_resolutions" not in network:
        return None
    names = ("ch", "ch_mult", "num_res_blocks", "resolution", "attn_resolutions", "z_channels")
    return {
        **{name: network[name] for name in (*names, "attn_type") if name in network},
        **{
            name: config[name] for name in ("n_embed", "embed_dim", "norm_groups") if name in config
        },
    }


def golden(config: Mapping[str, Any], weights: State, io: State) -> Mapping[str, Tensor] | None:
    """The tensors of a golden folder, see `prologue_plugins.zoo.golden`."""
    values = official_settings(config)
    return (
        None if values is None else computed(TamingVqgan, TamingVqganSettings, values, weights, io)
    )
