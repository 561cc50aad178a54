from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from tests.cli.support import KEY, Answer, Gateway

EVIL = '<script>alert("x")</script>'


def answering(known: dict[str, dict[str, Any]]) -> Any:
    """A gateway that knows these orders, by id: their delivery to meta."""

    def answer(read: Any) -> Answer:
        if read is None:
            told = [{"transaction_id": "ORD-1", "event_name": "Purchase", "destinations": {"meta": delivered("9")}}]
            return 200, {}, json.dumps({"events": told, "next": None}).encode()
        results = [
            {
                "index": index,
                "events": [{"event_name": "Purchase", "accepted_at": "", "destinations": {"meta": known[order]}}]
                if order in known
                else [],
            }
            for index, order in enumerate(read["transaction_ids"])
        ]
        body = {"journal_since": "2026-11-13T00:00:00Z", "now": "", "destinations": ["meta"], "results": results}
        return 200, {}, json.dumps(body).encode()

    return answer


def delivered(value: str | None = None, currency: str = "EUR") -> dict[str, Any]:
    money = None if value is None else {"value": value, "currency": currency}
    return {"outcome": "delivered", "reason": None, "money": money, "browser": True}


def reconciled(run, gateway: Gateway, tmp_path, name: str, text: str, *options: str, code: int = 0) -> Any:
    (tmp_path / name).write_text(text)
    done = run("reconcile", name, "--url", gateway.url, "--json", *options, CONVEY_KEY=KEY)
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def figures(told: Any) -> dict[str, tuple[int, dict[str, str]]]:
    return {each["class"]: (each["orders"], each["money"]) for each in told["destinations"]["meta"]["figures"]}


@pytest.mark.parametrize(
    ("name", "text", "options"),
    [
        ("a.csv", "order_id,value,currency,time\nORD-1,129.90,EUR,2026-11-20T10:00:00Z\n", ()),
        ("a.csv", "Name;Total;Tax;Currency;Created at\n#1;x;1;;\nORD-1;129.90;9;eur;2026-11-20 10:00:00 +0100\n", ()),
        ("a.csv", "Bon;Summe;Tag\nORD-1;129,90;2026-11-20\n", ("--map", "Bon=order_id", "--map", "Summe=value", "--map",
            "Tag=time", "--decimal-comma", "--currency", "EUR")),
        ("a.csv", "order,amount,date\nORD-1,129.90,2026-11-20 10:00\n", ("--currency=eur", "--timezone=Europe/Berlin")),
        ("a.ndjson", '{"orderId": "ORD-1", "totalPrice": 129.9, "currency": "EUR", "createdAt": 1795000000}\n', ()),
        ("a.ndjson", '{"transaction_id": "ORD-1", "event_time": "2026-11-20T10:00:00Z", '
            '"custom_data": {"value": "129.90", "currency": "EUR"}}\n', ()),
        ("a.ndjson", '{"no": "ORD-1", "value": "129.90", "currency": "EUR"}\n', ("--map", "no=order_id")),
    ],
)  # fmt: skip
def test_lists_of_many_shapes_are_read(run, gateway, tmp_path, name, text, options) -> None:
    gateway.answer = answering({"ORD-1": delivered("129.90")})
    told = reconciled(run, gateway, tmp_path, name, text, *options)
    assert figures(told) == {"delivered": (1, {"EUR": told["list"]["money"]["EUR"]})}
    assert told["destinations"]["meta"]["value_differs"]["orders"] == 0
    assert told["list"]["orders"] == 1


def test_bad_rows_are_named_by_their_lines_and_never_by_what_stands_there(run, gateway, tmp_path) -> None:
    gateway.answer = answering({})
    rows = ["order_id,value,currency,time", "ORD-1,12.9O,EUR,", "ORD-2,1,XYZ,", "ORD-3,1,,", "ORD-4,1,EUR,soon",
            ",1,EUR,", "ORD-6,-5,EUR,", "ORD-7,1", "ORD-8,1,EUR,2026-11-20T10:00:00Z"]  # fmt: skip
    told = reconciled(run, gateway, tmp_path, "a.csv", "\n".join(rows), "--since=2026-11-01", "--check", code=1)
    assert [each["line"] for each in told["bad_rows"]] == [2, 3, 4, 5, 6, 7, 8]
    assert not {"12.9O", "XYZ", "soon", "-5"} & set(json.dumps(told["bad_rows"]).replace(",", " ").split())
    assert figures(told) == {"missing": (1, {"EUR": "1"})}


def test_the_lines_of_an_order_s_items_are_one_order(run, gateway, tmp_path) -> None:
    gateway.answer = answering({"#1001": delivered("30.00"), "#1002": delivered("7")})
    text = "Name,Total,Currency,Item\n#1001,30.00,EUR,Shirt\n#1001,,,Socks\n#1002,7,EUR,Hat\n#1001,30.00,EUR,Shirt\n"
    told = reconciled(run, gateway, tmp_path, "a.csv", text)
    assert (told["list"]["orders"], told["repeated_rows"], told["bad_rows"]) == (2, 1, [])


def test_an_order_that_the_list_does_not_have_is_extra(run, gateway, tmp_path) -> None:
    gateway.answer = answering({"ORD-2": delivered("5")})
    text = "order_id,value,currency\nORD-2,5,EUR\n"
    span = ("--since", "2026-11-01", "--until", "2026-11-30")
    told = reconciled(run, gateway, tmp_path, "a.csv", text, *span, "--check", code=1)
    assert figures(told) == {"delivered": (1, {"EUR": "5"}), "extra": (1, {"EUR": "9"})}
    assert told["looked_for_extra"]["since"] == "2026-11-13T00:00:00+00:00"  # the journal goes no further back
    told = reconciled(run, gateway, tmp_path, "a.csv", text + "ORD-1,a lot,EUR\n", *span, "--check", code=1)
    assert "extra" not in figures(told)  # its row is bad, and it is in the list all the same


def test_without_times_nothing_is_called_missing(run, gateway, tmp_path) -> None:
    gateway.answer = answering({})
    text = "order_id,value,currency\nORD-1,1,EUR\n"
    told = reconciled(run, gateway, tmp_path, "a.csv", text, "--check")
    assert figures(told) == {"unknown": (1, {"EUR": "1"})}
    assert told["looked_for_extra"] is None
    told = reconciled(run, gateway, tmp_path, "a.csv", text, "--since", "2026-11-20")
    assert told["looked_for_extra"] is not None  # until now
    told = reconciled(run, gateway, tmp_path, "a.csv", text, "--since", "2026-11-20", "--until", "2026-11-20")
    assert figures(told) == {"missing": (1, {"EUR": "1"})}
    assert told["looked_for_extra"] == {"since": "2026-11-20T00:00:00+00:00", "before": "2026-11-21T00:00:00+00:00"}


def test_the_page_and_the_rows_hold_nothing_that_runs(run, gateway, tmp_path) -> None:
    words = {"outcome": "dead", "reason": "rejected_by_platform", "reason_detail": f"{EVIL}=1", "browser": False}
    gateway.answer = answering({EVIL: words, "=1+2": words})
    text = json.dumps({"order_id": EVIL, "time": "2026-11-20"}) + "\n" + json.dumps({"order_id": "=1+2"}) + "\n"
    (tmp_path / "a.ndjson").write_text(text)
    done = run("reconcile", "a.ndjson", "--url", gateway.url, "--html", "a.html", "--csv", "a.csv", CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "a.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "http://" not in page and "https://" not in page and "src=" not in page.replace("-src", "")
    with (tmp_path / "a.csv").open(newline="") as file:
        assert {row["order_id"] for row in csv.DictReader(file)} == {EVIL, "'=1+2"}


def test_a_thousand_orders_go_in_one_request(run, gateway, tmp_path) -> None:
    gateway.answer = answering({})
    rows = [f"ORD-{number},1,EUR,2026-11-20" for number in range(2500)]
    told = reconciled(run, gateway, tmp_path, "a.csv", "order_id,value,currency,time\n" + "\n".join(rows))
    asked = [read for _, path, _, read in gateway.asked if path == "/v1/events/lookup"]
    assert [len(each["transaction_ids"]) for each in asked] == [1000, 1000, 500]
    assert figures(told) == {"missing": (2500, {"EUR": "2500"})}


@pytest.mark.parametrize(
    "options",
    [["--map", "value=foo"], ["--map", "value=user.email"], ["--since=2026-11-20", "--until=2026-11-19"],
     ["--currency", "Euro"], ["--since", "soon"], ["--until", "2026-13-01"], ["--timezone", "Mars"], ["--map", "x"],
     ["--map", "nowhere=value"], ["--format", "xls"], ["--csv", "/nowhere/a.csv"]],
)  # fmt: skip
def test_what_cannot_be_done_is_said_before_anything_is_asked(run, gateway, tmp_path, options) -> None:
    (tmp_path / "a.csv").write_text("order_id,value,currency\nORD-1,1,EUR\n")
    done = run("reconcile", "a.csv", "--url", gateway.url, *options, CONVEY_KEY=KEY)
    assert done.exit_code == 2, done.output
    assert not gateway.asked
    assert "--ignore-unknown" not in done.output  # an option of import's


def test_a_gateway_that_answers_something_else_ends_it(run, gateway, tmp_path) -> None:
    gateway.answer = lambda read: (200, {}, b'{"results": []}')
    (tmp_path / "a.csv").write_text("order_id,value,currency\nORD-1,1,EUR\n")
    done = run("reconcile", "a.csv", "--url", gateway.url, CONVEY_KEY=KEY)
    assert done.exit_code == 1
    assert "did not answer" in done.stderr


@pytest.mark.parametrize(("text", "code"), [("value,currency\n1,EUR\n", 2), ("a,b\n1,2\n", 2), ("id,value\nX,1\n", 1)])
def test_a_list_of_which_nothing_can_be_compared_is_no_success(run, gateway, tmp_path, text, code) -> None:
    gateway.answer = answering({})
    (tmp_path / "a.csv").write_text(text)
    done = run("reconcile", "a.csv", "--url", gateway.url, CONVEY_KEY=KEY)
    assert done.exit_code == code, done.output
    assert "--map" in done.output or "--currency" in done.output


@pytest.mark.parametrize(("name", "text"), [("a.csv", "order_id,value,currency\n"), ("a.ndjson", "")])
@pytest.mark.parametrize("options", [(), ("--check",)])
def test_an_empty_export_is_no_success(run, gateway, tmp_path, name, text, options) -> None:
    gateway.answer = answering({})
    assert reconciled(run, gateway, tmp_path, name, text, *options, code=1)["ok"] is False
    done = run("reconcile", name, "--url", gateway.url, *options, CONVEY_KEY=KEY)
    assert (done.exit_code, "is the export empty?" in done.output) == (1, True)


@pytest.mark.parametrize("text", ["value,currency\n1,EUR\n", "a,b\n1,2\n"])
def test_a_list_without_order_ids_is_told_which_columns_are_wanted(run, gateway, tmp_path, text) -> None:
    (tmp_path / "a.csv").write_text(text)
    done = run("reconcile", "a.csv", "--url", gateway.url, CONVEY_KEY=KEY)
    assert (done.exit_code, gateway.asked) == (2, [])
    assert "order_id, value, currency, time" in done.stderr and "--map COLUMN=order_id" in done.stderr


def test_a_held_or_cancelled_order_that_the_list_does_not_have_is_nothing_to_look_into(run, gateway, tmp_path) -> None:
    held = {"outcome": "queued", "reason": None, "held_until": "2026-12-01T00:00:00Z", "browser": None}
    cancelled = {"outcome": "withdrawn", "reason": "cancelled", "browser": None}
    known = answering({"ORD-1": held})
    told = [
        {"transaction_id": order, "event_name": "Purchase", "destinations": {"meta": each}}
        for order, each in (("ORD-2", held), ("ORD-3", cancelled))
    ]
    page = json.dumps({"events": told, "next": None}).encode()
    gateway.answer = lambda read: (200, {}, page) if read is None else known(read)
    (tmp_path / "a.csv").write_text("order_id,value,currency,time\nORD-1,1,EUR,2026-11-20\n")
    options = ("--since", "2026-11-19", "--html", "a.html", "--check")
    done = run("reconcile", "a.csv", "--url", gateway.url, *options, CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    assert "(!)" not in done.stdout and "1 order, 1.00 EUR: held." in done.stdout
    assert "posted, but not in the list (held)" in done.stdout
    assert 'class="wrong"' not in (tmp_path / "a.html").read_text()


def test_what_was_never_posted_is_told_with_where_to_look(run, gateway, tmp_path) -> None:
    known = answering({"ORD-2": delivered("1")})

    def answer(read: Any) -> Answer:
        status, headers, body = known(read)
        return status, headers, body.replace(b"Purchase", b"order_complete")

    gateway.answer = answer
    (tmp_path / "a.csv").write_text("order_id,value,currency,time\nORD-1,1,EUR,2026-11-20\nORD-2,1,EUR,2026-11-20\n")
    options = ("--html", "a.html", "--csv", "rows.csv")
    done = run("reconcile", "a.csv", "--url", gateway.url, *options, CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    for shown in (done.stdout, (tmp_path / "a.html").read_text()):
        words = " ".join(shown.split())
        assert "never posted, or refused as invalid" in words and "posted as order_complete" in words
        assert "convey rejects" in words and "GET /v1/events?transaction_id=" in words
    assert "posted_as,order_complete" in (tmp_path / "rows.csv").read_text()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "give --since, or a column of times"),
        (("--until", "2026-11-20"), "give --since, or a column of times"),
        (("--since", "2026-11-01", "--until", "2026-11-05"), "the journal does not go back to that time"),
        (("--since", "2999-01-01"), "--since is not past yet"),
    ],
)
def test_why_extra_orders_were_not_looked_for_is_told(run, gateway, tmp_path, options, words) -> None:
    gateway.answer = answering({"ORD-1": delivered("1")})
    (tmp_path / "a.csv").write_text("order_id,value,currency\nORD-1,1,EUR\n")
    done = run("reconcile", "a.csv", "--url", gateway.url, *options, CONVEY_KEY=KEY)
    assert done.exit_code == 0, done.output
    assert f"were not looked for: {words}" in done.stdout


@pytest.mark.parametrize(
    ("amount", "hint"),
    [
        ("1,011.50", "thousands"), ("1 011,50", "thousands"), ("12.50 EUR", "--currency"), ("EUR 12.50", "--currency"),
        ("€12.50", "--currency"), ("1.234,56", "--decimal-comma"), ("12,90", "--decimal-comma"), ("12.9O0", None),
        ("-5", None),
    ],
)  # fmt: skip
def test_an_amount_that_cannot_be_read_is_told_what_to_do(run, gateway, tmp_path, amount, hint) -> None:
    gateway.answer = answering({})
    text = json.dumps({"order_id": "ORD-1", "value": amount, "currency": "EUR"})
    (bad,) = reconciled(run, gateway, tmp_path, "a.ndjson", text, code=1)["bad_rows"]
    hints = [each for each in ("thousands", "--currency", "--decimal-comma") if each in bad["detail"]]
    assert hints == ([hint] if hint else [])
    assert amount not in bad["detail"] or amount == "1.234,56"
