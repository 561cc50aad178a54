"""Writes the pages and the dashboards made from code; `--check` fails with a diff when one is stale.

A page is a path below `docs/` and a function that returns its text; add it to `PAGES`.
"""

from __future__ import annotations

import argparse
import difflib
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AwareDatetime, BaseModel, SecretStr, WithJsonSchema
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from app.config import consent, outbound, sections, source, store  # noqa: E402
from app.destinations.registry import destinations  # noqa: E402
from app.units import SIZE_PATTERN, spell_duration, spell_size  # noqa: E402
from scripts import dashboards  # noqa: E402
from scripts.chart_page import chart_page  # noqa: E402
from scripts.consent_page import consent_page  # noqa: E402
from scripts.pages import api_page, metrics_page  # noqa: E402
from scripts.pixels_page import pixels_page  # noqa: E402

NOTE = "<!-- Made by scripts/generate_docs.py; edit the models, then run `make format`. -->\n"

CONFIGURATION_HEAD = """# Configuration

One YAML file, the environment on top of it. `convey config check` reports every mistake at once, each with its path;
`convey config show` prints the settings in effect with secrets masked; `convey config schema` prints a JSON Schema for
editors. An unknown key is an error, and so is an unknown `CONVEY_*` variable.

```yaml
server: {host: 127.0.0.1, port: 8000, metrics_port: 9090}
store: {url: "sqlite:///./data/convey.db", durability: fsync}
sources:
  - name: shop
    keys: ["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]  # made by: convey keys new
    default_region: US
destinations:
  - {name: meta, type: meta, pixel_id: "1234567890", access_token: "${META_TOKEN}"}
```

**The file** is the one `--config` or `CONVEY_CONFIG` names, else `./convey.yaml` if there is one.

**The environment** sets one value each: `CONVEY_` and the path in capitals, joined by two underscores, list items by
index. `CONVEY_SERVER__PORT=8080`, `CONVEY_DESTINATIONS__0__ACCESS_TOKEN=…`; the next free index adds an item. A value
is taken as it is; a list or a section is written in YAML's flow style, `CONVEY_SOURCES__0__DESTINATIONS=[meta]`. Names
are read in lower case, so the entries of a mapping such as `event_names` are set together, in flow style.
`CONVEY_CONFIG`, `CONVEY_URL` and `CONVEY_KEY` belong to the command line. In Kubernetes set
`enableServiceLinks: false`, or a service named convey would set variables nobody knows.

**Secrets** need not stand in the file. `"${NAME}"` inside any text is replaced by that variable (`$${` is a literal
`${`); `{file: /run/secrets/meta}` is replaced by the text of that file, relative paths counting from the working
directory. Secret files of a destination are read again while the gateway runs; variables at the next start. From the
environment: `CONVEY_DESTINATIONS__0__ACCESS_TOKEN__FILE=/run/secrets/meta`.

**Durations** are a whole number and a unit: `200ms`, `10s`, `5m`, `48h`, `7d`. **Sizes**: `512KiB`, `8MiB`, `2GiB`, or
a number of bytes. Quotes around numbers, ids and `NO` are not needed: the field decides what a text means.
"""


def configuration() -> str:
    """The page of every setting."""
    parts = [NOTE, CONFIGURATION_HEAD]
    for name, model in (
        ("server", sections.ServerConfig),
        ("logging", sections.LoggingConfig),
        ("store", store.StoreConfig),
        ("consent", consent.ConsentConfig),
        ("outbound", outbound.OutboundConfig),
    ):
        parts.append(_section(name, model, f"{name}."))
    parts.append(_section("sources", source.SourceConfig, "sources[]."))
    parts.append(_section("destinations", sections.DestinationHead, "destinations[]."))
    parts.append(
        "## Destination types\n\nWhat a destination of each `type` has besides the above. `base_url` is an origin; "
        "plain http is allowed to loopback only.\n"
    )
    for name, kind in destinations().items():
        parts.append(_section(name, kind.settings, "", level=3))
    return "\n".join(parts)


def _section(title: str, model: type[BaseModel], prefix: str, level: int = 2) -> str:
    rows = [f"| {' | '.join(row)} |" for row in _rows(model, prefix)]
    heading = f"{'#' * level} `{title}`\n\n{inspect.cleandoc(model.__doc__ or '')}\n"
    table = ["| setting | type | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([heading, *table, ""])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    for name, info in model.model_fields.items():
        meaning = (info.description or "").replace("|", "\\|")
        yield f"`{prefix}{name}`", _kind(info), _default(info), meaning
        nested, is_list = _nested(info.annotation)
        if nested is not None:
            yield from _rows(nested, f"{prefix}{name}{'[]' if is_list else ''}.")


def _nested(annotation: Any, is_list: bool = False) -> tuple[type[BaseModel] | None, bool]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, is_list
    for part in get_args(annotation):
        found = _nested(part, is_list or get_origin(annotation) in {list, tuple})
        if found[0] is not None:
            return found
    return None, False


def _kind(info: FieldInfo) -> str:
    words, metadata = _words(info.annotation, list(info.metadata))
    bounds = _bounds(metadata)
    patterns = [found for item in metadata if (found := getattr(item, "pattern", None))]
    if words == "text" and patterns:
        escaped = str(patterns[0]).replace("|", "\\|")
        words += f" matching `{escaped}`"
    return f"{words}, {bounds}" if bounds else words


def _words(annotation: Any, metadata: list[Any]) -> tuple[str, list[Any]]:
    """What a type is called, and the constraints found on the way to it."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0], [*metadata, *arguments[1:]])
    if origin in {Union, types.UnionType}:
        parts = [part for part in arguments if part is not type(None)]
        if len(parts) == 1:
            return _words(parts[0], metadata)
        return " or ".join(_words(part, [])[0] for part in parts), metadata
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments), metadata
    if origin in {list, tuple, set, frozenset}:
        return f"list of {_words(arguments[0], [])[0]}".replace("of section", "of sections"), []
    if origin is dict:
        return f"mapping to {_words(arguments[1], [])[0]}", []
    if annotation is int and any(_is_size(item) for item in metadata):
        return "size", metadata
    names = {
        timedelta: "duration",
        datetime: "instant",
        AwareDatetime: "instant",
        SecretStr: "secret",
        bool: "true or false",
        int: "whole number",
        float: "number",
        str: "text",
        Path: "file",
    }
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section", metadata
    return names.get(annotation, getattr(annotation, "__name__", str(annotation))), metadata


def _is_size(item: Any) -> bool:
    return isinstance(item, WithJsonSchema) and (item.json_schema or {}).get("pattern") == SIZE_PATTERN


def _bounds(metadata: list[Any]) -> str:
    spell = spell_size if any(_is_size(item) for item in metadata) else _spell
    words = {Ge: "from {}", Gt: "over {}", Le: "to {}", Lt: "under {}"}
    limits = {Ge: "ge", Gt: "gt", Le: "le", Lt: "lt"}
    found = [
        words[kind].format(spell(getattr(item, limits[kind])))
        for kind in words
        for item in metadata
        if type(item) is kind
    ]
    return " ".join(found)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel):
        return "–"
    if isinstance(value, int) and not isinstance(value, bool) and any(_is_size(item) for item in info.metadata):
        return f"`{spell_size(value)}`"
    return f"`{_spell(value)}`"


def _spell(value: Any) -> str:
    if isinstance(value, timedelta):
        return spell_duration(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset | set):
        return f"[{', '.join(sorted(map(str, value)))}]"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "metrics.md": metrics_page,
    "api.md": api_page,
    "consent.md": consent_page,
    "pixels.md": pixels_page,
}
"""Every generated page: its path below `docs/`, and what makes it."""


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them; the exit code."""
    parser = argparse.ArgumentParser(description="Write the pages and dashboards that are made from code.")
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a page is stale")
    check = parser.parse_args(arguments).check
    stale = 0
    made_from_code = {f"docs/{name}": page() for name, page in PAGES.items()} | dashboards.pages()
    made_from_code["helm/convey/README.md"] = chart_page()
    for name, made in made_from_code.items():
        path = ROOT / name
        kept = path.read_text("utf-8") if path.exists() else ""
        if made == kept:
            continue
        stale += 1
        if check:
            diff = difflib.unified_diff(kept.splitlines(), made.splitlines(), name, "made from code", lineterm="")
            print("\n".join(diff))
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(made, "utf-8")
            print(f"wrote {name}")
    if check and stale:
        print(f"{stale} page(s) are stale: run `make format`", file=sys.stderr)
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
