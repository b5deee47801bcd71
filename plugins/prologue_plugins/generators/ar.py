"""The class-conditional autoregressive transformer.

Letters: B batch, L tokens, T positions (tokens and separators), D width, V vocabulary of all
segments, K of one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prologue_bench.contracts import (
    AutoregressiveGenerator,
    InspectedPrior,
    JointPrior,
    TokenLayout,
)
from prologue_plugins.generators.settings import ArSettings
from prologue_plugins.layers.decoding import Decoder
from prologue_plugins.layers.inference import FoldedTransformer, through, unit
from prologue_plugins.layers.initialisation import initialise
from prologue_plugins.layers.transformer import (
    OutputHead,
    Positions,
    Transformer,
    full_precision,
    rotary_angles,
)

THETA = 10000.0


class Vocabulary:
    """Where the segments' ids stand in the one vocabulary, and their tokens in the sequence.

    Ids are laid out from the last segment to the first, and the separator last: [visual | prologue
    | separator]. Each codebook of a segment has ids of its own, one codebook behind the other. The
    separator exists where there is more than one segment: it replaces dropped inputs even where the
    layout wants none between segments.
    """

    def __init__(self, layout: TokenLayout) -> None:
        self.layout = layout
        self.first_id: dict[str, int] = {}
        size = 0
        for segment in reversed(layout.segments):
            self.first_id[segment.name] = size
            size += segment.vocabulary * segment.codebooks
        several = len(layout.segments) > 1
        self.separator = size if several else None
        self.size = size + several
        self.separated = layout.separator and several
        self.spans: dict[str, slice] = {}
        position = 0
        for index, segment in enumerate(layout):
            position += self.separated and index > 0
            self.spans[segment.name] = slice(position, position + segment.length)
            position += segment.length
        self.positions = position
        """Length of the sequence, T."""

    def sequence(self, ids: Tensor) -> Tensor:
        """Segment ids [B, L] as vocabulary ids [B, T], separators put in."""
        sequence = ids.new_full((len(ids), self.positions), self.separator or 0)
        for name, part in self.layout.split(ids).items():
            sequence[:, self.spans[name]] = part + self.first_ids(name, ids)
        return sequence

    def first_ids(self, name: str, like: Tensor) -> Tensor:
        """The vocabulary id of code 0 for each token of a segment [n]."""
        segment = self.layout.segment(name)
        codebook = torch.arange(segment.length, device=like.device) % segment.codebooks
        return self.first_id[name] + codebook * segment.vocabulary

    def rows(self, name: str, token: int = 0) -> slice:
        """The vocabulary ids that a token of a segment can have."""
        segment = self.layout.segment(name)
        first = self.first_id[name] + token % segment.codebooks * segment.vocabulary
        return slice(first, first + segment.vocabulary)


class ArState:
    """What one draw keeps: folded weights, keys and values, and inputs not processed yet."""

    def __init__(self, generator: Ar, batch: int) -> None:
        transformer = FoldedTransformer(generator.transformer, generator.positions())
        self.head = transformer.head(generator.head)
        self.decoder = Decoder(transformer, batch)
        self.classes: Tensor | None = None
        """Their embeddings [B, 1, D], before the first step."""
        self.chosen = 0
        """Tokens chosen so far."""

    def begin(self, classes: Tensor) -> ArState:
        """The state before the first token, for class embeddings [B, 1, D]."""
        self.decoder.restart()
        self.classes, self.chosen = classes, 0
        return self


class Ar(AutoregressiveGenerator[ArState], JointPrior):
    """A causal transformer: the class embedding, then the tokens; output t predicts token t."""

    def __init__(self, settings: ArSettings, layout: TokenLayout, labels: int) -> None:
        super().__init__()
        size = settings.transformer
        self.layout = layout
        self.vocabulary = Vocabulary(layout)
        self.label_embedding = nn.Embedding(labels, size.width)
        self.embedding = nn.Embedding(self.vocabulary.size, size.width)
        self.transformer = Transformer(size, labels, causal=True)
        self.head = OutputHead(size, self.vocabulary.size, bias=False)
        # Some of a head's channels turn with the position in the sequence, the class token being at
        # 0.
        turning = size.rotary_axes[0] if size.rotary_axes else size.head_channels // 2
        angles = rotary_angles(torch.arange(self.vocabulary.positions)[:, None], [turning], THETA)
        self.positions = Positions(F.pad(angles, (0, size.head_channels // 2 - angles.shape[1])))
        self.dropout = nn.Dropout(size.dropout)
        nn.init.normal_(self.label_embedding.weight, std=0.02)
        nn.init.normal_(self.embedding.weight, std=0.02)
        nn.init.normal_(self.head.linear.weight, std=0.02)
        initialise(settings.initialisation, self)
        if settings.tied:
            self.head.linear.weight = self.embedding.weight

    def logits(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Logits [B, T, V] of every predicted position; arguments are those of `token_losses`."""
        inputs = self._inputs(ids, labels, relaxed or {}, dropped or {})
        logits: Tensor = self.head(*self._features(inputs))
        return logits

    def _features(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, T, D] of inputs [B, T, D], and the condition."""
        features: tuple[Tensor, Tensor] = self.transformer(self.dropout(inputs), self.positions())
        return features

    def _inputs(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor],
        dropped: Mapping[str, Tensor],
    ) -> Tensor:
        """Input for whole sequences: the class, then the tokens but the last, [B, T, D]."""
        inputs = self._embed(self.vocabulary.sequence(ids), relaxed, dropped)
        return torch.cat((self.label_embedding(labels).unsqueeze(1), inputs[:, :-1]), dim=1)

    def attention(self, ids: Tensor, labels: Tensor) -> Tensor:
        maps = self.transformer.attention(self._inputs(ids, labels, {}, {}), self.positions())
        # The input of the token at place j stands at position j + 1; that of the last token is
        # never read.
        maps = F.pad(maps[:, :, 1:], (0, 1))
        places = torch.cat(
            [torch.arange(span.start, span.stop) for span in self.vocabulary.spans.values()]
        )
        return maps[:, places][:, :, places]

    def _embed(
        self, sequence: Tensor, relaxed: Mapping[str, Tensor], dropped: Mapping[str, Tensor]
    ) -> Tensor:
        """Embeddings [B, T, D] of vocabulary ids [B, T]."""
        spans = self.vocabulary.spans
        for name, mask in dropped.items():
            sequence = sequence.clone()
            sequence[:, spans[name]] = torch.where(
                mask[:, None], self._separator(), sequence[:, spans[name]]
            )
        embedded: Tensor = self.embedding(sequence)
        for name, one_hot in relaxed.items():
            soft = self._soft(name, one_hot)
            if name in dropped:
                soft = torch.where(
                    dropped[name][:, None, None], self.embedding.weight[self._separator()], soft
                )
            span = spans[name]
            embedded = torch.cat((embedded[:, : span.start], soft, embedded[:, span.stop :]), dim=1)
        return embedded

    def _soft(self, name: str, one_hot: Tensor) -> Tensor:
        """Embeddings [B, n, D] of a segment's one-hots [B, n, K]."""
        tables = [
            self.embedding.weight[self.vocabulary.rows(name, codebook)]
            for codebook in range(self.layout.segment(name).codebooks)
        ]
        soft = [
            one_hot[:, codebook :: len(tables)].to(table.dtype) @ table
            for codebook, table in enumerate(tables)
        ]
        return soft[0] if len(soft) == 1 else torch.stack(soft, dim=2).flatten(1, 2)

    def _separator(self) -> int:
        if self.vocabulary.separator is None:
            raise ValueError("inputs can be dropped only where there is more than one segment")
        return self.vocabulary.separator

    def token_losses(
        self,
        ids: Tensor,
        labels: Tensor,
        relaxed: Mapping[str, Tensor] | None = None,
        dropped: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        inputs = self._inputs(ids, labels, relaxed or {}, dropped or {})
        return self.head.cross_entropy(*self._features(inputs), self.vocabulary.sequence(ids))

    def inspect(self, ids: Tensor, labels: Tensor) -> InspectedPrior:
        inputs, targets = self._inputs(ids, labels, {}, {}), self.vocabulary.sequence(ids)
        logits: Tensor = self.head(*through(self.transformer, inputs, self.positions()))
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return InspectedPrior(losses.view(targets.shape), logits.argmax(dim=-1) == targets)

    def nll(self, ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        losses = self.token_losses(ids, labels)
        costs = {}
        for index, (name, span) in enumerate(self.vocabulary.spans.items()):
            cost = losses[:, span]
            if self.vocabulary.separated and index > 0:
                separator = F.pad(losses[:, span.start - 1 : span.start], (0, cost.shape[1] - 1))
                cost = cost + separator
            costs[name] = cost
        return costs

    def start(self, labels: Tensor) -> ArState:
        return ArState(self, len(labels)).begin(self.label_embedding(labels).unsqueeze(1))

    def restart(self, state: ArState, labels: Tensor) -> ArState:
        if state.decoder.batch != len(labels):
            return self.start(labels)
        return state.begin(self.label_embedding(labels).unsqueeze(1))

    def decode_step(self, state: ArState, chosen: Tensor | None) -> Tensor:
        parts = [] if state.classes is None else [state.classes]
        if chosen is not None:
            parts.append(self.embedding(self._with_separators(chosen, state.chosen)))
            state.chosen += chosen.shape[1]
        inputs = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        state.classes = None
        features = unit(state.decoder(self._input(state, inputs)))
        rows = self.vocabulary.rows(*self.layout.segment_at(state.chosen))
        with full_precision(features):
            return F.linear(features, state.head.weight[rows]).unsqueeze(1)

    def _input(self, state: ArState, embedded: Tensor) -> Tensor:
        """What goes into the transformer for embeddings [B, n, D] of the next positions."""
        return embedded

    def _with_separators(self, chosen: Tensor, first: int) -> Tensor:
        """Vocabulary ids of ids [B, n] from the token `first` on.

        A separator stands behind each segment that ends there. The separator is forced, so that it
        goes in with the token before it and needs no step of its own.
        """
        parts = []
        for segment in self.layout:
            span = self.layout.span(segment.name)
            start, stop = max(first, span.start), min(first + chosen.shape[1], span.stop)
            if start < stop:
                first_ids = self.vocabulary.first_ids(segment.name, chosen)
                parts.append(
                    chosen[:, start - first : stop - first]
                    + first_ids[start - span.start : stop - span.start]
                )
                if stop == span.stop < self.layout.length and self.vocabulary.separated:
                    parts.append(torch.full_like(chosen[:, :1], self._separator()))
        return torch.cat(parts, dim=1)
