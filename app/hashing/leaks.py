"""The leak guard: personal data where it must not be, in custom data and URLs.

What belongs in `user` is hashed at the door; what strays elsewhere is found here by shape or by key. Redacting keeps
the event and loses the value; a finding names the place and the kind, never the value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from app.errors import Fault
from app.hashing import urls
from app.hashing.detectors import Kind, find, find_in_id, is_card, is_phone_shaped, may_hold
from app.hashing.leak_keys import compact, is_plain_name, is_product, kind_of_key
from app.model import Warn
from app.wire import Content, CustomData

__all__ = ["Finding", "Guarded", "Kind", "Policy", "find_in_id", "guard_event"]

Policy = Literal["redact", "reject", "report"]
Action = Literal["redacted", "dropped", "reported", "rejected"]

DEEPEST = 4
MOST_STRINGS = 200
LONGEST_TEXT = 4096
REDACTED = "redacted"

_TEXT_FIELDS = ("search_string", "content_name", "content_category", "content_type")
_CONTENT_FIELDS = ("id", "title", "brand", "category")
_ID_FIELDS = ("order_id", "subscription_id")

_WORDS: dict[Kind, str] = {
    Kind.EMAIL: "an e-mail address",
    Kind.PHONE: "a phone number",
    Kind.CARD: "a payment card number",
    Kind.IBAN: "a bank account number",
    Kind.SSN: "a social security number",
    Kind.PERSON: "a person's name, address or birth date",
    Kind.SECRET: "a password, token or session",
    Kind.DIGEST: "a SHA-256 digest, which may be that of a person's identifier",
    Kind.UNSCANNED: "more text than is searched",
}
_DONE: dict[Action, str] = {
    "redacted": "it was replaced",
    "dropped": "it was left out",
    "reported": "it was sent as it is",
    "rejected": "the event was refused",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """Personal data in the wrong place: where (a JSON pointer), which kind, and what became of it."""

    pointer: str
    kind: Kind
    action: Action

    @property
    def code(self) -> str:
        """The code of the warning or fault."""
        return f"leak_{self.kind}"

    @property
    def detail(self) -> str:
        """The finding in words, with the remedy. Never the value."""
        return (
            f"{_WORDS[self.kind]} does not belong here; {_DONE[self.action]}. Identifiers go into user, where they are "
            "hashed; leave everything else out"
        )


@dataclass(frozen=True, slots=True)
class Guarded:
    """The values after the guard, and what it found. Under `reject` and `report` the values are the given ones."""

    custom: CustomData
    event_source_url: str | None
    referrer_url: str | None
    findings: tuple[Finding, ...] = ()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Why the event has to be refused; empty when it may go on."""
        return tuple(Fault(each.pointer, each.code, each.detail) for each in self.findings if each.action == "rejected")

    @property
    def warnings(self) -> tuple[Warn, ...]:
        """What the caller should know about an event that goes on."""
        return tuple(Warn(each.code, each.pointer, each.detail) for each in self.findings if each.action != "rejected")


def guard_event(
    custom: CustomData,
    event_source_url: str | None,
    referrer_url: str | None,
    policy: Policy = "redact",
    *,
    allowed: frozenset[str] = frozenset(),
) -> Guarded:
    """The event's free values under `policy`, and every finding.

    `redact` takes out what is sure; `reject` refuses the event instead; `report` changes nothing. Weak evidence is only
    ever reported. An order or subscription id that holds personal data is refused unless the policy is `report`, as
    every such order would otherwise become one id. `allowed` are e-mail addresses that may stay (the shop's own), in
    lower case.
    """
    guard = _Guard(policy, allowed)
    changes: dict[str, Any] = {}
    for field in _ID_FIELDS:
        value = getattr(custom, field)
        if value is not None:
            kind = find_in_id(value)
            if kind:
                guard.note(f"/custom_data/{field}", kind, "reported" if policy == "report" else "rejected")
    for field in _TEXT_FIELDS:
        value = getattr(custom, field)
        if value is not None and (may_hold(value) or len(value) > LONGEST_TEXT):
            cleaned = guard.text(value, f"/custom_data/{field}")
            if cleaned is not value:
                changes[field] = cleaned
    if custom.contents:
        contents = guard.contents(custom.contents)
        if contents is not custom.contents:
            changes["contents"] = contents
    if custom.properties:
        properties = guard.value(custom.properties, "/custom_data/properties", "", 0)
        if properties is not custom.properties:
            changes["properties"] = properties
    return Guarded(
        custom=custom.model_copy(update=changes) if changes else custom,
        event_source_url=guard.url(event_source_url, "/event_source_url"),
        referrer_url=guard.url(referrer_url, "/referrer_url"),
        findings=tuple(guard.findings),
    )


class _Guard:
    """One event under the guard: every method gives back the very value it got when nothing is to be changed."""

    __slots__ = ("allowed", "findings", "policy", "strings")

    def __init__(self, policy: Policy, allowed: frozenset[str]) -> None:
        self.policy = policy
        self.allowed = allowed
        self.findings: list[Finding] = []
        self.strings = 0

    def note(self, pointer: str, kind: Kind, action: Action) -> None:
        """Keep a finding once."""
        finding = Finding(pointer, kind, action)
        if finding not in self.findings:
            self.findings.append(finding)

    def acts(self, pointer: str, kind: Kind, action: Literal["redacted", "dropped"]) -> bool:
        """Note what would be done, and say whether to do it."""
        if self.policy == "redact":
            self.note(pointer, kind, action)
            return True
        self.note(pointer, kind, "rejected" if self.policy == "reject" else "reported")
        return False

    def url(self, url: str | None, pointer: str) -> str | None:
        """A URL without personal data."""
        if not url:
            return url
        cleaned, found = urls.clean(url, self.allowed)
        for kind, is_sure in found:
            if is_sure:
                self.acts(pointer, kind, "redacted")
            else:
                self.note(pointer, kind, "reported")
        return cleaned if self.policy == "redact" else urls.cut(url)

    def text(self, text: str, pointer: str) -> str:
        """A text with what was found in it replaced."""
        if len(text) > LONGEST_TEXT and self.acts(pointer, Kind.UNSCANNED, "redacted"):
            text = text[:LONGEST_TEXT]
        spans: list[tuple[int, int]] = []
        for match in find(text):
            if match.kind is Kind.EMAIL and text[match.start : match.end].lower() in self.allowed:
                continue
            if not match.is_sure:
                self.note(pointer, match.kind, "reported")
            elif self.acts(pointer, match.kind, "redacted"):
                spans.append((match.start, match.end))
        return _without(text, spans) if spans else text

    def contents(self, contents: list[Content]) -> list[Content]:
        """The lines of the basket."""
        cleaned: list[Content] = []
        for index, content in enumerate(contents):
            changes = {}
            for field in _CONTENT_FIELDS:
                value = getattr(content, field)
                if value is not None and may_hold(value):
                    text = self.text(value, f"/custom_data/contents/{index}/{field}")
                    if text is not value:
                        changes[field] = text
            cleaned.append(content.model_copy(update=changes) if changes else content)
        return cleaned if any(new is not old for new, old in zip(cleaned, contents, strict=True)) else contents

    def value(self, value: Any, pointer: str, key: str, depth: int) -> Any:
        """One value of the free properties; `key` is the compacted key it stands under."""
        if isinstance(value, str):
            self.strings += 1
            if self.strings > MOST_STRINGS:
                return None if self.acts(pointer, Kind.UNSCANNED, "dropped") else value
            return self._under_key(value, pointer, key)
        if isinstance(value, (dict, list)):
            if depth >= DEEPEST:
                return None if self.acts(pointer, Kind.UNSCANNED, "dropped") else value
            return (
                self._object(value, pointer, depth + 1)
                if isinstance(value, dict)
                else self._list(value, pointer, key, depth + 1)
            )
        if isinstance(value, int) and not isinstance(value, bool) and kind_of_key(key) in (Kind.CARD, Kind.PHONE):
            text = str(value)
            return value if self._under_key(text, pointer, key) == text else REDACTED
        return value

    def _under_key(self, text: str, pointer: str, key: str) -> str:
        kind = kind_of_key(key)
        if kind is Kind.CARD and is_card(text):
            return REDACTED if self.acts(pointer, kind, "redacted") else text
        if kind is Kind.PHONE and not text.startswith("+") and is_phone_shaped(text):
            self.note(pointer, kind, "reported")
        return self.text(text, pointer)

    def _list(self, values: list[Any], pointer: str, key: str, depth: int) -> list[Any]:
        cleaned = [self.value(value, f"{pointer}/{index}", key, depth) for index, value in enumerate(values)]
        return cleaned if any(new is not old for new, old in zip(cleaned, values, strict=True)) else values

    def _object(self, values: dict[str, Any], pointer: str, depth: int) -> dict[str, Any]:
        keys = [compact(str(name)) for name in values]
        has_product = is_product(keys)
        cleaned: dict[str, Any] = {}
        is_changed = False
        for key, (name, value) in zip(keys, values.items(), strict=True):
            kind = None if key == "name" and has_product else kind_of_key(key)
            in_name = find_in_id(str(name))
            if kind is None and in_name is None and _is_harmless(value) and self.strings < MOST_STRINGS:
                self.strings += 1
                cleaned[name] = value
                continue
            place = f"{pointer}/{_shown(str(name))}"
            is_said = (
                kind in (Kind.PERSON, Kind.SECRET) and value not in (None, "", [], {}) and not isinstance(value, bool)
            )
            found = kind if is_said else in_name
            if found and self.acts(place, found, "dropped"):
                is_changed = True
                continue
            new = self.value(value, place, key, depth)
            is_changed = is_changed or new is not value
            cleaned[name] = new
        return cleaned if is_changed else values


def _is_harmless(value: Any) -> bool:
    """Whether a value needs no closer look whatever its place."""
    return isinstance(value, str) and len(value) <= LONGEST_TEXT and not may_hold(value)


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """`text` with each span replaced, those that overlap as one."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += (text[done:start], REDACTED)
        done = max(done, end)
    return "".join((*parts, text[done:]))


def _shown(key: str) -> str:
    """A key as a pointer may show it: a name a programmer gave, or else an ellipsis, as it may be personal data."""
    return key if is_plain_name(key) else "…"
