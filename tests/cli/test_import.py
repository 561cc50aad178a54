from __future__ import annotations

import csv
import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from app.cli.events_file import FileError
from app.cli.imports.columns import columns_of, known_paths, parse_path, spell
from app.cli.imports.state import Progress
from app.cli.imports.verb import Import
from tests.cli.support import KEY, accepted

CSV = "event_name,event_time,transaction_id,user.email,custom_data.value,custom_data.currency\n"


def _row(number: int, **over: str) -> str:
    cells = {"name": "Purchase", "time": "1795000000", "txn": f"T-{number}", "mail": f"p{number}@example.com"}
    cells |= {"value": "1.50", "currency": "EUR"} | over
    return ",".join(cells.values()) + "\n"


def _run(run, gateway, *arguments, **more):
    return run("import", *arguments, "--url", gateway.url, CONVEY_KEY=KEY, **more)


def _events(gateway) -> list[dict[str, Any]]:
    return [event for _, _, _, read in gateway.asked for event in read["events"]]


def _errors(name: str = "f.csv.errors.csv") -> list[list[str]]:
    with Path(name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def _invalid_beyond(most: int):
    """A gateway that finds fault with transactions of a higher number."""

    def answer(read):
        status, headers, body = accepted(read)
        results = json.loads(body)["results"]
        for result, event in zip(results, read["events"], strict=True):
            if int(event["transaction_id"].rpartition("-")[2]) > most:
                error = {"pointer": "/user/email", "code": "wrong_type", "detail": "must be a string"}
                result |= {"status": "invalid", "destinations": {}, "errors": [error]}
        return status, headers, json.dumps({"results": results}).encode()

    return answer


def test_a_csv_file_in_the_bulk_share(run, gateway):
    Path("f.csv").write_text(CSV + "".join(map(_row, range(1, 1201))))
    done = _run(run, gateway, "f.csv")
    assert done.exit_code == 0, done.output
    assert [len(read["events"]) for _, _, _, read in gateway.asked] == [500, 500, 200]
    assert {(method, path) for method, path, _, _ in gateway.asked} == {("POST", "/v1/events?bulk=true")}
    assert _events(gateway)[0] == {
        "event_name": "Purchase",
        "event_time": "1795000000",
        "transaction_id": "T-1",
        "user": {"email": "p1@example.com"},
        "custom_data": {"value": "1.50", "currency": "EUR"},
    }
    assert "1200 row(s): 1200 accepted" in done.stdout
    assert not Path("f.csv.errors.csv").exists()


def test_cells_become_what_their_field_is(run, gateway):
    header = (
        "event_name;Zeit;hold;consent.ad_storage;consent.ad_user_data;consent.ad_personalization;custom_data.value;"
        "custom_data.contents.0.id;custom_data.contents.1.id;custom_data.contents.1.item_price;user.email.0;user.email.1;"
        "destinations;custom_data.properties.Note;extra\n"
    )
    row = 'Lead;2026-11-19 10:00;no;TRUE;1;maybe;"1.234,50";;SKU-2;2,5;;b@x.example;meta, tiktok;"a;b\nc";y\n'
    Path("f.csv").write_bytes(b"\xef\xbb\xbf" + (header + row).encode())
    options = ["--decimal-comma", "--timezone", "Europe/Berlin", "--map", "Zeit=event_time", "--map", "extra="]
    done = _run(run, gateway, "f.csv", *options, "--set", "action_source=physical_store", "--set", "event_name=Never")
    assert done.exit_code == 0, done.output
    assert _events(gateway) == [
        {
            "event_name": "Lead",
            "event_time": "2026-11-19T10:00:00+01:00",
            "hold": False,
            "consent": {"ad_storage": True, "ad_user_data": True, "ad_personalization": "maybe"},
            "custom_data": {
                "value": "1234.50",
                "contents": [{"id": "SKU-2", "item_price": "2.5"}],
                "properties": {"Note": "a;b\nc"},
            },
            "user": {"email": ["b@x.example"]},
            "destinations": ["meta", "tiktok"],
            "action_source": "physical_store",
        }
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_what_a_spreadsheet_writes(run, gateway, encoding, delimiter):
    text = (CSV + _row(1, mail="jürgen@example.com")).replace(",", delimiter).replace("\n", "\r\n")
    Path("f.txt").write_bytes(text.encode(encoding))
    assert _run(run, gateway, "f.txt").exit_code == 0
    assert _events(gateway)[0]["user"]["email"] == "jürgen@example.com"


def test_another_encoding_is_named_or_costs_its_rows_only(run, gateway):
    Path("f.csv").write_bytes((CSV + _row(1) + _row(2, mail="jürgen@example.com")).encode("cp1252"))
    done = _run(run, gateway, "f.csv")
    assert done.exit_code == 1
    assert [row[:5] for row in _errors()] == [["2", "3", "user.email", "/user/email", "wrong_encoding"]]
    assert _run(run, gateway, "f.csv", "--encoding", "cp1252", "--restart").exit_code == 0
    assert _events(gateway)[-1]["user"]["email"] == "jürgen@example.com"


def test_json_lines(run, gateway):
    lines = [{"event_name": "Lead", "transaction_id": "1", "user": {"email": None}}, {"transaction_id": "2"}]
    text = (
        "\n\n".join(json.dumps(line) for line in lines)
        + '\n[1]\n{"cut":\n"'
        + "x" * (1 << 21)
        + '"\n{"transaction_id":"3"}'
    )
    Path("f.ndjson").write_bytes(b"\xef\xbb\xbf" + text.encode())
    done = _run(run, gateway, "f.ndjson", "--set", "event_name=Purchase", "--set", "user.email=a@x.example")
    assert done.exit_code == 1
    mail = {"email": "a@x.example"}
    assert _events(gateway) == [
        {"event_name": "Lead", "transaction_id": "1", "user": mail},
        {"event_name": "Purchase", "transaction_id": "2", "user": mail},
        {"event_name": "Purchase", "transaction_id": "3", "user": mail},
    ]
    assert [row[:2] + row[4:5] for row in _errors("f.ndjson.errors.csv")] == [
        ["3", "4", "wrong_type"],
        ["4", "5", "not_json"],
        ["5", "6", "row_too_long"],
    ]


def test_rows_that_cannot_be_read_cost_no_other(run, gateway):
    rows = [
        _row(1),
        "\n",
        "a,b\n",
        _row(2).replace("p2@", '"p"2@'),
        _row(3),
        ",,,,,\n",
        _row(4),
        '"never closed\n',
        _row(5),
    ]
    Path("f.csv").write_text(CSV + "".join(rows))
    done = _run(run, gateway, "f.csv")
    assert done.exit_code == 1
    assert [event["transaction_id"] for event in _events(gateway)] == ["T-1", "T-3", "T-4"]
    assert [(row[0], row[4]) for row in _errors()] == [
        ("2", "wrong_number_of_cells"),
        ("3", "malformed_row"),
        ("6", "malformed_row"),
    ]
    assert [row[1] for row in _errors()] == ["4", "5", "9"]
    assert "line 9 to line 10: look in line 9 for a stray quote or one that is not closed" in _errors()[2][5]
    assert "never closed" not in Path("f.csv.errors.csv").read_text()


def test_rows_of_many_lines_are_told_and_too_many_refused(run, gateway):
    rows = [
        _row(1, mail='"two\nlines"'),
        _row(2, mail='"' + "x\n" * 99 + '"'),
        _row(3, mail='"' + "x\n" * 100 + '"'),
        _row(4),
    ]
    Path("f.csv").write_text(CSV + "".join(rows))
    done = _run(run, gateway, "f.csv")
    assert done.exit_code == 1
    assert [event["transaction_id"] for event in _events(gateway)] == ["T-1", "T-2", "T-4"]
    assert [row[:2] + row[4:5] for row in _errors()] == [
        ["1", "2", "spans_lines"],
        ["2", "4", "spans_lines"],
        ["3", "104", "malformed_row"],
    ]
    assert "from line 104 to line 204: look in line 104 for a quote that is not closed" in _errors()[2][5]
    assert "warnings: spans_lines 2" in done.stdout


def test_what_the_gateway_says_of_a_row_is_written_with_its_column(run, gateway):
    gateway.answer = _invalid_beyond(2)
    Path("f.csv").write_text((CSV + "".join(map(_row, range(1, 5)))).replace("user.email", "Mail"))
    done = _run(run, gateway, "f.csv", "--map", "Mail=user.email", "--errors", "wrong.csv")
    assert done.exit_code == 1
    assert "2 accepted, 2 invalid" in done.stdout
    assert "wrong.csv" in done.stdout
    assert _errors("wrong.csv") == [
        [number, line, "Mail", "/user/email", "wrong_type", "must be a string"]
        for number, line in (("3", "4"), ("4", "5"))
    ]


def test_a_conflict_is_told(run, gateway):
    body = {"results": [{"index": 0, "status": "conflict", "event_id": "x", "destinations": {}, "warnings": []}]}
    gateway.script = [(202, {}, json.dumps(body).encode())]
    Path("f.csv").write_text(CSV + _row(1))
    assert _run(run, gateway, "f.csv").exit_code == 0
    assert [row[3:5] for row in _errors()] == [["/event_id", "id_conflict"]]


# --- stopping and going on


def test_it_goes_on_where_it_stopped(run, gateway):
    gateway.answer = _invalid_beyond(1100)
    Path("f.csv").write_text(CSV + "".join(map(_row, range(1, 1202))))
    gateway.script = [accepted({"events": [{"transaction_id": str(n)} for n in range(500)]}), (401, {}, b"{}")]
    first = _run(run, gateway, "f.csv")
    assert first.exit_code == 1
    assert "stopped after 500 row(s)" in first.stderr
    with Path("f.csv.errors.csv").open("w") as file:
        file.write("what a killed process left half written")
    second = _run(run, gateway, "f.csv", "--json")
    assert second.exit_code == 1
    assert "going on after 500 row(s)" in second.stderr
    assert [read["events"][0]["transaction_id"] for _, _, _, read in gateway.asked] == [
        "T-1",
        "T-501",
        "T-501",
        "T-1001",
    ]
    told = json.loads(second.stdout)
    assert told["statuses"] == {"accepted": 1100, "invalid": 101}
    assert told["errors"] == {"wrong_type": 101}
    assert [row[0] for row in _errors()] == [str(number) for number in range(1101, 1202)]
    third = _run(run, gateway, "f.csv")
    assert "was imported before" in third.stderr
    assert len(gateway.asked) == 4


@pytest.mark.parametrize("change", ["file", "options", "state"])
def test_what_was_begun_for_another_import_is_refused(run, gateway, change):
    Path("f.csv").write_text(CSV + _row(1))
    assert _run(run, gateway, "f.csv").exit_code == 0
    if change == "file":
        Path("f.csv").write_text(CSV + _row(2))
    if change == "state":
        Path("f.csv.import-state").write_text("{}")
    options = ["--set", "test=true"] if change == "options" else []
    refused = _run(run, gateway, "f.csv", *options)
    assert refused.exit_code == 2
    assert "--restart" in refused.stderr
    assert len(gateway.asked) == 1
    assert _run(run, gateway, "f.csv", *options, "--restart").exit_code == 0
    assert len(gateway.asked) == 2


def test_a_state_holds_no_values(run, gateway):
    Path("f.csv").write_text(CSV + _row(1))
    done = _run(run, gateway, "f.csv", "--set", "user.phone=+14155552671", "--state", "s.json")
    assert done.exit_code == 0
    kept = Path("s.json").read_text()
    assert set(json.loads(kept)) == set(Progress.__struct_fields__)
    assert "4155552671" not in kept
    assert "example.com" not in kept


def test_two_at_once_are_one_too_many(run, gateway):
    Path("f.csv").write_text(CSV + _row(1))
    with Path("f.csv").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        done = _run(run, gateway, "f.csv")
    assert done.exit_code == 2
    assert "another process" in done.stderr


def test_standard_input_keeps_no_place(run, gateway):
    done = _run(run, gateway, "-", stdin='{"event_name": "Lead"}\n')
    assert done.exit_code == 0, done.output
    assert _events(gateway) == [{"event_name": "Lead"}]
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(("options", "again"), [((), "goes on from there"), (("--dry-run",), "begins anew")])
def test_ctrl_c_says_where_it_stopped(run, gateway, monkeypatch, options, again):
    post = Import._post

    def interrupted(self, rows):
        if rows[0][0].number > 1:
            raise KeyboardInterrupt
        return post(self, rows)

    monkeypatch.setattr(Import, "_post", interrupted)
    monkeypatch.setattr("app.cli.imports.verb.MAX_EVENTS", 3)
    monkeypatch.setattr("app.cli.imports.verb.EXPLAINED_AT_ONCE", 3)
    Path("f.csv").write_text(CSV + "".join(map(_row, range(1, 5))))
    done = _run(run, gateway, "f.csv", *options)
    assert done.exit_code == 130
    assert f"stopped after 3 row(s): the same command {again}" in done.stderr


# --- a gateway that cannot take it now


def test_a_busy_gateway_is_waited_for(run, gateway, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("app.cli.client.time.sleep", waited.append)
    Path("f.csv").write_text(CSV + _row(1))
    gateway.script = [(503, {"retry-after": "7"}, b"{}"), (429, {"retry-after": "3"}, b"{}"), (503, {}, b"{}")] * 4
    done = _run(run, gateway, "f.csv")
    assert done.exit_code == 0, done.output
    assert waited[:2] == [7, 3]
    assert len(gateway.asked) == 13


def test_patience_ends(run, gateway, monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr("app.cli.client.time.sleep", waited.append)
    Path("f.csv").write_text(CSV + _row(1))
    gateway.close()
    done = _run(run, gateway, "f.csv", "--patience", "2m")
    assert done.exit_code == 1
    assert "no gateway answers" in done.stderr
    assert "the same command goes on" in done.stderr
    assert 120 <= sum(waited) < 160


def test_requests_become_as_small_as_the_gateway_wants_them(run, gateway):
    def answer(read):
        return accepted(read) if len(read["events"]) <= 3 else (413, {}, b'{"status": 413}')

    gateway.answer = answer
    Path("f.csv").write_text(CSV + "".join(map(_row, range(1, 9))))
    assert _run(run, gateway, "f.csv").exit_code == 0
    taken = [read["events"] for _, _, _, read in gateway.asked if len(read["events"]) <= 3]
    assert sorted(event["transaction_id"] for events in taken for event in events) == [f"T-{n}" for n in range(1, 9)]


def test_a_row_that_is_too_much_alone(run, gateway):
    gateway.answer = lambda _: (413, {}, b'{"status": 413}')
    Path("f.csv").write_text(CSV + _row(1) + _row(2))
    assert _run(run, gateway, "f.csv").exit_code == 1
    assert [row[4] for row in _errors()] == ["too_large", "too_large"]


def test_a_dry_run_keeps_nothing(run, gateway):
    gateway.answer = lambda read: (200, {}, accepted(read)[2])
    Path("f.csv").write_text(CSV + "".join(map(_row, range(1, 151))) + "x\n")
    done = _run(run, gateway, "f.csv", "--dry-run")
    assert done.exit_code == 1
    assert "151 row(s) would be: 150 accepted, 1 invalid" in done.stdout
    assert {path for _, path, _, _ in gateway.asked} == {"/v1/events/explain"}
    assert sorted(path.name for path in Path().iterdir()) == ["f.csv", "f.csv.dry-run.errors.csv"]


# --- headers and options


def test_every_known_path_is_one():
    for path in known_paths():
        assert spell(parse_path(path)) == path


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("email", "did you mean user.email?"),
        ("user.e-mail", "did you mean user.email?"),
        ("value", "did you mean custom_data.value?"),
        ("user", ""),
        ("custom_data.contents", ""),
        ("custom_data.properties", ""),
        ("custom_data.contents.id", "did you mean custom_data.contents.0.id?"),
        ("custom_data.contents.200.id", ""),
        ("event_name.x", ""),
        ("user.email.0.1", ""),
        ("", ""),
    ],
)
def test_what_is_no_field_is_refused_with_a_hint(name, hint):
    with pytest.raises(ValueError, match="is no field of an event") as caught:
        parse_path(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("header", "maps", "words"),
    [
        (["event_name", "E-Mail"], {}, "column 2 (E-Mail)"),
        (["event_name", "event_name"], {}, "several columns are event_name"),
        (["user.email", "user.email.0"], {}, "both a column and the beginning of another"),
        (["event_name", ""], {}, "column 2 has no name"),
        (["event_name"], {"Mail": "user.email"}, "there is no column 'Mail'"),
    ],
)
def test_headers_that_cannot_be_used(header, maps, words):
    with pytest.raises(FileError, match="--map") as caught:
        columns_of(header, maps)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.csv"], "cannot be read"),
        (["f.csv", "--set", "nonsense=1"], "--set nonsense"),
        (["f.csv", "--set", "event_name"], "needs a field and a value"),
        (["f.csv", "--map", "event_name"], "--map needs"),
        (["f.csv", "--timezone", "Mars/Olympus"], "no such time zone"),
        (["f.csv", "--delimiter", ";;"], "--delimiter"),
        (["f.csv", "--encoding", "klingon"], "no such encoding"),
        (["f.csv", "--format", "xlsx"], "csv or ndjson"),
        (["f.csv", "--patience", "10"], "--patience"),
        (["list.json"], "convey send"),
        (["empty.csv"], "no header"),
        (["other.csv", "--ignore-unknown"], "no column is a field"),
        (["f.csv", "--state", "missing/s.json"], "cannot be written"),
    ],
)
def test_what_cannot_be_used_ends_with_2(run, gateway, arguments, words):
    Path("f.csv").write_text(CSV + _row(1))
    Path("list.json").write_text('[{"event_name": "Lead"}]')
    Path("empty.csv").write_text("\n")
    Path("other.csv").write_text("a,b\n1,2\n")
    done = _run(run, gateway, *arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
