"""Settings of diffusers' tokenizers, without importing torch."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import field, frozen, validators

from prologue_bench.contracts import FILE, HOW_NOT_WHAT, content_of, unread
from prologue_bench.errors import UserError
from prologue_bench.storage.files import user_path

CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model"
"""How the names of diffusers' files of weights begin."""


def is_path(pretrained: str) -> bool:
    """Whether a text can only be a path: names on the hub begin with none of these."""
    return pretrained.startswith((".", "/", "~"))


def local_folder(settings: DiffusersVqSettings) -> Path | None:
    """The folder with the model's files; None of a name on the hub."""
    root = user_path(settings.pretrained)
    return root / settings.subfolder if root.is_dir() else None


def is_on_hub(settings: DiffusersVqSettings) -> bool:
    """Whether the model is named by its name on the hub."""
    named = settings.pretrained
    return bool(named) and not is_path(named) and local_folder(settings) is None


def model_identity(settings: DiffusersVqSettings, pretrained: str) -> str | None:
    """What stands in keys for the model: a folder's content, or a commit on the hub."""
    if not pretrained:
        return None
    folder = local_folder(settings)
    if folder is None and is_path(pretrained):
        return None  # it is missing, as planning will say
    if folder is None:
        return "/".join([f"{pretrained}@{settings.revision}", *filter(None, [settings.subfolder])])
    weights = sorted(path.name for path in folder.glob(f"{WEIGHTS}*.safetensors*"))
    if not weights or not (folder / CONFIG).is_file():
        raise UserError(
            f"tokenizer.pretrained: {folder} holds no {CONFIG} with {WEIGHTS}.safetensors"
        )
    return content_of(folder, [CONFIG, *weights])


@frozen(kw_only=True)
class DiffusersVqSettings:
    """Where the model is."""

    pretrained: str = field(default="", metadata={FILE: model_identity})
    """A folder with config.json and weights, or a name on the hub, as `from_pretrained` takes them;
    what begins with ".", "/" or "~" is a folder. Empty makes a small model with random weights,
    which shows that everything runs and nothing else."""
    revision: str = field(default="", metadata=HOW_NOT_WHAT)
    """Of a name on the hub, the commit's hash: a branch or tag may move to other weights."""
    subfolder: str = field(default="", metadata=HOW_NOT_WHAT)
    """Of a pipeline's folder, the part that holds the tokenizer, such as vqvae."""
    random_seed: int = field(default=0, validator=validators.ge(0))
    """Of the random weights."""

    def __attrs_post_init__(self) -> None:
        on_hub = is_on_hub(self)
        if on_hub and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", self.pretrained):
            raise ValueError(
                "'pretrained' must be a folder that is there or a name on the hub: "
                f"{self.pretrained}"
            )
        if on_hub and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            found = self.revision or "nothing"
            raise ValueError(
                f"'revision' must be the hash of a commit for {self.pretrained!r} of the hub: "
                f"{found}"
            )
        if self.revision and not on_hub:
            raise ValueError(f"'revision' must be empty without a name on the hub: {self.revision}")

    def as_read(self) -> DiffusersVqSettings:
        """The random seed is read only where no model is named."""
        return unread(self, "random_seed") if self.pretrained else self


@frozen(kw_only=True)
class DiffusersKlSettings(DiffusersVqSettings):
    """The same of a continuous autoencoder."""
