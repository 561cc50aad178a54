"""`convey ledger`: whether everything that was queued is accounted for, in events and in money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.output import FAILED, console, fail, printable
from app.errors import FINAL_OUTCOMES

QUEUED = "queued"
STATES = (*(outcome.value for outcome in FINAL_OUTCOMES), "pending")


def ledger(
    url: Url = DEFAULT_URL,
    key: Key = None,
    check: Annotated[
        bool, typer.Option("--check", help="Have the gateway count what is stored again, and compare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as JSON.")] = False,
) -> None:
    """Show the ledger of every destination and whether it closes. Ends with 1 when one does not.

    With --check, what is pending and dead is counted again in the store, and a difference also ends with 1.

    queued = delivered + dead + expired + withdrawn + erased + pending

    Example: convey ledger --url http://127.0.0.1:8000
    """
    try:
        with Gateway(url, key, timeout_s=600.0 if check else 60.0) as gateway:
            answer = gateway.ask("GET", f"/v1/ledger{'?check=true' if check else ''}", takes=frozenset({200}))
        rows = _rows(answer.get("destinations"))
        differences = _differences(answer) if check else []
    except GatewayError as error:
        fail(str(error))
    if as_json:
        typer.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(rows)
        if check:
            _show_check(answer["check"], differences)
    if differences or any(difference(terms) for _, _, terms in rows):
        raise typer.Exit(FAILED)


def difference(terms: Mapping[str, Decimal]) -> Decimal:
    """What was queued less what is accounted for: zero when the ledger closes."""
    return terms[QUEUED] - sum((terms[state] for state in STATES), Decimal(0))


def _rows(destinations: Any) -> list[tuple[str, str, dict[str, Decimal]]]:
    """Destination, unit (events or a currency) and terms, in the gateway's order."""
    rows: list[tuple[str, str, dict[str, Decimal]]] = []
    try:
        for name, account in destinations.items():
            rows.append((name, "events", _terms(account)))
            rows += [(name, currency, _terms(terms)) for currency, terms in sorted(account.get("money", {}).items())]
    except (AttributeError, KeyError, TypeError, ValueError, InvalidOperation):
        raise GatewayError("the gateway's answer is not a ledger") from None
    return rows


def _differences(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    check = answer.get("check")
    found = check.get("differences") if isinstance(check, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise GatewayError("the gateway does not check its ledger: is it of an older version?")
    return found


def _show_check(check: Mapping[str, Any], differences: list[dict[str, Any]]) -> None:
    out = console()
    for each in differences:
        unit = each.get("currency") or "deliveries"
        words = (
            f"{each.get('destination')}: the ledger counts {each.get('counted')} {unit} {each.get('state')}, "
            f"{each.get('stored')} are stored"
        )
        out.print(printable(words))
    number = f"{printable(check.get('deliveries'))} pending and dead counted again"
    out.print(f"{number}: {len(differences)} difference(s)" if differences else f"{number}: the ledger is right")


def _terms(account: Mapping[str, Any]) -> dict[str, Decimal]:
    return {state: Decimal(account[state]) for state in (QUEUED, *STATES)}


def _show(rows: list[tuple[str, str, dict[str, Decimal]]]) -> None:
    out = console()
    if not rows:
        out.print("nothing was queued yet")
        return
    table = Table("destination", "in", title_justify="left")
    for state in (QUEUED, *STATES):
        table.add_column(state, justify="right")
    table.add_column("ledger")
    for name, unit, terms in rows:
        gap = difference(terms)
        verdict = "closes" if not gap else f"off by {gap:f}"
        amounts = [f"{terms[state]:f}" for state in (QUEUED, *STATES)]
        table.add_row(printable(name if unit == "events" else ""), printable(unit), *amounts, verdict)
    out.print(table)
    wrong = sum(1 for _, _, terms in rows if difference(terms))
    out.print("the ledger closes" if not wrong else f"the ledger does not close in {wrong} row(s)")
