"""Puts the tree and the models together: every section judged, every cross-check made, frozen values handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, SecretStr, ValidationError

from app.config.checks import DestinationPart, SourcePart, cross_check
from app.config.consent import (
    ConsentConfig,
    consent_needs,
    consent_options,
    effective,
    summary_of,
)
from app.config.faults import faults_of, unknown_key
from app.config.outbound import OutboundConfig
from app.config.sections import (
    HEAD_FIELDS,
    DestinationHead,
    LoggingConfig,
    ServerConfig,
    spelled,
)
from app.config.source import SourceConfig
from app.config.store import StoreConfig
from app.config.tree import CONFIG_VARIABLE, Notes, join, overlay, parse_flow, read_files, read_yaml, resolve
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.destinations.base import Destination, DestinationSettings, Rate
from app.destinations.registry import destinations as known_destinations
from app.destinations.registry import unusable
from app.errors import ConfigError, Fault
from app.outbox.address import shown_url
from app.units import spell_duration

SECTIONS: Mapping[str, type[BaseModel]] = {
    "server": ServerConfig,
    "logging": LoggingConfig,
    "store": StoreConfig,
    "consent": ConsentConfig,
    "outbound": OutboundConfig,
}
_TOP = frozenset({*SECTIONS, "sources", "destinations"})
_MASK = "********"

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a lane works. `max_batch`, `max_in_flight`, `rates`, `budget` are None where the adapter's own hold.

    `max_waiting` and `max_waiting_bytes` are None where the destination's share of the store's limits holds.
    """

    linger: timedelta = timedelta(milliseconds=200)
    max_batch: int | None = None
    timeout: timedelta = timedelta(seconds=10)
    lease: timedelta = timedelta(seconds=20)
    max_in_flight: int | None = None
    retry_first: timedelta = timedelta(seconds=2)
    retry_cap: timedelta = timedelta(minutes=5)
    max_attempts: int = 1000
    max_waiting: int | None = None
    max_waiting_bytes: int | None = None
    on_full: Literal["refuse", "skip"] = "refuse"
    order: Literal["oldest_first", "newest_first"] = "oldest_first"
    rates: tuple[Rate, ...] | None = None
    budget: str | None = None

    def summary(self) -> dict[str, Any]:
        """The same in the words and the shape of the configuration."""
        return {
            "linger": spell_duration(self.linger),
            "max_batch": self.max_batch,
            "timeout": spell_duration(self.timeout),
            "lease": spell_duration(self.lease),
            "max_in_flight": self.max_in_flight,
            "retry": {
                "first": spell_duration(self.retry_first),
                "cap": spell_duration(self.retry_cap),
                "max_attempts": self.max_attempts,
            },
            "max_waiting": self.max_waiting,
            "max_waiting_bytes": self.max_waiting_bytes,
            "on_full": self.on_full,
            "order": self.order,
            "rates": None
            if self.rates is None
            else [{"requests": rate.amount, "per": spell_duration(rate.per)} for rate in self.rates],
            "budget": self.budget,
        }


@dataclass(frozen=True, slots=True)
class DestinationConfig:
    """One enabled destination. `settings` is the adapter's own model; `secret_files` are what it was read from."""

    name: str
    type: str
    settings: DestinationSettings
    tuning: Tuning = Tuning()
    consent: ConsentNeeds = field(default_factory=ConsentNeeds)
    secret_files: tuple[Path, ...] = ()
    path: str = field(default="", repr=False, compare=False)
    origin: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """Its own settings as configured, files not read yet: what `reload_destination` starts from."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything configured, judged and frozen.

    `destinations` are the enabled ones; `disabled` names the others. `warnings` are what is allowed but weakens a
    promise. Order is the configuration's.
    """

    server: ServerConfig
    logging: LoggingConfig
    store: StoreConfig
    consent: ConsentConfig
    outbound: OutboundConfig
    sources: tuple[SourceConfig, ...]
    destinations: tuple[DestinationConfig, ...]
    disabled: tuple[str, ...] = ()
    warnings: tuple[Fault, ...] = ()
    referenced: frozenset[str] = field(default=frozenset(), repr=False)
    """Config paths whose text came from `${…}` or a file: masked in the summary, whatever the field."""

    def destinations_of(self, source: SourceConfig) -> tuple[DestinationConfig, ...]:
        """The enabled destinations a source's events go to, in the configuration's order."""
        return tuple(
            lane for lane in self.destinations if source.destinations is None or lane.name in source.destinations
        )

    def consent_of(self, source: SourceConfig) -> ConsentOptions:
        """The choices under which a source's events are judged."""
        return consent_options(self.consent, source.consent, source.consent_policy)

    def consent_table(self) -> dict[str, Any]:
        """What the settings decide about consent: by source, destination and kind of place, for a few situations."""
        return {
            source.name: {
                lane.name: effective(self.consent_of(source), lane.consent) for lane in self.destinations_of(source)
            }
            for source in self.sources
        }

    def summary(self) -> dict[str, Any]:
        """What is configured, fit for a log: plain values, secrets and whatever came by reference masked."""
        shown: dict[str, Any] = {name: self._shown(getattr(self, name), name) for name in SECTIONS}
        shown["store"]["url"] = shown_url(self.store.url)  # where it is matters to everybody, the password to nobody
        shown["sources"] = [self._shown(source, f"sources[{index}]") for index, source in enumerate(self.sources)]
        shown["destinations"] = [
            {
                "name": lane.name,
                "type": lane.type,
                **lane.tuning.summary(),
                "consent": summary_of(lane.consent),
                **self._shown(lane.settings, lane.path),
            }
            for lane in self.destinations
        ]
        shown["disabled"] = list(self.disabled)
        return shown

    def _shown(self, value: Any, path: str) -> Any:
        if isinstance(value, BaseModel):
            return {name: self._shown(getattr(value, name), join(path, name)) for name in type(value).model_fields}
        if isinstance(value, Mapping):
            return {str(key): self._shown(item, join(path, str(key))) for key, item in value.items()}
        if isinstance(value, tuple | list):
            return [self._shown(item, join(path, index)) for index, item in enumerate(value)]
        if isinstance(value, frozenset | set):
            return sorted(self._shown(item, path) for item in value)
        if isinstance(value, timedelta):
            return spell_duration(value)
        if isinstance(value, bool | int) or value is None:
            return value
        if isinstance(value, SecretStr) or path in self.referenced:
            return _MASK
        if isinstance(value, datetime):
            return value.isoformat()
        text = str(value)
        return f"{text[:15]}…" if text.startswith("sha256:") else text


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings in the file at `path` (else the one `CONVEY_CONFIG` names, else none) with `environ` on top.

    Reads the file and the secret files it refers to; `environ` is usually `os.environ`.

    Raises: ConfigError with every mistake found, each with its path and without any value.
    """
    notes = Notes()
    if path is None and environ.get(CONFIG_VARIABLE):
        path = Path(environ[CONFIG_VARIABLE])
    tree = read_yaml(path, notes.faults) if path is not None else {}
    if notes.faults:
        raise ConfigError(notes.faults)
    overlay(tree, environ, _TOP, notes)
    notes.faults += [Fault(str(key), "unknown_key", unknown_key(_TOP, str(key))) for key in tree if key not in _TOP]
    tree = {name: parse_flow(tree.get(name)) for name in _TOP}
    lanes = _items(tree.pop("destinations"), "destinations", notes)
    tree = read_files(resolve(tree, "", environ, notes), "", notes)

    sections = {name: _valid(model, tree[name] or {}, name, notes) for name, model in SECTIONS.items()}
    sources = [
        SourcePart(f"sources[{index}]", raw, _valid(SourceConfig, raw, f"sources[{index}]", notes))
        for index, raw in enumerate(_items(tree["sources"], "sources", notes))
    ]
    parts = [_destination(raw, f"destinations[{index}]", environ, notes) for index, raw in enumerate(lanes)]
    notes.faults += cross_check(sources, [part for part, _ in parts])
    if notes.faults:
        raise ConfigError(_told_once(notes))

    store = sections["store"]
    assert isinstance(store, StoreConfig)
    assert isinstance(sections["server"], ServerConfig)
    assert isinstance(sections["logging"], LoggingConfig)
    assert isinstance(sections["consent"], ConsentConfig)
    assert isinstance(sections["outbound"], OutboundConfig)
    return Settings(
        server=sections["server"],
        logging=sections["logging"],
        store=store,
        consent=sections["consent"],
        outbound=sections["outbound"],
        sources=tuple(part.value for part in sources if part.value is not None),
        destinations=tuple(lane for _, lane in parts if lane is not None),
        disabled=tuple(part.name for part, lane in parts if lane is None and part.name is not None),
        warnings=store.warnings,
        referenced=frozenset(notes.referenced),
    )


def reload_destination(settings: Settings, name: str) -> DestinationConfig:
    """The destination `name` of `settings`, with its secret files read again.

    Raises: ConfigError when a file cannot be read or what it holds does not fit; KeyError for an unknown name.
    """
    lane = next((lane for lane in settings.destinations if lane.name == name), None)
    if lane is None:
        raise KeyError(name)
    notes = Notes()
    kind = known_destinations()[lane.type]
    fresh = _adapter_settings(kind, lane.origin, lane.path, notes)
    if fresh is None or notes.faults:
        raise ConfigError(_told_once(notes))
    return replace(lane, settings=fresh, secret_files=tuple(notes.files.values()))


def _items(value: Any, path: str, notes: Notes) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        notes.faults.append(Fault(path, "invalid", "must be a list"))
        return []
    return [parse_flow(item) for item in value]


def _valid(model: type[M], raw: Any, path: str, notes: Notes) -> M | None:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        notes.faults += faults_of(error, path, model.model_fields)
        return None


def _destination(
    raw: Any, path: str, environ: Mapping[str, str], notes: Notes
) -> tuple[DestinationPart, DestinationConfig | None]:
    """One destination, as far as it can be judged; no config when it is disabled or at fault."""
    if not isinstance(raw, Mapping):
        notes.faults.append(Fault(path, "invalid", "must be a section with keys of its own"))
        return DestinationPart(path, None), None
    common = {key: value for key, value in raw.items() if key in HEAD_FIELDS}
    common = read_files(resolve(common, path, environ, notes), path, notes)
    head = _valid(DestinationHead, common, path, notes)
    name = common.get("name")
    part = DestinationPart(path, name if isinstance(name, str) else None)
    kind = known_destinations().get(str(common.get("type")))
    if kind is None:
        if "type" in common:
            broken = unusable().get(str(common["type"]))
            words = f"is not a known type; known are {', '.join(known_destinations()) or 'none'}"
            words = words if broken is None else f"cannot be used: {broken}"
            notes.faults.append(Fault(join(path, "type"), "unknown_type", words))
        return part, None
    if head is not None and not head.enabled:
        return part, None
    origin = {key: value for key, value in raw.items() if key not in HEAD_FIELDS}
    origin = resolve(origin, path, environ, notes)
    own = Notes(notes.faults, referenced=notes.referenced)
    settings = _adapter_settings(kind, origin, path, own)
    if head is None or settings is None:
        return part, None
    if head.max_batch is not None and head.max_batch > kind.limits.max_items:
        words = f"must be at most {kind.limits.max_items}, the most this platform takes in one request"
        notes.faults.append(Fault(join(path, "max_batch"), "invalid", words))
    tuning = Tuning(
        linger=head.linger if "linger" in head.model_fields_set else kind.linger,
        max_batch=head.max_batch,
        timeout=head.timeout,
        lease=head.lease,
        max_in_flight=head.max_in_flight,
        retry_first=head.retry.first,
        retry_cap=head.retry.cap,
        max_attempts=head.retry.max_attempts,
        max_waiting=head.max_waiting,
        max_waiting_bytes=head.max_waiting_bytes,
        on_full=head.on_full,
        order=head.order,
        rates=None if head.rates is None else tuple(Rate(rate.requests, rate.per) for rate in head.rates),
        budget=head.budget,
    )
    needs = consent_needs(kind.name, head.consent, has_consent_states=kind.has_consent_states)
    files = tuple(own.files.values())
    return part, DestinationConfig(head.name, head.type, settings, tuning, needs, files, path, origin)


def _adapter_settings(
    kind: Destination[Any], origin: Mapping[str, Any], path: str, notes: Notes
) -> DestinationSettings | None:
    raw = read_files(origin, path, notes)
    model: type[DestinationSettings] = kind.settings
    try:
        read = spelled(model).model_validate(raw)
    except ValidationError as error:
        notes.faults += faults_of(error, path, {*model.model_fields, *HEAD_FIELDS}, is_foreign=True)
        return None
    # Handed out as the adapter's own class, not as the subclass that knows how to read `48h`.
    values = {name: getattr(read, name) for name in model.model_fields}
    return model.model_construct(set(read.model_fields_set), **values)


def _told_once(notes: Notes) -> list[Fault]:
    """The faults, one per path, each with the environment variable that is to blame, if one is."""
    told: dict[str, Fault] = {}
    for fault in notes.faults:
        origin = notes.origins.get(fault.pointer)
        detail = f"{fault.detail} (set by {origin})" if origin else fault.detail
        told.setdefault(fault.pointer, Fault(fault.pointer, fault.code, detail))
    return list(told.values())
