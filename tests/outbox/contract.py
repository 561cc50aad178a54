"""The contract of a store engine: every engine passes `StoreContract`.

A test module for an engine subclasses it and provides the fixtures

- `store`: the engine, opened for `tests.factories.DESTINATIONS` on `clock`, keeping settled events for 7 days;
- `reopen`: ends the engine at hand, by a crash or in good order, and opens another on the same data;
- `body_count`: says how many event bodies the store keeps, or is None where the engine does not show it.
"""

from __future__ import annotations

import pytest

from tests.outbox.contract_accept import Accepting
from tests.outbox.contract_book import Noting
from tests.outbox.contract_choice import Choosing
from tests.outbox.contract_contexts import Remembering
from tests.outbox.contract_dead import Dying
from tests.outbox.contract_held import Holding
from tests.outbox.contract_ids import Identifying
from tests.outbox.contract_journal import Telling
from tests.outbox.contract_lease import Claiming
from tests.outbox.contract_memos import Minding
from tests.outbox.contract_pairs import Pairing
from tests.outbox.contract_persons import Erasing
from tests.outbox.contract_proofs import Proving
from tests.outbox.contract_recount import Recounting
from tests.outbox.contract_settle import Settling
from tests.outbox.contract_survival import Surviving
from tests.outbox.contract_tallies import Tallying
from tests.outbox.support import BodyCount


class StoreContract(
    Accepting,
    Identifying,
    Claiming,
    Choosing,
    Settling,
    Recounting,
    Dying,
    Holding,
    Telling,
    Remembering,
    Pairing,
    Minding,
    Proving,
    Erasing,
    Surviving,
    Noting,
    Tallying,
):
    """Every promise of the ports, in one class."""

    @pytest.fixture
    def body_count(self) -> BodyCount | None:
        """No bodies are shown unless the engine's module says how."""
        return None
