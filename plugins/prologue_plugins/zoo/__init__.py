"""Published tokenizers with their released weights, frozen: a module for each family."""

from __future__ import annotations

from prologue_bench.contracts import Component, hookimpl

INTERFACE_VERSION = 2


def _component(name: str, target: str, settings: str, summary: str) -> Component:
    return Component(
        name=name,
        target=f"prologue_plugins.zoo.{target}",
        settings=f"prologue_plugins.zoo.{settings}",
        summary=summary,
        takes_offers=False,
    )


@hookimpl
def prologue_tokenizers() -> list[Component]:
    return [
        _component(
            "llamagen-vq",
            "llamagen:LlamaGenVq",
            "settings:LlamaGenVqSettings",
            "LlamaGen's VQ tokenizers (Sun et al. 2024), frozen.",
        ),
        _component(
            "taming-vqgan",
            "taming:TamingVqgan",
            "settings:TamingVqganSettings",
            "VQGAN (Esser et al. 2021) and latent diffusion's VQ models, frozen.",
        ),
        _component(
            "ibq",
            "ibq:Ibq",
            "settings:IbqSettings",
            "IBQ (Shi et al. 2024), frozen.",
        ),
        _component(
            "open-magvit2",
            "magvit2:OpenMagvit2",
            "settings:OpenMagvit2Settings",
            "Open-MAGVIT2 (Luo et al. 2024), LFQ, frozen.",
        ),
        _component(
            "var-vq",
            "var:VarVq",
            "settings:VarVqSettings",
            "VAR's multi-scale residual VQ (Tian et al. 2024), frozen.",
        ),
        _component(
            "maskgit-vqgan",
            "maskgit:MaskGitVqgan",
            "settings_maskgit:MaskGitVqganSettings",
            "MaskGIT's VQGAN (Chang et al. 2022), frozen.",
        ),
        _component(
            "titok",
            "titok:TiTok",
            "settings_maskgit:TiTokSettings",
            "TiTok (Yu et al. 2024), tokens without a grid, frozen.",
        ),
        _component(
            "maskbit",
            "maskbit:MaskBit",
            "settings_maskgit:MaskBitSettings",
            "MaskBit's tokenizers (Weber et al. 2024), LFQ, frozen.",
        ),
        _component(
            "vqgan-plus",
            "maskbit:VqganPlus",
            "settings_maskgit:VqganPlusSettings",
            "VQGAN+ (Weber et al. 2024), frozen.",
        ),
        _component(
            "bsq-vit",
            "bsq:BsqVit",
            "settings_maskgit:BsqVitSettings",
            "BSQ-ViT (Zhao et al. 2024), binary spherical quantization, frozen.",
        ),
        _component(
            "cosmos-di",
            "cosmos:CosmosDi",
            "settings_maskgit:CosmosDiSettings",
            "Cosmos' discrete image tokenizers (NVIDIA 2024), FSQ, frozen.",
        ),
    ]


@hookimpl
def prologue_generators() -> list[Component]:
    return [
        _component(
            "llamagen-gpt",
            "gpt:LlamaGenGpt",
            "settings_generators:LlamaGenGptSettings",
            "LlamaGen's class-conditional transformers (Sun et al. 2024), as released.",
        ),
        _component(
            "official-rar",
            "rar:OfficialRar",
            "settings_generators:OfficialRarSettings",
            "RAR (Yu et al. 2024) as released; `rar` is this project's, to be trained.",
        ),
    ]
