"""The contract of generators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from prologue_bench import seeds
from prologue_bench.config.ablation import Resolved
from prologue_bench.conformance.checks import (
    BATCH,
    TOLERANCE,
    Broken,
    Check,
    check_devices,
    check_pickling,
    check_state,
    made,
    parameters_without_gradient,
    require,
    same_shapes,
)
from prologue_bench.contracts.generator import Generator
from prologue_bench.contracts.images import ImageSpec
from prologue_bench.contracts.layout import Segment, TokenLayout
from prologue_bench.pipeline.models import build_generator

LAYOUTS = {
    "one segment": TokenLayout((Segment("visual", 9, 11, (3, 3)),)),
    "two segments": TokenLayout((Segment("prologue", 3, 5), Segment("visual", 4, 7, (2, 2)))),
    "two segments without a separator": TokenLayout(
        (Segment("a", 3, 5), Segment("b", 4, 7)), separator=False
    ),
}
"""What generators are checked on: they must not ask which tokenizer they face."""


def checks(resolved: Resolved, images: ImageSpec) -> list[Check]:
    """All checks of one generator, each on every layout."""
    subjects = [_Subject(resolved, images, layout) for layout in LAYOUTS.values()]

    def on_all(check: Callable[[_Subject], None]) -> Callable[[], None]:
        return partial(_on_all, subjects, check)

    return [
        Check("nll", "`nll` gives one finite [B, n] per segment", on_all(_Subject.nll)),
        Check(
            "losses",
            (
                "`token_losses` adds up to `nll`, segment by segment; "
                "`logits` has a row for each of its columns"
            ),
            on_all(_Subject.sums),
        ),
        Check(
            "causality",
            "a token's `nll` does not depend on later tokens",
            on_all(_Subject.causality),
        ),
        Check(
            "decoding",
            "`decode_step` gives the distribution that `nll` is taken from",
            on_all(_Subject.decoding),
        ),
        Check(
            "prefix",
            "a prefix read at once leaves the state that reading it token by token does",
            on_all(_Subject.prefix),
        ),
        Check(
            "relaxed",
            "hard one-hots in `relaxed` change nothing, and carry a gradient",
            on_all(_Subject.relaxed),
        ),
        Check(
            "dropped",
            "`dropped` hides the inputs of a segment and leaves its targets",
            subjects[1].dropped,
        ),
        Check(
            "draws",
            "what `draws` gives can be split, and comes from its generators",
            on_all(_Subject.draws),
        ),
        Check(
            "labels",
            "every label is accepted, and labels make a difference",
            on_all(_Subject.labels),
        ),
        Check(
            "gradient",
            "the losses reach every parameter that wants a gradient",
            on_all(_Subject.gradient),
        ),
        Check("state", "weights saved and loaded give the same generator", subjects[1].state),
        Check("pickling", "a pickled copy gives the same losses", subjects[1].pickling),
        Check("device", "everything moves with the module", subjects[1].device),
    ]


def _on_all(subjects: list[_Subject], check: Callable[[_Subject], None]) -> None:
    for (name, _), subject in zip(LAYOUTS.items(), subjects, strict=True):
        try:
            check(subject)
        except Broken as error:
            raise Broken(f"with {name}: {error}") from None


def _rows(drawn: Mapping[str, Tensor], index: int) -> dict[str, Tensor]:
    """What was drawn for one image."""
    return {name: value[index : index + 1] for name, value in drawn.items()}


class _Subject:
    def __init__(self, resolved: Resolved, images: ImageSpec, layout: TokenLayout) -> None:
        self.resolved, self.spec, self.layout = resolved, images, layout
        rng = torch.Generator().manual_seed(0)
        self.ids = torch.cat(
            [torch.randint(s.vocabulary, (BATCH, s.length), generator=rng) for s in layout], dim=1
        )
        self.classes = torch.arange(BATCH) % images.labels

    def make(self, seed: int = 0) -> Generator:
        torch.manual_seed(seed)
        generator = made(lambda: build_generator(self.resolved, self.layout, self.spec.labels))
        # Weights that start at zero would let every token have the same cost, and nothing could be
        # told.
        with torch.no_grad():
            for parameter in generator.parameters():
                if parameter.abs().sum() == 0:
                    parameter.normal_(std=0.1)
        return generator.eval()

    def costs(
        self, generator: Generator, ids: Tensor | None = None, labels: Tensor | None = None
    ) -> Tensor:
        """Nats of each token, [B, L]."""
        with torch.inference_mode():
            parts = generator.nll(
                self.ids if ids is None else ids, self.classes if labels is None else labels
            )
        return self.layout.join(parts)

    def nll(self) -> None:
        with torch.inference_mode():
            found = self.make().nll(self.ids, self.classes)
        require(
            set(found) == set(self.layout.names),
            f"`nll` has {sorted(found)}, expected {list(self.layout.names)}",
        )
        for segment in self.layout:
            same_shapes(found[segment.name], (BATCH, segment.length), f"`nll[{segment.name!r}]`")
            require(
                torch.isfinite(found[segment.name]).all(),
                f"`nll[{segment.name!r}]` has NaN or infinity",
            )

    def sums(self) -> None:
        generator = self.make()
        with torch.inference_mode():
            losses, logits = (
                generator.token_losses(self.ids, self.classes),
                generator.logits(self.ids, self.classes),
            )
        total = self.costs(generator).sum(dim=1)
        require(
            torch.allclose(losses.sum(dim=1), total, rtol=1e-3),
            f"`token_losses` add up to {float(losses.sum(dim=1)[0]):.4f} nats for an image, "
            f"`nll` to {float(total[0]):.4f}",
        )
        same_shapes(logits[..., 0], tuple(losses.shape), "`logits`, but for the vocabulary")
        self.in_order(losses, generator)

    def in_order(self, losses: Tensor, generator: Generator) -> None:
        """Columns of `token_losses` must be the segments' in order, with or without separators."""
        separators = losses.shape[1] - self.layout.length
        expected = {self.layout.length, self.layout.length + len(self.layout.segments) - 1}
        require(
            losses.shape[1] in expected,
            (
                f"`token_losses` has {losses.shape[1]} columns, "
                f"expected {' or '.join(map(str, sorted(expected)))}"
            ),
        )
        with torch.inference_mode():
            costs = generator.nll(self.ids, self.classes)
        start = 0
        for index, segment in enumerate(self.layout):
            stop = start + segment.length + (1 if separators and index else 0)
            require(
                torch.allclose(
                    losses[:, start:stop].sum(dim=1), costs[segment.name].sum(dim=1), rtol=1e-3
                ),
                f"columns {start} to {stop - 1} of `token_losses` do not add up to "
                f"`nll[{segment.name!r}]`; expected the segments in the layout's order",
            )
            start = stop

    def causality(self) -> None:
        generator = self.make()
        before = self.costs(generator)
        for position in range(self.layout.length):
            after = self.costs(generator, self._changed(position))
            moved = (after - before).abs()[:, :position]
            require(
                position == 0 or float(moved.max()) < TOLERANCE,
                (
                    f"changing token {position} changes the cost of token "
                    f"{int(moved.max(dim=0).values.argmax())} before it"
                )
                if position
                else "",
            )

    def _changed(self, position: int) -> Tensor:
        ids = self.ids.clone()
        ids[:, position] = (ids[:, position] + 1) % self._vocabulary(position)
        return ids

    def _vocabulary(self, position: int) -> int:
        return next(s.vocabulary for s in self.layout if position < self.layout.span(s.name).stop)

    def decoding(self) -> None:
        generator = self.make()
        before = self.costs(generator)
        with torch.inference_mode():
            state, chosen = generator.start(self.classes), None
            for position in range(self.layout.length):
                logits = generator.decode_step(state, chosen)
                same_shapes(
                    logits,
                    (BATCH, self._vocabulary(position)),
                    f"`decode_step` of token {position}",
                )
                changed = self._changed(position)
                # The difference between two tokens' costs needs no normalisation over other
                # segments' tokens.
                expected = (self.costs(generator, changed) - before)[:, position]
                one, other = (
                    logits.gather(1, ids[:, position : position + 1])[:, 0]
                    for ids in (self.ids, changed)
                )
                error = float((one - other - expected).abs().max())
                require(
                    error < 10 * TOLERANCE,
                    f"the logits of token {position} differ by {error:.2g} from the costs in "
                    "`nll`; the state that decoding "
                    "keeps does not do what the whole sequence does",
                )
                chosen = self.ids[:, position : position + 1]

    def prefix(self) -> None:
        generator = self.make()
        with torch.inference_mode():
            for length in range(1, self.layout.length):
                state = generator.start(self.classes)
                for position in range(length + 1):
                    slow = generator.decode_step(
                        state, self.ids[:, position - 1 : position] if position else None
                    )
                fast = generator.decode_step(generator.start(self.classes), self.ids[:, :length])
                require(
                    torch.allclose(slow, fast, atol=10 * TOLERANCE),
                    (
                        f"the first {length} tokens read at once give other logits than read one "
                        "by one"
                    ),
                )

    def relaxed(self) -> None:
        generator = self.make()
        plain = generator.token_losses(self.ids, self.classes)
        for segment in self.layout:
            part = self.ids[:, self.layout.span(segment.name)]
            one_hot = torch.nn.functional.one_hot(part, segment.vocabulary).float().requires_grad_()
            losses = generator.token_losses(self.ids, self.classes, relaxed={segment.name: one_hot})
            require(
                torch.allclose(losses, plain, atol=10 * TOLERANCE),
                (
                    f"the one-hot of segment {segment.name!r} in `relaxed` gives other losses than "
                    "its ids"
                ),
            )
            (gradient,) = torch.autograd.grad(losses.sum(), one_hot, allow_unused=True)
            require(
                gradient is not None and bool(gradient.abs().sum() > 0),
                f"no gradient reaches `relaxed[{segment.name!r}]`",
            )

    def dropped(self) -> None:
        generator = self.make()
        first = self.layout.segments[0]
        mask = torch.zeros(BATCH, dtype=torch.bool)
        mask[0] = True
        with torch.inference_mode():
            plain = generator.token_losses(self.ids, self.classes)
            hidden = generator.token_losses(self.ids, self.classes, dropped={first.name: mask})
            other = self.ids.clone()
            other[0, 0] = (other[0, 0] + 1) % first.vocabulary
            blind = generator.token_losses(other, self.classes, dropped={first.name: mask})
        require(
            torch.allclose(hidden[1:], plain[1:], atol=TOLERANCE),
            "`dropped` changes images that its mask leaves out",
        )
        require(
            torch.allclose(blind[0, 1:], hidden[0, 1:], atol=TOLERANCE),
            f"with segment {first.name!r} dropped, later losses still depend on its tokens",
        )

    def draws(self) -> None:
        generator = self.make()
        one, two = (generator.draws(BATCH, partial(seeds.generator, "draws")) for _ in range(2))
        for name, value in one.items():
            require(
                len(value) == BATCH,
                f"`draws[{name!r}]` has {len(value)} entries for {BATCH} images",
            )
            require(
                torch.equal(value, two[name]),
                f"`draws[{name!r}]` differs the second time; draw from what `random` gives",
            )
        with torch.inference_mode():
            losses: Callable[..., Tensor] = generator.token_losses
            whole = losses(self.ids, self.classes, **one)
            parts = [
                losses(self.ids[i : i + 1], self.classes[i : i + 1], **_rows(one, i))
                for i in range(BATCH)
            ]
        require(
            torch.allclose(torch.cat(parts), whole, atol=10 * TOLERANCE),
            "an image's losses change with the batch that it and its draws are in",
        )

    def labels(self) -> None:
        generator = self.make()
        found = torch.stack(
            [
                self.costs(generator, labels=torch.full((BATCH,), label))
                for label in range(self.spec.labels)
            ]
        )
        require(float(found.std(dim=0).max()) > 0, "the label makes no difference")

    def gradient(self) -> None:
        generator = self.make().train()
        generator.token_losses(self.ids, self.classes).mean().backward()  # type: ignore[no-untyped-call]
        missing = parameters_without_gradient(generator)
        require(not missing, f"the losses do not reach {', '.join(missing[:3])}")

    def state(self) -> None:
        check_state(self.make, self.costs)

    def pickling(self) -> None:
        check_pickling(self.make(), self.costs)

    def device(self) -> None:
        def run(moved: Generator, device: torch.device) -> None:
            with torch.inference_mode():
                moved.nll(self.ids.to(device), self.classes.to(device))
                moved.decode_step(moved.start(self.classes.to(device)), self.ids[:, :2].to(device))

        check_devices(self.make(), run)
