"""The limit on requests under way at one endpoint."""

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from models.limiter import Limiter, limiter_of


async def visit(limiter: Limiter, seen: list[int], hold_s: float = 0.0, number: int = 0) -> None:
    async with limiter:
        assert limiter.running <= limiter.ceiling
        seen.append(number)
        await asyncio.sleep(hold_s)


def test_no_more_run_than_allowed_and_first_come_is_first_served():
    async def go():
        limiter, seen = Limiter(3), []
        await asyncio.gather(*(visit(limiter, seen, 0.001, i) for i in range(20)))
        assert seen == list(range(20))
        assert limiter.running == 0

    asyncio.run(go())


def test_a_refusal_halves_the_limit_once_a_burst_and_answers_raise_it_again():
    async def go():
        limiter = Limiter(16)
        async with limiter as first, limiter as second:
            limiter.refused(first, 0)
            limiter.refused(second, 0)
        assert limiter.limit == 8
        for _ in range(200):
            limiter.answered()
        assert limiter.limit == 16

    asyncio.run(go())


def test_it_never_falls_below_one():
    async def go():
        limiter = Limiter(4)
        for _ in range(10):
            async with limiter as at:
                limiter.refused(at, 0)
        assert limiter.limit == 1
        await visit(limiter, [])

    asyncio.run(go())


def test_nobody_is_let_through_while_the_server_asked_for_peace():
    async def go():
        limiter, seen = Limiter(4), []
        async with limiter as at:
            opened = asyncio.get_running_loop().time() + 0.049
            limiter.refused(at, 0.05)
        await visit(limiter, seen)
        assert asyncio.get_running_loop().time() >= opened

    asyncio.run(go())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_cancelled_visitors_never_lose_a_place(seed):
    async def go():
        rng, limiter, seen = random.Random(seed), Limiter(2), []
        tasks = [asyncio.create_task(visit(limiter, seen, rng.random() / 500, i)) for i in range(30)]
        for task in rng.sample(tasks, 15):
            await asyncio.sleep(rng.random() / 1000)
            task.cancel()
            if rng.random() < 0.2:
                limiter.refused(asyncio.get_running_loop().time(), 0.001)
        done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        assert limiter.running == 0
        assert not limiter._waiting
        assert all(r is None or isinstance(r, asyncio.CancelledError) for r in done)

    asyncio.run(go())


def test_all_engines_of_a_process_share_one_limit_per_endpoint_and_the_lowest_ceiling_holds():
    async def go():
        one = limiter_of("http://a/v1", 64)
        assert limiter_of("http://a/v1", 8) is one
        assert limiter_of("http://a/v1", 64).ceiling == 8
        assert limiter_of("http://b/v1", 64) is not one

    asyncio.run(go())
