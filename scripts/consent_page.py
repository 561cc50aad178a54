"""The page about consent: its prose (`consent_page.md`), with the decision table and the codes made from the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from app.config import SourceConfig, StoreConfig
from app.config.consent import ConsentConfig
from app.consent.codes import GRANTS, Code, reason_of
from app.consent.needs import ConsentNeeds, ConsentOptions
from app.consent.table import DECIDED_AT, LISTED_SITUATIONS, PLACES, SITUATIONS, in_words, rows
from app.consent.vendors import vendors
from app.destinations.registry import destinations
from app.retention import ROWS, Row
from app.units import spell_duration

MODELS: dict[str, type[BaseModel]] = {
    "store": StoreConfig,
    "consent": ConsentConfig,
    "sources[]": SourceConfig,
    "destinations[]": destinations()["google"].settings,
}
"""Where a setting that ends something stands. Google is the one platform whose conversions are adjusted."""
PROSE = Path(__file__).parent / "consent_page.md"


def consent_page() -> str:
    """docs/consent.md: the prose, with what the code and its data say put in."""
    page = PROSE.read_text("utf-8")
    for name, text in {"vendors": _vendors(), "tables": _tables(), "codes": _codes(), "kept": _kept()}.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def _vendors() -> str:
    lists = vendors()
    listed = [f"{name} ({vendor.gvl_id})" for name, vendor in lists.by_platform.items() if vendor.gvl_id]
    others = [name for name, vendor in lists.by_platform.items() if not vendor.gvl_id]
    return (
        f"Looked up on {lists.checked_on.isoformat()}: {', '.join(listed)} is on it; {', '.join(others)} were on no "
        "list read."
    )


def _tables() -> str:
    regional = ConsentOptions(policy="regional")
    everywhere = tuple(PLACES)
    google = ConsentNeeds(gvl_id=vendors().of("google").gvl_id, has_consent_states=True)
    return "\n\n".join(
        [
            "### `regional`",
            _table(regional, ConsentNeeds(), SITUATIONS, everywhere),
            "### `strict`",
            "The same in every place.",
            _table(ConsentOptions(), ConsentNeeds(), SITUATIONS, everywhere[:1]),
            "### TC and GPP strings under `regional`",
            "At Google, whose vendor is on the list and which can be told that personalisation was refused:",
            _table(regional, google, LISTED_SITUATIONS, everywhere),
            "At a platform on no list:",
            _table(regional, ConsentNeeds(), LISTED_SITUATIONS, everywhere),
        ]
    )


def _table(
    options: ConsentOptions, needs: ConsentNeeds, situations: Mapping[str, Mapping[str, Any]], columns: Iterable[str]
) -> str:
    names = list(columns)
    lines = [f"| the event says | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    cells: dict[str, list[str]] = {}
    for row in rows(options, needs, DECIDED_AT, situations, names):
        cells.setdefault(row.situation, []).append(in_words(row.decision))
    lines += [f"| {situation} | {' | '.join(decided)} |" for situation, decided in cells.items()]
    return "\n".join(lines)


def _codes() -> str:
    by_reason: dict[str, list[str]] = {}
    for code in Code:
        if code is Code.JURISDICTION_UNKNOWN:
            continue
        reason = "none: it is sent" if code in GRANTS else str(reason_of(code))
        by_reason.setdefault(reason, []).append(f"`{code}`")
    lines = ["| reason | codes |", "|---|---|"]
    return "\n".join([*lines, *(f"| {reason} | {', '.join(codes)} |" for reason, codes in by_reason.items())])


def _kept() -> str:
    lines = [
        "| what | in SQLite · on Redis | what it says of a person | how long | ended by | at rest |",
        "|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        tables = ", ".join(f"`{table}`" for table in row.tables) or "–"
        keys = ", ".join(f"`{_key(kind)}`" for kind in row.keys)
        rest = "sealed with `store.encryption`" if row.is_sealed else "in clear"
        lines.append(
            f"| {row.name} | {tables} · {keys} | {row.holds or 'nothing'} | {_how_long(row)} | {row.ended_by or '–'} "
            f"| {rest} |"
        )
    return "\n".join(lines)


def _key(kind: str) -> str:
    """A kind of key as it is on the server."""
    if kind.startswith("meta:"):
        rest = kind.removeprefix("meta:")
        return f"{{c:meta}}:{rest}" if rest else "{c:meta}"
    return f"{{c:n}}:{kind}" if kind else "{c:n}"


def _how_long(row: Row) -> str:
    if row.setting is None:
        return row.how_long.format(span="" if row.span is None else spell_duration(row.span))
    section, _, name = row.setting.partition(".")
    field = MODELS[section].model_fields[name]
    return f"{row.how_long.format(span=spell_duration(field.default))} (`{row.setting}`)"
