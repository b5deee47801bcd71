"""All that training takes from mmengine, its engine: nothing else imports it."""

# ruff: noqa: E402 - mmengine imports OpenCV
from __future__ import annotations

from prologue_bench.training.opencv import import_opencv_or_none

import_opencv_or_none()

from mmengine.config import Config as Config
from mmengine.dist import init_dist as init_dist
from mmengine.dist import master_only as master_only
from mmengine.hooks import EMAHook as EMAHook
from mmengine.hooks import Hook as Hook
from mmengine.logging import MMLogger as MMLogger
from mmengine.model import ExponentialMovingAverage as ExponentialMovingAverage
from mmengine.model import MMDistributedDataParallel as MMDistributedDataParallel
from mmengine.model import is_model_wrapper as is_model_wrapper
from mmengine.model import revert_sync_batchnorm as revert_sync_batchnorm
from mmengine.optim import OptimWrapper as OptimWrapper
from mmengine.optim import OptimWrapperDict as OptimWrapperDict
from mmengine.runner import IterBasedTrainLoop as IterBasedTrainLoop
from mmengine.runner import Runner as Runner
