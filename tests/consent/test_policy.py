"""The decision table, cell by cell: what each signal leads to in each regime."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.consent.codes import Code, Malformed
from app.consent.jurisdiction import Place, Regime, in_country, place, regime_of, settle
from app.consent.needs import ConsentNeeds, ConsentOptions, policy_version
from app.consent.policy import ConsentDecision, decide
from app.consent.signals import read_signals
from app.consent.table import DECIDED_AT, LISTED_SITUATIONS, SITUATIONS, in_words, rows
from app.consent.vendors import MAX_AGE_DAYS, vendors
from app.destinations.registry import destinations
from app.errors import REASONS, Outcome, Reason
from app.model import ConsentFacts
from app.wire import Consent
from tests.consent.support import CANADA_HEAD, fibonacci, header, pack, vectors

NOW = datetime(2026, 11, 20, tzinfo=UTC)
META = ConsentNeeds()
GOOGLE = ConsentNeeds(gvl_id=755, has_consent_states=True)
REGIONAL = ConsentOptions(policy="regional")
STRICT = ConsentOptions()
STATES = ("ad_storage", "ad_user_data", "ad_personalization")
GRANTED = dict.fromkeys(STATES, True)
TCF = {vector["name"]: vector["string"] for vector in vectors("tcf")["valid"]}
GPP = {vector["name"]: vector for vector in vectors("gpp")["valid"]}
MALFORMED_TCF = {v["name"]: v for v in vectors("tcf")["malformed"]}


def decided(
    consent: dict[str, Any],
    where: str | None = "DE",
    needs: ConsentNeeds = META,
    options: ConsentOptions = REGIONAL,
    collected_at: datetime | Malformed | None = None,
) -> ConsentDecision:
    """What is decided about a consent object in a place."""
    signals, _ = read_signals(Consent.model_validate(consent), collected_at)
    judged = settle([place(where)], None, options.opt_in, options.opt_out)
    return decide(signals, needs, options, judged, NOW)


def short(decision: ConsentDecision) -> str:
    """`CODE`, with ! when denied and ~ when limited."""
    assert decision.reason is None or decision.reason in REASONS[Outcome.DENIED]
    assert (decision.reason is None) is (decision.outcome is Outcome.QUEUED)
    mark = "!" if decision.outcome is Outcome.DENIED else "~" if decision.limited else ""
    return f"{mark}{decision.detail}"


# Situation: under strict; then under regional where consent is needed or nobody knows, where people opt out, by notice.
TABLE = """
nothing said | !NO_SIGNAL | !NO_SIGNAL | ~US_NO_SIGNAL | !REGIME_DEFAULT
purposes: all allowed | MAP_GRANTED | MAP_GRANTED | MAP_GRANTED | MAP_GRANTED
purposes: one refused | !MAP_DENIED | !MAP_DENIED | !MAP_DENIED | !MAP_DENIED
purposes: key missing | !MAP_KEY_MISSING | !MAP_KEY_MISSING | ~US_NO_SIGNAL | !MAP_KEY_MISSING
purposes: no boolean | !MAP_MALFORMED | !MAP_MALFORMED | ~MAP_MALFORMED | !MAP_MALFORMED
three booleans: all true | CM_GRANTED | CM_GRANTED | CM_GRANTED | CM_GRANTED
three booleans: only personalisation false | !CM_DENIED | !CM_DENIED | ~CM_GRANTED_NO_PERSONALIZATION | !CM_DENIED
three booleans: user data false | !CM_DENIED | !CM_DENIED | !CM_DENIED | !CM_DENIED
three booleans: one absent | !CM_UNSET | !CM_UNSET | ~US_NO_SIGNAL | !CM_UNSET
three booleans: one no boolean | !CM_MALFORMED | !CM_MALFORMED | ~CM_MALFORMED | !CM_MALFORMED
gcd: all granted by the user | CM_GRANTED | CM_GRANTED | CM_GRANTED | CM_GRANTED
gcd: all granted by default only | !CM_DEFAULT_ONLY | !CM_DEFAULT_ONLY | CM_GRANTED | CM_GRANTED
gcs: ad_storage granted | !CM_UNSET | CM_GRANTED | CM_GRANTED | CM_GRANTED
gcs: ad_storage denied | !CM_DENIED | !CM_DENIED | !CM_DENIED | !CM_DENIED
US Privacy: not opted out | !WRONG_REGIME_SIGNAL | !WRONG_REGIME_SIGNAL | US_NOT_OPTED_OUT | !REGIME_DEFAULT
US Privacy: opted out | !WRONG_REGIME_SIGNAL | !WRONG_REGIME_SIGNAL | ~US_OPTED_OUT | !US_OPTED_OUT
US Privacy: no notice | !WRONG_REGIME_SIGNAL | !WRONG_REGIME_SIGNAL | ~US_NO_NOTICE | !REGIME_DEFAULT
US Privacy: not applicable | !WRONG_REGIME_SIGNAL | !WRONG_REGIME_SIGNAL | ~US_NOT_APPLICABLE | !REGIME_DEFAULT
US Privacy: unreadable | !USP_MALFORMED | !USP_MALFORMED | ~USP_MALFORMED | !USP_MALFORMED
GPC alone                                 | !NO_SIGNAL          | !NO_SIGNAL          | ~US_GPC_OPT_OUT     | !GPC
GPC beside a consent                      | !GPC                | GRANTED_GPC_PRESENT | ~US_GPC_OPT_OUT     | !GPC
opted out beside a consent | !SIGNALS_CONTRADICT | !SIGNALS_CONTRADICT | ~US_OPTED_OUT | !SIGNALS_CONTRADICT
OneTrust: group on, banner answered | OT_GRANTED | OT_GRANTED | OT_GRANTED | OT_GRANTED
OneTrust: group on, banner not answered | !OT_NO_INTERACTION | !OT_NO_INTERACTION | OT_GRANTED | OT_GRANTED
OneTrust: group off | !OT_DENIED | !OT_DENIED | ~OT_DENIED | !OT_DENIED
Shopify: allowed | !SHOPIFY_DENIED | !SHOPIFY_DENIED | SHOPIFY_GRANTED | SHOPIFY_GRANTED
Shopify: refused | !SHOPIFY_DENIED | !SHOPIFY_DENIED | ~SHOPIFY_DENIED | !SHOPIFY_DENIED
two signals disagree | !SIGNALS_CONTRADICT | !SIGNALS_CONTRADICT | !MAP_DENIED | !SIGNALS_CONTRADICT
a consent beside an unreadable signal | !TCF_BAD_ALPHABET | !TCF_BAD_ALPHABET | ~TCF_BAD_ALPHABET | !TCF_BAD_ALPHABET
a consent collected 14 months ago | !SIGNAL_STALE | !SIGNAL_STALE | ~SIGNAL_STALE | !SIGNAL_STALE
a child without consent | !CHILD_NO_CONSENT | !CHILD_NO_CONSENT | !CHILD_NO_CONSENT | !CHILD_NO_CONSENT
"""
CELLS = {
    line.split("|")[0].strip(): [cell.strip() for cell in line.split("|")[1:]] for line in TABLE.strip().splitlines()
}


def test_the_table_has_every_situation() -> None:
    assert list(CELLS) == list(SITUATIONS)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_each_cell_of_the_table(situation: str) -> None:
    strict, *regional = CELLS[situation]
    only = {situation: SITUATIONS[situation]}
    assert [short(row.decision) for row in rows(STRICT, META, NOW, only)] == [strict] * 4
    assert [short(row.decision) for row in rows(REGIONAL, META, NOW, only)] == [*regional, regional[0]]


STRINGS = """
TC string: Google and all purposes allowed                  | TCF_GRANTED | TCF_GRANTED | TCF_GRANTED
TC string: measurement only (purposes 1, 7, 9, 10)          | ~TCF_GRANTED_NO_PERSONALIZATION | = | =
TC string: purposes allowed, Google refused                 | !TCF_VENDOR_DENIED | ~ | !
TC string: everything refused                               | !TCF_VENDOR_DENIED | ~ | !
TC string: older than 395 days                              | !TCF_STALE | ~TCF_STALE | !TCF_STALE
TC string of today without disclosed vendors                | !TCF_DISCLOSED_SEGMENT_MISSING | ~ | !
TC string: cut off                                          | !TCF_TRUNCATED | ~TCF_TRUNCATED | !TCF_TRUNCATED
TC string beside three booleans, all true                   | CM_GRANTED | CM_GRANTED | CM_GRANTED
GPP string: a TC string that allows                         | TCF_GRANTED | TCF_GRANTED | TCF_GRANTED
GPP string: California, not opted out                       | !WRONG_REGIME_SIGNAL | US_NOT_OPTED_OUT | !REGIME_DEFAULT
GPP string: California, opted out of sale                   | !WRONG_REGIME_SIGNAL | ~US_OPTED_OUT | !US_OPTED_OUT
GPP string: California, not opted out, browser's control on | !WRONG_REGIME_SIGNAL | ~US_GPC_OPT_OUT | !GPC
GPP string: national, a child without consent               | !CHILD_NO_CONSENT | = | =
GPP string: cut off                                         | !GPP_TRUNCATED | ~GPP_TRUNCATED | !GPP_TRUNCATED
"""
"""At Google under `regional`: consent first or unknown, opt-out, notice. `=` is the first cell, a mark its code."""


def test_each_cell_of_the_table_of_strings() -> None:
    found: dict[str, list[str]] = {}
    for row in rows(REGIONAL, GOOGLE, DECIDED_AT, LISTED_SITUATIONS):
        found.setdefault(row.situation, []).append(short(row.decision))
    expected = {}
    for line in STRINGS.strip().splitlines():
        situation, first, *others = (cell.strip() for cell in line.split("|"))
        code = first.lstrip("!~")
        cells = [first, *(first if cell == "=" else cell + code if cell in {"~", "!"} else cell for cell in others)]
        expected[situation] = [*cells, first]
    assert found == expected


def test_a_decision_in_words() -> None:
    assert in_words(decided(GRANTED)) == "queued (CM_GRANTED)"
    assert in_words(decided({}, "US")) == "queued, limited (US_NO_SIGNAL)"
    assert in_words(decided({})) == "denied: consent_missing (NO_SIGNAL)"


# --- TC strings ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", vectors("tcf")["valid"], ids=lambda vector: vector["name"])
@pytest.mark.parametrize("field", ["tcf", "gpp"])
@pytest.mark.parametrize("options", [STRICT, REGIONAL], ids=["strict", "regional"])
def test_a_tc_string_at_google_as_the_vectors_say(vector: dict[str, Any], field: str, options: ConsentOptions) -> None:
    said = vector["evaluate_at_2026_11_20"]
    text = vector["string"] if field == "tcf" else "DBABMA~" + vector["string"]
    decision = decided({field: text}, "DE", GOOGLE, options)
    marks = {"forward": "", "forward_limited": "~", "drop": "!"}
    assert short(decision) == marks[said["google_755_action"]] + said["google_755_reason"]


@pytest.mark.parametrize("vector", vectors("tcf")["malformed"], ids=lambda vector: vector["name"])
@pytest.mark.parametrize("options", [STRICT, REGIONAL], ids=["strict", "regional"])
def test_a_malformed_tc_string_permits_nothing(vector: dict[str, Any], options: ConsentOptions) -> None:
    is_empty = vector["expect_error"] == "TCF_EMPTY"
    assert short(decided({"tcf": vector["string"]}, "DE", GOOGLE, options)) == (
        "!NO_SIGNAL" if is_empty else f"!{vector['expect_error']}"
    )
    beside = decided({"tcf": vector["string"], **GRANTED}, "DE", GOOGLE, options)
    assert short(beside) == ("CM_GRANTED" if is_empty else f"!{vector['expect_error']}")
    ignoring = replace(options, on_invalid="ignore")
    assert short(decided({"tcf": vector["string"], **GRANTED}, "DE", GOOGLE, ignoring)) == "CM_GRANTED"


FULL, REJECTED = TCF["google_only_consent_v23"], TCF["reject_all_disclosed"]
MEASURED = TCF["measurement_only_1_7_9_10"]


@pytest.mark.parametrize(
    ("consent", "needs", "expected"),
    [
        ({"tcf": FULL}, META, "!TCF_NO_VENDOR_BASIS"),
        ({"tcf": REJECTED}, META, "!TCF_NO_VENDOR_BASIS"),
        ({"tcf": FULL, **GRANTED}, META, "CM_GRANTED"),  # nobody asked about this vendor in the string
        ({"tcf": REJECTED, **GRANTED}, META, "!SIGNALS_CONTRADICT"),  # refused to everybody
        ({"tcf": FULL}, ConsentNeeds(purposes_only=True), "TCF_GRANTED"),
        ({"tcf": REJECTED}, ConsentNeeds(purposes_only=True), "!TCF_PURPOSE_DENIED"),
        ({"tcf": MEASURED}, ConsentNeeds(purposes_only=True), "!TCF_GRANTED_NO_PERSONALIZATION"),
        ({"tcf": MEASURED}, ConsentNeeds(gvl_id=755), "!TCF_GRANTED_NO_PERSONALIZATION"),
        ({"tcf": FULL, "ac": "2~89~dv."}, ConsentNeeds(ac_id=89), "AC_GRANTED"),
        ({"tcf": MEASURED, "ac": "2~89~dv."}, ConsentNeeds(ac_id=89), "!TCF_GRANTED_NO_PERSONALIZATION"),
        ({"tcf": REJECTED, "ac": "2~89~dv."}, ConsentNeeds(ac_id=89), "!TCF_PURPOSE_DENIED"),
        ({"tcf": FULL, "ac": "2~~dv.89"}, ConsentNeeds(ac_id=89), "!AC_DENIED"),
        ({"tcf": FULL, "ac": "2~1~dv.2"}, ConsentNeeds(ac_id=89), "!AC_ABSENT"),
        ({"tcf": FULL}, ConsentNeeds(ac_id=89), "!AC_ABSENT"),
        ({"tcf": FULL, "ac": "2~89"}, ConsentNeeds(ac_id=89), "!AC_MALFORMED"),
        ({"ac": "2~89~dv."}, ConsentNeeds(ac_id=89), "!AC_ABSENT"),  # nothing without a TC string
        ({"tcf": FULL, "gpp": "DBABMA~" + REJECTED}, GOOGLE, "!SIGNALS_CONTRADICT"),
        ({"gpp": "DBABMA~CQsI"}, GOOGLE, "!TCF_TRUNCATED"),
        ({"gpp": GPP["tcfeuv2_plus_usnat_plus_usca"]["string"]}, GOOGLE, "!SIGNALS_CONTRADICT"),
        ({"gpp": GPP["tcfeuv2_plus_uspv1"]["string"]}, GOOGLE, "TCF_GRANTED"),
    ],
)
def test_tc_strings_and_vendors(consent: dict[str, Any], needs: ConsentNeeds, expected: str) -> None:
    assert short(decided(consent, "DE", needs)) == expected


# --- the other signals, where the table has one cell for many ------------------------------------------------------


@pytest.mark.parametrize(
    "vector", [v for v in GPP.values() if v["us_most_restrictive"]], ids=lambda vector: vector["name"]
)
def test_us_sections_limit_or_deny_as_the_vectors_say(vector: dict[str, Any]) -> None:
    decision = decided({"gpp": vector["string"]}, "US-CA", GOOGLE if "tcfeuv2" in vector["sections"] else META)
    action = "drop" if decision.outcome is Outcome.DENIED else "forward_limited" if decision.limited else "forward"
    assert action == vector["us_most_restrictive"]
    reasons = {said["reason"] for said in vector["evaluation"].values() if "reason" in said}
    assert decision.detail in reasons


@pytest.mark.parametrize("vector", vectors("gpp")["malformed"], ids=lambda vector: vector["name"])
def test_a_malformed_gpp_string_counts_as_an_opt_out_and_vetoes_a_consent(vector: dict[str, Any]) -> None:
    if vector["expect"] in {"GPP_EMPTY", "OK_AFTER_STRIP"}:
        return
    assert short(decided({"gpp": vector["string"], **GRANTED}, "US-CA")) == f"~{vector['expect']}"
    assert short(decided({"gpp": vector["string"], **GRANTED}, "DE")) == f"!{vector['expect']}"


CANADIAN = "DBABDA~BQuA89TQuA89TEsAHAFRAsCAAAAAAIQAAAAAAvOACgCYAAA.YAAAAAAAAAA.IHtQAkATFVg"


@pytest.mark.parametrize(
    ("where", "needs", "expected"),
    [
        ("CA-QC", GOOGLE, "!TCFCA_DENIED"),
        ("CA", GOOGLE, "!TCFCA_DENIED"),  # it may have been Quebec
        ("CA-QC", META, "!TCF_NO_VENDOR_BASIS"),
        ("CA-ON", GOOGLE, "!REGIME_DEFAULT"),
        ("DE", GOOGLE, "!NO_SIGNAL"),
    ],
)
def test_canada_s_section_speaks_of_quebec_only(where: str, needs: ConsentNeeds, expected: str) -> None:
    assert short(decided({"gpp": CANADIAN}, where, needs)) == expected


def test_express_consent_in_quebec() -> None:
    express = sum(1 << (24 - purpose) for purpose in (1, 3, 4, 7))
    google = ((755, 16), (1, 1), (1, 12), (0, 1), *fibonacci(755))
    core = pack((1, 6), *CANADA_HEAD[:-2], (express, 24), (0, 24), *google, (0, 16), (0, 1))
    disclosed = pack((1, 3), *google)
    assert short(decided({"gpp": f"{header(5)}~{core}.{disclosed}"}, "CA-QC", GOOGLE)) == "TCFCA_GRANTED"
    assert short(decided({"gpp": f"{header(5)}~{core}"}, "CA-QC", GOOGLE)) == "!TCFCA_DENIED"


@pytest.mark.parametrize(
    ("groups", "options", "expected"),
    [
        ("C0004:1", REGIONAL, "!OT_NO_INTERACTION"),  # nothing says that the banner was answered
        ("C0004:1", replace(REGIONAL, onetrust_interaction="assumed"), "OT_GRANTED"),
        (
            {"groups": "C0004:1", "interactionCount": 0},
            replace(REGIONAL, onetrust_interaction="assumed"),
            "!OT_NO_INTERACTION",
        ),
        ("C0001:1", REGIONAL, "!OT_DENIED"),
        (",C0001,", REGIONAL, "!OT_DENIED"),
        ({"groups": "C0004:1", "interactionCount": 1, "isGpcEnabled": "1"}, REGIONAL, "GRANTED_GPC_PRESENT"),
        ({"groups": "C0004:1", "interactionCount": 1, "isGpcEnabled": "1"}, STRICT, "!GPC"),
    ],
)
def test_onetrust(groups: Any, options: ConsentOptions, expected: str) -> None:
    assert short(decided({"onetrust_groups": groups}, options=options)) == expected


def test_every_group_and_every_purpose_of_a_destination_is_needed() -> None:
    needs = ConsentNeeds(purposes=("ads", "measurement"), onetrust_groups=("C0002", "C0004"))
    answered = {"interactionCount": 1}
    assert short(decided({"purposes": {"ads": True, "measurement": True}}, needs=needs)) == "MAP_GRANTED"
    assert short(decided({"purposes": {"ads": True, "measurement": False}}, needs=needs)) == "!MAP_DENIED"
    assert short(decided({"purposes": {"ads": True}}, needs=needs)) == "!MAP_KEY_MISSING"
    assert short(decided({"onetrust_groups": {"groups": "C0002:1,C0004:1", **answered}}, needs=needs)) == "OT_GRANTED"
    assert short(decided({"onetrust_groups": {"groups": "C0002:0,C0004:1", **answered}}, needs=needs)) == "!OT_DENIED"


@pytest.mark.parametrize(
    ("banner", "where", "expected"),
    [({"DE"}, "DE", "SHOPIFY_GRANTED"), ({"FR"}, "DE", "!SHOPIFY_DENIED"), ({"DE"}, None, "!SHOPIFY_DENIED")],
)
def test_shopify_counts_where_its_banner_is_shown(banner: set[str], where: str | None, expected: str) -> None:
    options = replace(REGIONAL, shopify_banner=frozenset(banner))
    allowed = {"marketingAllowed": True, "saleOfDataAllowed": True}
    assert short(decided({"shopify": allowed}, where, options=options)) == expected
    assert short(decided({"shopify": {"marketingAllowed": True}}, where, options=options)) == "!SHOPIFY_DENIED"


@pytest.mark.parametrize(
    ("consent", "where", "expected"),
    [
        ({**GRANTED, "ad_personalization": False}, "DE", "~CM_GRANTED_NO_PERSONALIZATION"),
        ({**GRANTED, "ad_personalization": False, "purposes": {"ads": True}}, "DE", "~CM_GRANTED_NO_PERSONALIZATION"),
        ({**GRANTED, "ad_user_data": False}, "DE", "!CM_DENIED"),
        ({"gcd": "13r3r3r3u5l1"}, "DE", "~CM_GRANTED_NO_PERSONALIZATION"),
        ({"gcd": "13t3t3t3u5l1"}, "DE", "!CM_DENIED"),  # and the rest was never asked
        ({"gcd": "13l3l3l3l5l1"}, "DE", "!CM_UNSET"),
        ({"gcs": "G1--"}, "DE", "!CM_UNSET"),
        ({"gcs": "G101", **GRANTED}, "DE", "!SIGNALS_CONTRADICT"),
        ({"gcs": "G111", "ad_storage": True}, "DE", "!CM_UNSET"),  # what knows more is asked instead
    ],
)
def test_consent_states_at_a_platform_that_can_be_told_of_them(
    consent: dict[str, Any], where: str, expected: str
) -> None:
    assert short(decided(consent, where, GOOGLE)) == expected


# --- age ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("collected_at", "expected"),
    [
        (NOW, "CM_GRANTED"),
        (NOW - timedelta(days=395), "CM_GRANTED"),
        (NOW - timedelta(days=395, seconds=1), "!SIGNAL_STALE"),
        (Malformed(Code.COLLECTED_AT_MALFORMED), "!COLLECTED_AT_MALFORMED"),
    ],
)
def test_a_consent_holds_for_thirteen_months(collected_at: Any, expected: str) -> None:
    assert short(decided(GRANTED, collected_at=collected_at)) == expected


def test_an_old_no_is_still_a_no() -> None:
    old = NOW - timedelta(days=800)
    assert short(decided({"purposes": {"ads": False}}, collected_at=old)) == "!MAP_DENIED"
    assert short(decided({"us_privacy": "1YYN"}, "US", collected_at=old)) == "~US_OPTED_OUT"


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "consent", "where", "expected"),
    [
        ({"opt_out_action": "deny"}, {"us_privacy": "1YYN"}, "US", "!US_OPTED_OUT"),
        ({"opt_out_action": "deny"}, {"gpc": True}, "US", "!US_GPC_OPT_OUT"),
        ({"opt_out_action": "deny"}, {"us_privacy": "1YNN"}, "US", "US_NOT_OPTED_OUT"),
        ({"opt_out_default": "deny"}, {}, "US", "!US_NO_SIGNAL"),
        ({"opt_out_default": "forward"}, {}, "US", "US_NO_SIGNAL"),
        ({"notice_default": "forward"}, {}, "JP", "REGIME_DEFAULT"),
        ({"notice_default": "forward"}, {"us_privacy": "1YYN"}, "JP", "!US_OPTED_OUT"),
        ({"notice_default": "forward"}, {"gpc": True}, "JP", "!GPC"),
        ({"gpc_in_opt_in": "deny"}, {**GRANTED, "gpc": True}, "DE", "!GPC"),
        ({"gpc_in_opt_in": "allow"}, {**GRANTED, "gpc": True}, "JP", "GRANTED_GPC_PRESENT"),
        ({"gpc_in_opt_in": "allow", "policy": "strict"}, {**GRANTED, "gpc": True}, "US", "GRANTED_GPC_PRESENT"),
        ({"opt_in": frozenset({"JP"})}, {}, "JP", "!NO_SIGNAL"),
        ({"opt_out": frozenset({"JP"})}, {}, "JP", "~US_NO_SIGNAL"),
        ({"opt_out": frozenset()}, {}, "US", "!REGIME_DEFAULT"),
        ({"on_invalid": "ignore"}, {"tcf": "x"}, "DE", "!TCF_UNSUPPORTED_VERSION"),
    ],
)
def test_settings(over: dict[str, Any], consent: dict[str, Any], where: str, expected: str) -> None:
    assert short(decided(consent, where, options=replace(REGIONAL, **over))) == expected


def test_a_destination_may_be_stricter_than_the_source_or_refuse_limits() -> None:
    assert short(decided({}, "US", ConsentNeeds(policy="strict"))) == "!NO_SIGNAL"
    assert short(decided({}, "US", ConsentNeeds(policy="regional"), STRICT)) == "~US_NO_SIGNAL"
    assert short(decided({}, "US", ConsentNeeds(uses_limited=False))) == "!US_NO_SIGNAL"


def test_the_policy_s_name_changes_with_whatever_could_change_a_decision() -> None:
    needs = [("meta", META), ("google", GOOGLE)]
    names = {
        policy_version(REGIONAL, needs),
        policy_version(STRICT, needs),
        policy_version(REGIONAL, needs[:1]),
        policy_version(REGIONAL, [("meta", GOOGLE), ("google", META)]),
        policy_version(replace(REGIONAL, max_age=timedelta(days=30)), needs),
        policy_version(replace(REGIONAL, opt_in=frozenset({"JP"})), needs),
        policy_version(replace(REGIONAL, default_place=Place("DE")), needs),
    }
    assert len(names) == 7
    assert policy_version(ConsentOptions(policy="regional"), list(needs)) in names


# --- what a platform is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("consent", "where", "facts"),
    [
        (GRANTED, "DE", (True, True)),
        ({**GRANTED, "ad_personalization": False}, "DE", (True, False)),
        ({"tcf": FULL}, "DE", (True, True)),
        ({"tcf": MEASURED}, "DE", (True, False)),
        ({"gcs": "G111"}, "DE", (None, None)),  # storage only: nobody spoke of user data
        ({"gcs": "G111", "purposes": {"ads": True}}, "DE", (True, True)),
        ({"us_privacy": "1YNN"}, "US", (None, None)),  # not opted out is no consent
        ({"us_privacy": "1YYN"}, "US", (None, False)),
        ({"us_privacy": "1YYN", **GRANTED}, "US", (True, False)),
        ({"us_privacy": "1YNN", **GRANTED}, "US", (True, True)),
        ({**GRANTED, "ad_personalization": False}, "US", (True, False)),
        ({}, "US", (None, False)),
    ],
)
def test_a_platform_is_told_of_a_consent_only_where_there_was_one(
    consent: dict[str, Any], where: str, facts: tuple[bool | None, bool | None]
) -> None:
    decision = decided(consent, where, GOOGLE)
    assert decision.outcome is Outcome.QUEUED
    assert decision.facts == ConsentFacts(*facts)


# --- where ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DE", Place("DE")),
        (" us-ca ", Place("US", "CA")),
        ("US_CA", Place("US", "CA")),
        ("EEA", Place("DE")),
        ("eu", Place("DE")),
        ("UK", Place("GB")),
        ("JE", Place("GB")),
        ("RE", Place("FR")),
        ("AX", Place("FI")),
        ("EL", Place("GR")),
        ("XX", None),
        ("ZZ", None),
        ("Germany", None),
        ("D", None),
        ("US-", None),
        ("", None),
        (None, None),
        ("ＤＥ", None),
    ],
)
def test_places(text: str | None, found: Place | None) -> None:
    assert place(text) == found


def test_a_region_is_taken_where_it_is_a_code_or_quebec() -> None:
    assert in_country("ca", "Québec") == Place("CA", "QC")
    assert in_country("ca", "on") == Place("CA", "ON")
    assert in_country("us", "California") == Place("US")
    assert in_country("de", None) == Place("DE")


@pytest.mark.parametrize(
    ("where", "regime"),
    [
        *((code, Regime.OPT_IN) for code in "DE FR IS LI NO GB CH BR TR KR CA-QC CA JE GP".split()),
        *((code, Regime.OPT_OUT) for code in "US US-CA US-TX".split()),
        *((code, Regime.NOTICE) for code in "JP AU CA-ON MX".split()),
    ],
)
def test_regimes(where: str, regime: Regime) -> None:
    found = place(where)
    assert found is not None
    assert regime_of(found, REGIONAL.opt_in, REGIONAL.opt_out) is regime


def test_consent_stays_needed_in_europe_whatever_is_configured() -> None:
    assert regime_of(Place("DE"), frozenset(), frozenset({"DE"})) is Regime.OPT_IN


@pytest.mark.parametrize(
    ("stated", "default", "regime"),
    [
        (["US"], "DE", Regime.OPT_OUT),
        ([], "US", Regime.OPT_OUT),
        ([], None, Regime.UNKNOWN),
        (["US", "DE"], None, Regime.OPT_IN),
        (["US", "JP"], None, Regime.NOTICE),
        (["US", "nowhere"], None, Regime.UNKNOWN),
    ],
)
def test_of_several_places_the_strictest_counts(stated: list[str], default: str | None, regime: Regime) -> None:
    found = settle([place(text) for text in stated], place(default), REGIONAL.opt_in, REGIONAL.opt_out)
    assert found[0] is regime


# --- the lists --------------------------------------------------------------------------------------------------------


def test_the_lists_of_vendors_were_looked_at_lately() -> None:
    """Look again at IAB Europe's and Google's lists, correct `vendors.toml`, and set its `checked_on`."""
    assert (datetime.now(UTC).date() - vendors().checked_on).days <= MAX_AGE_DAYS


def test_every_platform_was_looked_up() -> None:
    assert set(destinations()) <= set(vendors().by_platform)
    assert vendors().of("google").gvl_id == 755
    assert all(vendors().of(name).gvl_id is None for name in ("meta", "tiktok", "pinterest", "snapchat", "acme"))
    assert all(vendor.note for vendor in vendors().by_platform.values())
    assert vendors().of("acme").ac_id is None


def test_reasons_are_those_of_the_design() -> None:
    assert decided({"tcf": FULL}).reason is Reason.CONSENT_VENDOR_MISSING
    assert decided({"tcf": REJECTED}, needs=ConsentNeeds(purposes_only=True)).reason is Reason.CONSENT_PURPOSE_MISSING
    assert decided({"tcf": TCF["stale_14_months"]}, needs=GOOGLE).reason is Reason.SIGNAL_MALFORMED
