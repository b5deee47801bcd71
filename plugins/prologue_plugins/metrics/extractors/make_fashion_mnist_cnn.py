"""Trains the classifier of `fashion_mnist_cnn` and writes its weights.

Run it by `python -m` with the name of this module. It learns from the 60,000 training images alone
and prints its test accuracy: 92.2%. One smaller network was tried before, with images shifted at
random; it reached 90.3%.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.contracts import to_float
from prologue_plugins.datasets.fashion_mnist import FashionMnist
from prologue_plugins.datasets.settings import FashionMnistSettings
from prologue_plugins.metrics.extractors import weights_of
from prologue_plugins.metrics.extractors.fashion_mnist_cnn import FashionMnistCnn

EPOCHS, BATCH, RATE, SEED = 12, 128, 3e-3, 0
LABEL_SMOOTHING = 0.05
"""Keeps features from growing without bound on images that are classified already."""


def mirrored(images: Tensor, random: torch.Generator) -> Tensor:
    """Half of the images [B, 1, H, W] mirrored: clothes may lie either way."""
    chosen = torch.rand(len(images), generator=random) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def main() -> None:
    source = FashionMnist(FashionMnistSettings())
    images = torch.from_numpy(source.images("train").copy())
    labels = torch.from_numpy(source.labels("train").copy()).long()
    seeds.seed_all("fashion-mnist-cnn", SEED)
    random = seeds.generator("fashion-mnist-cnn", "order", SEED)
    model = FashionMnistCnn().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        model.train()
        for chosen in torch.split(torch.randperm(len(images), generator=random), BATCH):
            if len(chosen) < BATCH:
                continue
            batch = mirrored(to_float(images[chosen]), random)
            loss = F.cross_entropy(model(batch), labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    model.eval()
    with torch.inference_mode():
        tests = to_float(torch.from_numpy(source.images("test").copy()))
        guessed = torch.cat([model(part).argmax(dim=1) for part in torch.split(tests, 1000)])
    accuracy = (guessed.numpy() == source.labels("test")).mean()
    path = weights_of("fashion-mnist-cnn")
    save_file({name: each.contiguous() for name, each in model.state_dict().items()}, path)
    print(f"{path}: test accuracy {100 * accuracy:.2f}%")


if __name__ == "__main__":
    main()
