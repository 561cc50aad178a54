"""A reconciliation as one page of HTML: no script, nothing from elsewhere, every figure with its orders beneath."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from html import escape

from app.cli.output import printable
from app.cli.reconcile.comparison import Comparison
from app.cli.reconcile.output import notes
from app.reconcile import Account, Figure, figure_in_words, is_wrong, money_in_words, sentences, why_in_words

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1d2129; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #d8dce3; padding-top: 1rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .6rem; }
tr + tr { border-top: 1px solid #e6e9ee; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.wrong { color: #a3180e; font-weight: 600; } .ok { color: #0b6b3a; font-weight: 600; }
details p { font: 14px/1.6 ui-monospace, monospace; overflow-wrap: anywhere; max-height: 20rem; overflow-y: auto; }
summary { cursor: pointer; } .note { color: #4d5562; white-space: pre-wrap; }
@media (prefers-color-scheme: dark) {
  body { background: #15181d; color: #e6e9ee; }
  .wrong { color: #ff8a80; } .ok { color: #6fd39b; } .note { color: #a9b1bd; }
}
"""


def page_of(compared: Comparison, name: str, made_at: datetime) -> str:
    """The page. `name` is the list's, as the caller gave it."""
    return "".join(_parts(compared, name, made_at))


def _text(text: str) -> str:
    return escape(printable(text))


def _parts(compared: Comparison, name: str, made_at: datetime) -> Iterator[str]:
    report = compared.report
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    yield '<meta name="viewport" content="width=device-width">\n<meta name="referrer" content="no-referrer">\n'
    yield f"<title>What became of the orders in {_text(name)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f"<h1>What became of the orders in {_text(name)}</h1>\n"
    yield f"<p>{_text(figure_in_words(report.listed))}, in the list; compared {made_at:%Y-%m-%d %H:%M} UTC.</p>\n"
    for line in notes(compared):
        yield f'<p class="note">{_text(line)}</p>\n'
    for destination, account in report.accounts.items():
        yield from _destination(destination, account)
    yield "</body>\n</html>\n"


def _destination(name: str, account: Account) -> Iterator[str]:
    verdict = ("ok", "nothing to look into") if account.is_right else ("wrong", "to be looked into")
    yield f'<h2>{_text(name)} <span class="{verdict[0]}">{verdict[1]}</span></h2>\n'
    for sentence in sentences(name, account):
        yield f"<p>{_text(sentence)}</p>\n"
    yield '<table>\n<tr><th>what became of them</th><th class="number">orders</th>'
    heading = '<th class="number">pixel reported</th>' if account.hears_pages else ""
    yield f'<th class="number">money by the list</th>{heading}</tr>\n'
    for why, figure in account.sorted():
        yield from _row(why_in_words(why), figure, is_wrong=is_wrong(why), hears_pages=account.hears_pages)
    if account.differing.orders:
        words = f"delivered or on the way, counted with another value: {money_in_words(account.counted)}"
        yield from _row(words, account.differing, is_wrong=True, hears_pages=account.hears_pages)
    yield "</table>\n"


def _row(words: str, figure: Figure, *, is_wrong: bool, hears_pages: bool) -> Iterator[str]:
    more = figure.orders - len(figure.order_ids)
    ids = ", ".join(_text(order_id) for order_id in figure.order_ids)
    rest = f" … and {more:,} more: see the CSV" if more else ""
    mark = ' class="wrong"' if is_wrong else ""
    yield f"<tr><td><details><summary{mark}>{_text(words)}</summary><p>{ids}{rest}</p></details></td>"
    yield f'<td class="number">{figure.orders:,}</td><td class="number">{_text(money_in_words(figure.money))}</td>'
    reported = f'<td class="number">{figure.browser:,}</td>' if hears_pages else ""
    yield f"{reported}</tr>\n"
