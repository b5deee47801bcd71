"""Names for what differs.

Settings by the shortest name that tells them apart, and variants by their settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each dotted key by its shortest end that no other key has.

    >>> keys = "tokenizer.prologue_tokens", "tokenizer_training.steps", "generator_training.steps"
    >>> list(short_names(keys).values())
    ['prologue_tokens', 'tokenizer_training.steps', 'generator_training.steps']
    """
    ends = {key: _ends(key) for key in keys}
    return {
        key: next(
            (end for end in of if not any(end in ends[other] for other in ends if other != key)),
            key,
        )
        for key, of in ends.items()
    }


def _ends(key: str) -> list[str]:
    """The dotted ends of a key, the shortest first."""
    parts = key.split(".")
    return [".".join(parts[-count:]) for count in range(1, len(parts) + 1)]


def related(one: str, other: str) -> bool:
    """Whether a dotted name is another one, or above or below it.

    >>> related("search.grid", "search"), related("searching", "search")
    (True, False)
    """
    return f"{one}.".startswith(f"{other}.") or other.startswith(f"{one}.")


def value_labels(values: Sequence[Any]) -> list[str]:
    """How a name shows each value of one setting: short, and different where the values are.

    A component is shown by its name where that is enough, and else with the settings in which it
    differs from the others of its name, such as "prologue (prologue_tokens=4)".
    """
    labels = list(map(_brief, values))
    for more in (
        _differing,
        lambda alike: list(map(_whole, alike)),
        lambda alike: list(map(repr, alike)),
    ):
        for label in {label for label in labels if labels.count(label) > 1}:
            alike = [index for index, each in enumerate(labels) if each == label]
            for index, text in zip(alike, more([values[index] for index in alike]), strict=True):
                labels[index] = text
    return labels


def _brief(value: Any) -> str:
    """A component by its name alone, and everything else in whole."""
    if isinstance(value, list):
        return f"[{', '.join(map(_brief, value))}]"
    return str(value["use"]) if isinstance(value, Mapping) and "use" in value else _whole(value)


def _whole(value: Any) -> str:
    """A value with all its settings."""
    if isinstance(value, list):
        return f"[{', '.join(map(_whole, value))}]"
    if not isinstance(value, Mapping):
        return str(value)
    flat = _own_settings(value)
    names = short_names(list(flat))
    if "use" not in value:
        return "/".join(f"{names[key]}:{_whole(item)}" for key, item in flat.items()) or "{}"
    return _with_settings(value, [f"{names[key]}={_whole(item)}" for key, item in flat.items()])


def _differing(values: Sequence[Any]) -> list[str]:
    """Components of one name with the settings that not all of them have alike."""
    flat = list(map(_own_settings, values))
    keys = dict.fromkeys(key for settings in flat for key in settings)
    shown = [key for key in keys if any(not _alike(key, flat[0], settings) for settings in flat)]
    names = short_names(shown)
    told = {key: value_labels([settings.get(key) for settings in flat]) for key in shown}
    return [
        _with_settings(
            value, [f"{names[key]}={told[key][index]}" for key in shown if key in flat[index]]
        )
        for index, value in enumerate(values)
    ]


def _alike(key: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (key in one) == (key in other) and same(one.get(key), other.get(key))


def _own_settings(value: Any) -> dict[str, Any]:
    """The settings beside a component's name, by dotted name."""
    return (
        flat_values({k: v for k, v in value.items() if k != "use"})
        if isinstance(value, Mapping)
        else {}
    )


def _with_settings(value: Any, parts: Sequence[str]) -> str:
    return _brief(value) + (f" ({', '.join(parts)})" if parts else "")


def same(one: Any, other: Any) -> bool:
    """Whether two values of a setting mean the same.

    A name stands for {use: name}, and 1 for 1.0, but not for true.
    """
    return bool(normal(one) == normal(other))


def normal(value: Any) -> Any:
    """A value as something to compare and to put into sets, equal for what means the same."""
    if isinstance(value, Mapping):
        if set(value) == {"use"}:
            return normal(value["use"])
        return ("mapping", tuple(sorted((str(key), normal(item)) for key, item in value.items())))
    if isinstance(value, list | tuple):
        return ("list", tuple(map(normal, value)))
    return ("bool", value) if isinstance(value, bool) else value


def within(wanted: Any, value: Any) -> bool:
    """Whether a value has everything that is wanted of it.

    That is a component's name, or some of the settings of a mapping.
    """
    if isinstance(wanted, Mapping) and isinstance(value, Mapping):
        return all(key in value and within(item, value[key]) for key, item in wanted.items())
    if isinstance(value, Mapping) and "use" in value:
        return same(wanted, value["use"])
    return same(wanted, value)


def flat_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested plain values by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat.update(flat_values(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat
