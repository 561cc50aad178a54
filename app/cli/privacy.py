"""`convey privacy withdraw`: consent taken back, for one person."""

from __future__ import annotations

from typing import Annotated, Any

import orjson
import typer

from app.cli.client import DEFAULT_URL, Gateway, GatewayError, Key, Url
from app.cli.output import UNUSABLE, console, fail, printable

privacy_app = typer.Typer(no_args_is_help=True, help="What a person may ask for.")


@privacy_app.command("withdraw")
def withdraw(
    email: Annotated[list[str] | None, typer.Option("--email", help="E-mail address, or its SHA-256.")] = None,
    phone: Annotated[list[str] | None, typer.Option("--phone", help="Phone number with country code.")] = None,
    external_id: Annotated[list[str] | None, typer.Option("--external-id", help="The shop's customer id.")] = None,
    destination: Annotated[
        list[str] | None, typer.Option("--destination", help="Only this destination; may be given several times.")
    ] = None,
    url: Url = DEFAULT_URL,
    key: Key = None,
) -> None:
    """Stop what is queued for a person, and what is posted later without a newer consent.

    Identifiers on a command line are seen by others on the machine; from a script, post to the gateway instead.

    Example: convey privacy withdraw --external-id cust-991
    """
    person = {"email": email, "phone": phone, "external_id": external_id}
    user = {field: values for field, values in person.items() if values}
    if not user:
        fail("name the person with --email, --phone or --external-id", UNUSABLE)
    body: dict[str, Any] = {"user": user}
    if destination:
        body["destinations"] = destination
    try:
        with Gateway(url, key) as gateway:
            answer = gateway.ask("POST", "/v1/privacy/withdrawals", body=orjson.dumps(body), takes=frozenset({200}))
    except GatewayError as error:
        fail(str(error))
    out = console()
    out.print(printable(f"withdrawn at {answer.get('withdrawn_at')} for {', '.join(answer.get('destinations') or ())}"))
    out.print(printable(f"what was being sent then has ended by {answer.get('in_flight_until')}"))
