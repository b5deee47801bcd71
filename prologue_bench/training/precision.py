"""In which precision models compute."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """Autocast to bfloat16 on the device where that is asked for, and else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
