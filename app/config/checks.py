"""The rules that hold between settings, checked as far as the parts could be read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from app.config.source import SourceConfig
from app.errors import Fault


@dataclass(frozen=True, slots=True)
class SourcePart:
    """A source as found at `path`; `value` is None when it could not be read."""

    path: str
    raw: Any
    value: SourceConfig | None

    @property
    def name(self) -> str | None:
        """Its name, also when something else is wrong with it."""
        name = self.raw.get("name") if isinstance(self.raw, dict) else None
        return name if isinstance(name, str) else None


@dataclass(frozen=True, slots=True)
class DestinationPart:
    """A destination as found at `path`, by the name it was given, if any."""

    path: str
    name: str | None


def cross_check(sources: Sequence[SourcePart], destinations: Sequence[DestinationPart]) -> list[Fault]:
    """Every broken rule between settings."""
    faults: list[Fault] = []
    if not sources:
        faults.append(Fault("sources", "missing", "must have at least one source"))
    if not destinations:
        faults.append(Fault("destinations", "missing", "must have at least one destination"))
    faults += _repeated_names(sources)
    faults += _repeated_names(destinations)
    names = {part.name for part in destinations}
    read = [(part.path, part.value) for part in sources if part.value is not None]
    for path, source in read:
        for index, name in enumerate(source.destinations or ()):
            if name not in names:
                words = "names no configured destination"
                faults.append(Fault(f"{path}.destinations[{index}]", "unknown_destination", words))
    faults += _shared_keys(read)
    faults += _shared_ids(read)
    return faults


def _repeated_names(parts: Iterable[SourcePart | DestinationPart]) -> list[Fault]:
    first: dict[str, str] = {}
    faults: list[Fault] = []
    for part in parts:
        if part.name is None:
            continue
        if part.name in first:
            faults.append(Fault(f"{part.path}.name", "not_unique", f"is also the name of {first[part.name]}"))
        first.setdefault(part.name, part.path)
    return faults


def _shared_keys(sources: Sequence[tuple[str, SourceConfig]]) -> list[Fault]:
    first: dict[str, str] = {}
    faults: list[Fault] = []
    for path, source in sources:
        for index, key in enumerate(source.keys):
            place = f"{path}.keys[{index}]"
            if key.hash in first:
                words = f"is the same key as {first[key.hash]}: a key belongs to one source, once"
                faults.append(Fault(place, "not_unique", words))
            first.setdefault(key.hash, place)
    return faults


def _shared_ids(sources: Sequence[tuple[str, SourceConfig]]) -> list[Fault]:
    """Two shops may both have an order 1001; under one pixel the platform would count them as one."""
    faults: list[Fault] = []
    for position, (path, source) in enumerate(sources):
        for other_path, other in sources[:position]:
            if source.pixel and other.pixel and _template(source) == _template(other) and _meet(source, other):
                words = (
                    f"would give the same ids as {other_path}, and both feed one pixel: "
                    "add {source} or a prefix to one of the templates"
                )
                faults.append(Fault(f"{path}.event_id_template", "not_unique", words))
                break
    return faults


def _template(source: SourceConfig) -> str:
    return source.event_id_template.replace("{source}", source.name)


def _meet(one: SourceConfig, two: SourceConfig) -> bool:
    if one.destinations is None or two.destinations is None:
        return one.destinations != () and two.destinations != ()
    return bool(set(one.destinations) & set(two.destinations))
