"""The settings of models here for a config.json of the paper's implementation."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

from attrs import frozen

from prologue_bench.contracts import ImageSpec, Tokenizer
from prologue_bench.errors import UserError
from prologue_bench.results.checking import Between, Mismatch, check, shown
from prologue_bench.results.documents import LARGEST_CONFIG
from prologue_bench.results.reading import read_json
from prologue_bench.results.schema import Side
from prologue_plugins.generators.ar import Ar
from prologue_plugins.generators.settings import ArSettings, ArTransformerSettings
from prologue_plugins.layers.settings import TransformerSettings
from prologue_plugins.layers.vit import GRID_THETA, SEQUENCE_THETA
from prologue_plugins.tokenizers.prologue import Prologue
from prologue_plugins.tokenizers.prologue_post import ProloguePost
from prologue_plugins.tokenizers.settings import (
    ProloguePostSettings,
    PrologueSettings,
    Vq1dSettings,
    Vq2dSettings,
)
from prologue_plugins.tokenizers.vq_1d import Vq1d
from prologue_plugins.tokenizers.vq_2d import Vq2d

CHANNELS = 3
_THETAS = {"hw": GRID_THETA, "l": SEQUENCE_THETA}
_COMMON = {
    "attn_norm": True,
    "norm_layer": "RMSNorm",
    "ffn_type": "geglu",
    "rope": True,
    "abs_pos": False,
    "use_label": True,
    "out_act": False,
}
_QUANTIZER = {"z_norm_type": "l2", "codebook_proj": "l2", "use_entropy_loss": False}


Size = Annotated[int, Between(1, 2**20)]
Positive = Annotated[float, Between(1e-6, 1e6)]


@frozen(kw_only=True)
class TransformerRecord:
    """One transformer. What may stand at `_COMMON` is checked when it is read."""

    dim: Size
    layer_num: Size
    heads: Size
    mlp_ratio: Positive | str
    cond_dim: Size
    rope_axes_dim: tuple[Annotated[int, Between(0, 2**20)], ...]
    context_type: str
    rope_input_type: Literal["hw", "l"]
    rope_theta: Positive
    rope_ctx_type: Literal["hw", "l"] = "l"
    rope_ctx_theta: Positive = 1.0
    tied_embedding: bool = False


@frozen(kw_only=True)
class QuantizerRecord:
    """One quantizer."""

    z_dim: Size
    codebook_size: Size
    vq_beta: Annotated[float, Between(0, 1e6)]
    ste: str
    temperature: Positive = 1.0


@frozen(kw_only=True)
class ConfigRecord:
    """config.json of the paper's implementation, as far as it is read here."""

    z_len: Annotated[int, Between(0, 2**20)]
    Prologue: bool
    share_semantic_codebook: bool = False
    share_semantic_encoder: bool = True
    use_eos: bool = False
    image_size: Side
    patch_size: Side
    num_classes: Annotated[int, Between(1, 2**20)]
    semantic_input_type: str = ""
    Encoder: TransformerRecord
    Decoder: TransformerRecord
    ARModel: TransformerRecord
    Quantizer: QuantizerRecord
    SemanticEncoder: TransformerRecord | None = None
    SemanticQuantizer: QuantizerRecord | None = None


@frozen
class OfficialConfig:
    """A config.json, read as settings of the models here.

    Raises UserError for what they cannot be set to.
    """

    values: Mapping[str, Any]
    path: Path

    @classmethod
    def read(cls, path: Path) -> OfficialConfig:
        """Read a file.

        Raises UserError when it is missing, no JSON, or not as `ConfigRecord` describes it.
        """
        values = read_json(
            path, "the config.json of a model of the paper's implementation", LARGEST_CONFIG, True
        )
        try:
            check(values, ConfigRecord)
        except Mismatch as wrong:
            raise UserError(f"{path}: {wrong}") from None
        assert isinstance(values, dict), "it is as the record"
        return cls(values, path)

    @property
    def images(self) -> ImageSpec:
        """Square RGB images with one class fewer than labels, the last of which is "none"."""
        size = self.get("image_size")
        classes = int(self.get("num_classes")) - 1
        return ImageSpec(
            channels=CHANNELS,
            height=size,
            width=size,
            class_names=tuple(str(index) for index in range(classes)),
        )

    def tokenizer(self) -> Tokenizer:
        """The tokenizer with new weights."""
        self._expect("Encoder", {**_COMMON, "causal": False, "out_norm": False, "out_layer": False})
        self._expect("Decoder", {**_COMMON, "causal": False, "out_norm": True, "out_layer": True})
        self._expect("Quantizer", {**_QUANTIZER, "ste": "VQ", "use_quant_loss": True})
        common: dict[str, Any] = {
            "patch_size": self.get("patch_size"),
            "encoder": self._transformer("Encoder"),
            "decoder": self._transformer("Decoder"),
            "visual_codebook": self.get("Quantizer", "codebook_size"),
            "code_width": self.get("Quantizer", "z_dim"),
            "commitment": self.get("Quantizer", "vq_beta"),
        }
        if not self.get("Prologue"):
            if self.get("Encoder", "context_type") == "concat":
                return Vq1d(Vq1dSettings(**common, tokens=self.get("z_len")), self.images)
            return Vq2d(Vq2dSettings(**common), self.images)
        if self.get("share_semantic_codebook"):
            raise UserError(f"{self.path}: share_semantic_codebook: found true, expected false")
        self._expect("SemanticQuantizer", {**_QUANTIZER, "z_dim": common["code_width"]})
        common |= {
            "prologue_tokens": self.get("z_len"),
            "prologue_codebook": self.get("SemanticQuantizer", "codebook_size"),
            "straight_through_temperature": self.get("SemanticQuantizer", "temperature"),
            "straight_through": self._choice(
                "SemanticQuantizer", "ste", {"ProbQ": "softmax", "VQ": "vq"}
            ),
            "separator": self.get("use_eos"),
        }
        if self.get("share_semantic_encoder"):
            return Prologue(PrologueSettings(**common), self.images)
        self._expect(
            "SemanticEncoder", {**_COMMON, "causal": False, "out_norm": False, "out_layer": False}
        )
        reads = {
            "encoder_output": "encoder-output",
            "pre_quant": "before-quantization",
            "image_patch": "patches",
        }
        return ProloguePost(
            ProloguePostSettings(
                **common,
                prologue_encoder=self._transformer("SemanticEncoder"),
                prologue_input=self._choice("", "semantic_input_type", reads),
            ),
            self.images,
        )

    def generator(self, tokenizer: Tokenizer, tied: bool | None = None) -> Ar:
        """The autoregressive model with new weights, in evaluation mode."""
        self._expect(
            "ARModel",
            {
                **_COMMON,
                "causal": True,
                "out_norm": True,
                "out_layer": True,
                "input_layer": False,
                "ffn_bias": False,
                "out_bias": False,
                "attn_out_bias": False,
            },
        )
        base = self._transformer("ARModel")
        transformer = ArTransformerSettings(
            width=base.width,
            layers=base.layers,
            heads=base.heads,
            ffn_ratio=base.ffn_ratio,
            condition_width=base.condition_width,
            rotary_axes=base.rotary_axes,
            dropout=0.0,
        )
        settings = ArSettings(
            transformer=transformer,
            tied=self.get("ARModel", "tied_embedding") if tied is None else tied,
        )
        return Ar(settings, tokenizer.layout, self.images.labels).eval()

    def get(self, *keys: str) -> Any:
        """The value at a path such as ("Encoder", "dim"). Raises UserError when it is missing."""
        value: Any = self.values
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                raise UserError(f"{self.path}: {'.'.join(keys)}: missing")
            value = value[key]
        return value

    def _transformer(self, name: str) -> TransformerSettings:
        for kind, theta in (("rope_input_type", "rope_theta"), ("rope_ctx_type", "rope_ctx_theta")):
            used = kind == "rope_input_type" or self.get(name, "context_type") == "concat"
            if used and self.get(name, theta) != _THETAS[self.get(name, kind)]:
                expected = _THETAS[self.get(name, kind)]
                raise UserError(
                    f"{self.path}: {name}.{theta}: found {self.get(name, theta)}, "
                    f"expected {expected:g}"
                )
        try:
            return TransformerSettings(
                width=self.get(name, "dim"),
                layers=self.get(name, "layer_num"),
                heads=self.get(name, "heads"),
                ffn_ratio=float(Fraction(str(self.get(name, "mlp_ratio")))),
                condition_width=self.get(name, "cond_dim"),
                rotary_axes=tuple(self.get(name, "rope_axes_dim")),
            )
        except (TypeError, ValueError, ArithmeticError) as error:
            raise UserError(
                f"{self.path}: {name}: {error.args[0] if error.args else error}"
            ) from None

    def _expect(self, name: str, expected: Mapping[str, Any]) -> None:
        for key, value in expected.items():
            found = self.get(name).get(key, value)
            if found != value:
                raise UserError(
                    f"{self.path}: {name}.{key}: found {shown(found)}, expected {value!r}"
                )

    def _choice(self, name: str, key: str, known: Mapping[str, str]) -> Any:
        found = self.get(name, key) if name else self.get(key)
        if found not in known:
            place = f"{name}.{key}" if name else key
            raise UserError(
                f"{self.path}: {place}: found {shown(found)}, expected one of {', '.join(known)}"
            )
        return known[found]
