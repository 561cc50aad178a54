"""The Redis engine between machines whose clocks disagree: leases and waits go by the server's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.errors import Status
from app.outbox.redis import RedisStore
from tests.factories import DESTINATIONS, FrozenClock, plan
from tests.outbox.support import HOUR, LEASE, SECOND, Bounded, accept, claim_ids, counts, delivered, retrying, settle
from tests.redis_server import shared_server

WRONG_BY = (timedelta(minutes=7), timedelta(minutes=-7), timedelta(days=-1), timedelta(days=1))


class Machine:
    """A gateway on a machine with its own idea of the time, over servers that have theirs."""

    def __init__(self, server: FrozenClock, wrong_by: timedelta) -> None:
        self._server = server
        self.wrong_by = wrong_by

    def now(self) -> datetime:
        """What its clock says."""
        return self._server.now() + self.wrong_by

    async def open(self) -> RedisStore:
        """Its engine."""
        url = shared_server().url
        return await RedisStore.open(url, destinations=DESTINATIONS, now=self._server.now, wall=self.now)


@pytest.mark.parametrize("wrong_by", WRONG_BY, ids=str)
class TestRedisClocks(Bounded):
    """One machine is right, the other wrong."""

    @pytest.fixture(autouse=True)
    def _empty(self) -> None:
        assert shared_server().command("FLUSHALL") == "+OK"

    async def test_what_is_accepted_is_ready_at_once(self, clock: FrozenClock, wrong_by: timedelta) -> None:
        machine = Machine(clock, wrong_by)
        store = await machine.open()
        await accept(store, plan(accepted_at=machine.now()))
        (delivery,) = await store.claim("meta", 10, LEASE)
        assert delivery.claimed_until == machine.now() + LEASE, "by the clock of whoever has to keep it"
        await store.close()

    async def test_a_lease_is_as_long_for_everybody(self, clock: FrozenClock, wrong_by: timedelta) -> None:
        wrong, right = await Machine(clock, wrong_by).open(), await Machine(clock, timedelta(0)).open()
        await accept(right, plan(accepted_at=clock.now()))
        (held,) = await wrong.claim("meta", 10, LEASE)
        clock.advance(LEASE - SECOND)
        assert await claim_ids(right) == []
        assert len(await wrong.extend([held], LEASE)) == 1
        clock.advance(LEASE - SECOND)
        assert await claim_ids(right) == []
        clock.advance(2 * SECOND)
        (again,) = await right.claim("meta", 10, LEASE)
        assert again.attempts == 1
        assert await settle(wrong, retrying(held, clock.now())) == 0
        assert await settle(right, delivered(again)) == 1
        await wrong.close()
        await right.close()

    async def test_a_retry_waits_as_long_as_was_meant(self, clock: FrozenClock, wrong_by: timedelta) -> None:
        machine = Machine(clock, wrong_by)
        wrong, right = await machine.open(), await Machine(clock, timedelta(0)).open()
        await accept(right, plan(accepted_at=clock.now()))
        (held,) = await wrong.claim("meta", 10, LEASE)
        await settle(wrong, retrying(held, machine.now() + HOUR))
        clock.advance(HOUR - SECOND)
        assert await claim_ids(right) == []
        assert await claim_ids(wrong) == []
        clock.advance(SECOND)
        assert await claim_ids(right) == ["purchase_ORD-1"]
        await wrong.close()
        await right.close()

    async def test_a_step_of_the_clock_changes_no_lease(self, clock: FrozenClock, wrong_by: timedelta) -> None:
        machine = Machine(clock, timedelta(0))
        store = await machine.open()
        await accept(store, plan(accepted_at=machine.now()))
        (held,) = await store.claim("meta", 10, LEASE)
        machine.wrong_by = wrong_by
        assert await claim_ids(store) == []
        clock.advance(LEASE / 2)
        assert len(await store.extend([held], LEASE)) == 1
        assert await settle(store, delivered(held)) == 1
        assert (await accept(store, plan(accepted_at=machine.now()))).status is Status.DUPLICATE
        assert await counts(store) == {"queued": 1, "delivered": 1}
        await store.close()


class TestServersOwnClock(Bounded):
    """The real thing: a gateway that is wrong, over a server that tells the time itself."""

    @pytest.mark.parametrize("wrong_by", WRONG_BY[:2], ids=str)
    async def test_ready_at_once_and_held(self, wrong_by: timedelta) -> None:
        assert shared_server().command("FLUSHALL") == "+OK"

        def wall() -> datetime:
            return datetime.now(UTC) + wrong_by

        store = await RedisStore.open(shared_server().url, destinations=DESTINATIONS, wall=wall)
        await accept(store, plan(accepted_at=wall()))
        (held,) = await store.claim("meta", 10, LEASE)
        assert await claim_ids(store) == []
        assert await settle(store, retrying(held, wall())) == 1
        assert await claim_ids(store) == ["purchase_ORD-1"]
        await store.close()
