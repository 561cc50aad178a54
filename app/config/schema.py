"""The JSON Schema of the whole configuration, destination types included, for editors and for `config schema`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema

from app.config.sections import DestinationHead, spelled
from app.config.settings import SECTIONS
from app.config.source import KEY_PATTERN, SourceConfig
from app.destinations.registry import destinations as known_destinations
from app.units import spell_duration

_SECRET: JsonSchemaValue = {
    "description": 'Text, a reference "${ENV}", or a file that holds it.',
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"file": {"type": "string", "description": "Path of the file."}},
            "required": ["file"],
            "additionalProperties": False,
        },
    ],
}


class _Spelled(GenerateJsonSchema):
    """Defaults spelled as they are written here."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return spell_duration(dft)
        return super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration file."""
    kinds = known_destinations()
    adapters: dict[str, type[BaseModel]] = {name: spelled(kind.settings) for name, kind in kinds.items()}
    models: list[type[BaseModel]] = [*SECTIONS.values(), SourceConfig, DestinationHead, *adapters.values()]
    made, shared = models_json_schema(
        [(model, "validation") for model in models], schema_generator=_Spelled, ref_template="#/$defs/{model}"
    )
    definitions: dict[str, Any] = shared.get("$defs", {})

    def resolved(model: type[BaseModel]) -> dict[str, Any]:
        return dict(definitions[made[(model, "validation")]["$ref"].rsplit("/", 1)[1]])

    definitions["KeyConfig"] = {"anyOf": [{"type": "string", "pattern": KEY_PATTERN}, definitions["KeyConfig"]]}
    head = resolved(DestinationHead)
    variants: list[dict[str, Any]] = []
    for name, model in adapters.items():
        own = resolved(model)
        variants.append(
            {
                "title": name,
                "type": "object",
                "properties": {**head["properties"], "type": {"const": name}, **own["properties"]},
                "required": ["name", "type", *own.get("required", [])],
                "additionalProperties": False,
            }
        )
    properties: dict[str, Any] = {name: made[(model, "validation")] for name, model in SECTIONS.items()}
    properties["sources"] = {"type": "array", "minItems": 1, "items": made[(SourceConfig, "validation")]}
    properties["destinations"] = {
        "type": "array",
        "minItems": 1,
        "items": {"oneOf": variants, "discriminator": {"propertyName": "type"}},
    }
    for model in models[-len(adapters) - 1 :]:  # merged into the variants
        definitions.pop(made[(model, "validation")]["$ref"].rsplit("/", 1)[1], None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Convey configuration",
        "type": "object",
        "properties": _with_secrets(properties),
        "required": ["sources", "destinations"],
        "additionalProperties": False,
        "$defs": {**_with_secrets(definitions), "Secret": _SECRET},
    }


def _with_secrets(node: Any) -> Any:
    if isinstance(node, dict):
        if node.get("format") == "password":
            kept = {key: value for key, value in node.items() if key in {"title", "description", "default"}}
            return {**kept, "$ref": "#/$defs/Secret"}
        return {key: _with_secrets(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_secrets(item) for item in node]
    return node
