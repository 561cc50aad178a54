"""From a row of cells to an event: which column is which field, constants, and text that stands for something else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

from app.cli.events_file import FileError
from app.errors import Fault
from app.wire import AppData, Consent, Content, CustomData, Event, UserData

Path = tuple[str | int, ...]
"""Where a value stands in an event; a number is a place in a list."""

_PARTS: Mapping[Path, type[BaseModel]] = {
    (): Event,
    ("user",): UserData,
    ("consent",): Consent,
    ("app",): AppData,
    ("custom_data",): CustomData,
    ("custom_data", "contents", 0): Content,
}
_SECTIONS = frozenset({("user",), ("consent",), ("app",), ("custom_data",), ("custom_data", "contents")})
_FREE = (("custom_data", "properties"), ("consent", "purposes"))
_LISTS = frozenset({("destinations",), ("app", "extinfo"), *(("user", name) for name in UserData.model_fields)})
_FLAGS = frozenset(
    {("hold",), ("test",)}
    | {("consent", name) for name in ("ad_storage", "ad_user_data", "ad_personalization", "gpc", "child")}
)
_AMOUNTS = frozenset(
    {("custom_data", "value"), ("custom_data", "predicted_ltv"), ("custom_data", "contents", 0, "item_price")}
)
_TRUE, _FALSE = frozenset({"true", "yes", "1"}), frozenset({"false", "no", "0"})
MOST_ITEMS = 100
"""Places a list may have in a file of columns."""

_LOCAL_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reading:
    """How text is read: `timezone` of times without an offset, and whether a comma stands before the cents."""

    timezone: ZoneInfo | None = None
    has_decimal_comma: bool = False


def known_paths() -> Iterator[str]:
    """Every field a column may hold, as a header spells it; the first place of a list only."""
    for start, model in _PARTS.items():
        for name in model.model_fields:
            path = (*start, name)
            if path not in _SECTIONS and path not in _FREE:
                yield spell(path)


def spell(path: Path) -> str:
    """The path as a header has it: `custom_data.contents.0.id`."""
    return ".".join(map(str, path))


def parse_path(text: str) -> Path:
    """The path that `text` spells.

    Raises: ValueError, with words, when an event has no such field.
    """
    path: Path = tuple(
        int(part) if part.isascii() and part.isdecimal() and len(part) < 4 else part for part in text.strip().split(".")
    )
    if _is_field(path):
        return path
    close = difflib.get_close_matches(text.strip().lower(), list(known_paths()), 1, 0.6)
    leaf = [known for known in known_paths() if known.rpartition(".")[2] == text.strip().lower()]
    hint = f"; did you mean {(leaf or close)[0]}?" if leaf or close else ""
    raise ValueError(f"is no field of an event{hint}")


def _is_field(path: Path) -> bool:
    if any(isinstance(part, int) and part >= MOST_ITEMS for part in path):
        return False
    if path[:2] in _FREE:
        return len(path) > 2 and all(path)
    plain = _plain(path)
    if plain in _LISTS or (plain[:-1] in _LISTS and plain[-1] == 0):
        return True
    model = _PARTS.get(plain[:-1])
    return model is not None and plain[-1] in model.model_fields and plain not in _SECTIONS


def _plain(path: Path) -> Path:
    """The path with the first place for every place in a list."""
    return tuple(0 if isinstance(part, int) else part for part in path)


def with_aliases(
    header: Sequence[str], mapped: Mapping[str, str], aliases: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """`mapped`, and for each path of `aliases` that no column has, the first of its names that is a column.

    Names are compared in lower case, by their letters and digits alone.
    """
    found = dict(mapped)
    for path, names in aliases.items():
        if path in header or path in found.values():
            continue
        free = {"".join(filter(str.isalnum, name)).lower(): name for name in reversed(header) if name not in found}
        column = next((free[name] for name in names if name in free), None)
        if column is not None:
            found[column] = path
    return found


def columns_of(
    header: Sequence[str], mapped: Mapping[str, str], *, ignores_unknown: bool = False
) -> tuple[Path | None, ...]:
    """Where each column goes, in order; None for one that is left out.

    `mapped` says it for columns by name, with an empty text for those to leave out; other headers are paths.

    Raises: FileError with everything that is wrong with the header.
    """
    wrong = [f"--map: there is no column {name!r}" for name in mapped if name not in header]
    paths: list[Path | None] = []
    for position, name in enumerate(header, 1):
        wanted = mapped.get(name, name)
        if not wanted:
            if name not in mapped:
                wrong.append(f"column {position} has no name")
            paths.append(None)
            continue
        try:
            paths.append(parse_path(wanted))
        except ValueError as error:
            paths.append(None)
            if not ignores_unknown or name in mapped:
                wrong.append(f"column {position} ({wanted}) {error}")
    taken = [path for path in paths if path is not None]
    wrong += [f"several columns are {spell(path)}" for path in sorted(set(taken), key=spell) if taken.count(path) > 1]
    wrong += [
        f"{spell(path)} is both a column and the beginning of another"
        for path in taken
        if any(other[: len(path)] == path and other != path for other in taken)
    ]
    if wrong:
        raise FileError(
            "the header cannot be used:\n"
            + "".join(f"  {each}\n" for each in wrong)
            + "Give a column its field with --map COLUMN=PATH, leave one out with --map COLUMN="
            + ("." if ignores_unknown else ", all that are no field with --ignore-unknown.")
        )
    return tuple(paths)


def event_of(columns: Sequence[Path | None], cells: Sequence[str], how: Reading) -> tuple[dict[str, Any], list[Fault]]:
    """The event in a row, without what is empty, and what cannot be read."""
    event: dict[str, Any] = {}
    faults: list[Fault] = []
    for path, cell in zip(columns, cells, strict=True):
        text = cell.strip()
        if path is None or not text:
            continue
        if not text.isascii() and any("\udc80" <= char <= "\udcff" for char in text):
            faults.append(Fault(pointer(path), "wrong_encoding", "is not in the file's encoding; see --encoding"))
            continue
        put(event, path, _value(path, text, how))
    return event, faults


def pointer(path: Path) -> str:
    """The path as JSON pointer."""
    return "".join(f"/{part}" for part in path)


def _value(path: Path, text: str, how: Reading) -> Any:
    plain = _plain(path)
    if plain in _FLAGS or path[:2] == ("consent", "purposes"):
        word = text.lower()
        return True if word in _TRUE else False if word in _FALSE else text
    if plain in _AMOUNTS and how.has_decimal_comma:
        return text.replace(".", "").replace(",", ".")
    if path == ("event_time",) and how.timezone is not None and _LOCAL_TIME.fullmatch(text):
        try:
            return datetime.fromisoformat(text).replace(tzinfo=how.timezone).isoformat()
        except ValueError:
            return text  # no date that exists: the gateway says so
    if path == ("destinations",):
        return text.replace(",", " ").split()
    return text


def put(event: dict[str, Any], path: Path, value: Any) -> None:
    """Set what stands at `path`, unless something does; the places of lists are filled from the left."""
    holder: Any = event
    for part, following in zip(path, (*path[1:], None), strict=True):
        fresh: Any = value if following is None else [] if isinstance(following, int) else {}
        if isinstance(part, int):
            if part >= len(holder):
                holder.extend([None] * (part - len(holder)) + [fresh])
            elif holder[part] is None:
                holder[part] = fresh
            holder = holder[part]
        else:
            if holder.get(part) is None:
                holder[part] = fresh
            holder = holder[part]


def without_gaps(value: Any) -> Any:
    """The same without the places of lists that nothing stands at."""
    if isinstance(value, dict):
        return {key: without_gaps(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_gaps(inner) for inner in value if inner is not None]
    return value


def constants(settings: Sequence[str], how: Reading) -> list[tuple[Path, Any]]:
    """What `--set PATH=VALUE` gives to every row that has nothing there.

    Raises: FileError.
    """
    found = []
    for setting in settings:
        name, given, text = setting.partition("=")
        try:
            if not given or not text.strip():
                raise ValueError("needs a field and a value: --set action_source=physical_store")
            path = parse_path(name)
        except ValueError as error:
            raise FileError(f"--set {name.strip()} {error}") from None
        found.append((path, _value(path, text.strip(), how)))
    return found


def parse_maps(settings: Sequence[str]) -> dict[str, str]:
    """Fields by column name, as `--map COLUMN=PATH` gives them.

    Raises: FileError.
    """
    maps: dict[str, str] = {}
    for setting in settings:
        name, given, path = setting.rpartition("=")
        if not given or not name.strip():
            raise FileError("--map needs a column and a field: --map 'E-Mail=user.email'")
        maps[name.strip()] = path.strip()
    return maps
