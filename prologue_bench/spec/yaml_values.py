"""YAML as this project reads it: plain values only, and no key twice."""

from __future__ import annotations

from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, ScalarNode

MERGE = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, of which YAML would silently keep the last."""

    def compose_mapping_node(self, anchor: Any) -> MappingNode:
        node: MappingNode = super().compose_mapping_node(anchor)
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, ScalarNode) or key_node.tag == MERGE:
                continue
            key, line = self.construct_object(key_node), key_node.start_mark.line + 1
            if key in seen:
                before = f"line {seen[key]}" if seen[key] != line else "the same line"
                raise ConstructorError(
                    None,
                    None,
                    f"the key {key_node.value!r} stands here and in {before}; expected each key once",
                    key_node.start_mark,
                )
            seen[key] = line
        return node


def read(text: str) -> Any:
    """The values of a YAML document. Raises yaml.YAMLError for bad syntax and for a key that stands twice."""
    try:
        return yaml.load(text, Loader=_Loader)
    except ValueError as error:  # such as a date with a thirteenth month
        raise yaml.YAMLError(str(error)) from None
