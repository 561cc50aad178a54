"""What every section of the configuration is made of: frozen models that know how YAML and the environment spell."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, model_validator

from app.config.tree import parse_flow

NAME_PATTERN = "^[a-z][a-z0-9_-]{0,30}$"


def is_compound(annotation: Any) -> bool:
    """Whether a field of this type holds a list or a section rather than one value."""
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType, Annotated}:
        return any(is_compound(part) for part in get_args(annotation))
    kind = origin or annotation
    return isinstance(kind, type) and issubclass(kind, list | tuple | set | frozenset | dict | BaseModel)


def _is_optional(annotation: Any) -> bool:
    return get_origin(annotation) in {Union, types.UnionType} and type(None) in get_args(annotation)


def normal(model: type[BaseModel], data: Any) -> Any:
    """`data` as `model` should see it: null is absent, text in YAML's flow style is the list or section it spells."""
    if not isinstance(data, dict):
        return data
    seen: dict[Any, Any] = {}
    for key, value in data.items():
        info = model.model_fields.get(key)
        if info is not None and value is None and not _is_optional(info.annotation):
            continue
        seen[key] = parse_flow(value) if info is not None and is_compound(info.annotation) else value
    return seen


class Normal(BaseModel):
    """A model that reads its input through `normal`."""

    @model_validator(mode="before")
    @classmethod
    def _normal(cls, data: Any) -> Any:
        return normal(cls, data)


class Section(Normal):
    """One mapping of the configuration: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, protected_namespaces=())
