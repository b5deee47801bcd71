"""The initial weights of the paper's implementation, which its results depend on.

All linear layers, embeddings and queries are drawn from a truncated normal distribution of
standard deviation 0.02, and biases are zero. The linear maps from the condition to norm scales and
gates, and the decoder's output layer, are 100,000 times smaller: norms start at one and gates
closed. So every transformer starts as the identity, and a tokenizer as a linear quantizer of each
patch by itself. Codes are drawn by `Codebook`, the same way for every start.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from prologue_plugins.layers.settings import Initialisation
from prologue_plugins.layers.transformer import Block, ConditionalScale
from prologue_plugins.layers.vit import PatchDecoder, PatchEncoder

STD = 0.02
CLOSED = 1e-5
"""Factor of the weights that start next to zero."""


def initialise(how: Initialisation, *networks: nn.Module) -> None:
    """Draw the initial weights asked for; "open" are those that the constructors have drawn."""
    if how == "paper":
        for network in networks:
            _as_in_the_paper(network)


def _as_in_the_paper(network: nn.Module) -> None:
    closed = {id(linear) for linear in _closed(network)}
    for module in network.modules():
        if isinstance(module, nn.Linear):
            _draw(module.weight, STD * CLOSED if id(module) in closed else STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            _draw(module.weight, STD)
        elif isinstance(module, PatchEncoder | PatchDecoder) and module.queries is not None:
            _draw(module.queries, STD)


def _closed(network: nn.Module) -> Iterator[nn.Linear]:
    """The layers whose outputs start next to zero."""
    for module in network.modules():
        if isinstance(module, ConditionalScale):
            yield module.affine
        elif isinstance(module, Block):
            yield from (module.attention_gate, module.ffn_gate)
        elif isinstance(module, PatchDecoder):
            yield module.head.linear


def _draw(weight: Tensor, std: float) -> None:
    # Cut off at -2 and 2, as in the paper's implementation: 100 standard deviations or more.
    nn.init.trunc_normal_(weight, std=std)
