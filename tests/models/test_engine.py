"""The engine: every question is paid once, whoever asks, whatever fails, whenever somebody is cancelled."""

import asyncio
import collections
import contextlib
import gc
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engine import Engine, EngineError, Identity, Message, MissingCall, Prompt, Reply, Sampling, Ticket
from models.refs import EngineSpec, open_backend
from storage.ledger import open_ledger
from tests.fake_openai import FakeOpenAI, Fault, ask, vector_of

SAMPLING = Sampling(max_tokens=50)


def user(text: str) -> Prompt:
    return Prompt(messages=(Message("user", text),))


@pytest.fixture
def server():
    with FakeOpenAI() as running:
        yield running


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


@contextlib.asynccontextmanager
async def engine_of(server: FakeOpenAI, ledger, replay: bool = False, **options):
    ref = f"replay:{server.ref}" if replay else server.ref
    backend = open_backend(EngineSpec(ref=ref, revision="test", attempts=1, backoff_s=0))
    try:
        yield Engine(backend, ledger, **options)
    finally:
        await backend.close()


async def draw(engine: Engine, prompt: Prompt, n: int = 1) -> list[Reply]:
    return [reply async for reply in engine.sample(prompt, n, SAMPLING)]


def run(server, ledger, use, **options):
    async def go():
        async with engine_of(server, ledger, **options) as engine:
            return await use(engine)

    return asyncio.run(go())


def test_what_was_asked_once_is_never_asked_again(server, ledger):
    first = run(server, ledger, lambda e: draw(e, user("a"), 4))
    again = run(server, ledger, lambda e: draw(e, user("a"), 4))
    assert first == again
    assert len({r.text for r in first}) == 4
    assert server.stats()["calls"] == 4


def test_sixteen_after_eight_asks_eight(server, ledger):
    eight = run(server, ledger, lambda e: draw(e, user("a"), 8))
    assert run(server, ledger, lambda e: draw(e, user("a"), 16))[:8] == eight
    assert server.stats()["calls"] == 16


def test_streams_draw_independently_and_everything_that_changes_a_reply_is_asked_anew(server, ledger):
    def ask_with(sampling=SAMPLING, prompt=user("a"), revision="r", stream="main"):
        async def go():
            backend = open_backend(EngineSpec(ref=server.ref, revision=revision))
            async for _ in Engine(backend, ledger, stream=stream).sample(prompt, 1, sampling):
                pass
            await backend.close()

        asyncio.run(go())
        return server.stats()["calls"]

    assert ask_with() == ask_with() == 1
    changed = [
        {"stream": "eval"}, {"revision": "r2"}, {"prompt": user("a ")}, {"prompt": Prompt(text="a")},
        {"prompt": Prompt(messages=(Message("system", "s"), Message("user", "a")))},
        *({"sampling": SAMPLING.model_copy(update=u)} for u in ({"temperature": 0.5}, {"top_p": 0.5}, {"max_tokens": 9}, {"stop": ("x",)})),
    ]  # fmt: skip
    assert [ask_with(**change) for change in changed] == list(range(2, 2 + len(changed)))


def test_the_ledger_row_says_who_asked_what_of_whom(server, ledger):
    [reply] = run(server, ledger, lambda e: draw(e, user("a")), ticket=Ticket("run7", "tiny.solve"), stream="s")
    call = ledger.get([reply.call_id])[reply.call_id]
    assert (call.kind, call.model, call.run_id, call.stage, call.finish_reason) == ("generate", "m@test", "run7", "tiny.solve", "stop")
    assert call.request["draw"] == ["s", 0]
    assert call.seed == server.stats()["last_requests"][-1]["seed"] < 2**31
    assert (call.prompt_tokens, call.completion_tokens) == (reply.prompt_tokens, reply.completion_tokens)
    assert time.time() - 60 < call.at - call.latency_s < call.at


def test_a_seed_that_was_not_sent_is_not_recorded(server, ledger):
    async def go():
        backend = open_backend(EngineSpec(ref=server.ref, revision="test", send_seed=False))
        [reply] = await draw(Engine(backend, ledger), user("a"))
        await backend.close()
        return reply.call_id

    key = asyncio.run(go())
    assert ledger.get([key])[key].seed is None


def test_if_a_draw_fails_the_others_are_kept_and_healing_costs_one_call(server, ledger):
    server.set(faults=[Fault("500", times=1)])
    with pytest.raises(EngineError, match="HTTP 500"):
        run(server, ledger, lambda e: draw(e, user("a"), 8))
    assert (server.stats()["calls"], ledger.count()) == (8, 7)
    assert len(run(server, ledger, lambda e: draw(e, user("a"), 8))) == 8
    assert server.stats()["calls"] == 9


def test_identical_questions_at_one_moment_share_one_call(server, ledger):
    server.set(latency_s=0.05)

    async def crowd(engine):
        return await asyncio.gather(*(draw(engine, user("a"), 2) for _ in range(20)))

    answers = run(server, ledger, crowd)
    assert all(a == answers[0] for a in answers)
    assert server.stats()["calls"] == 2


def test_two_engines_share_calls_under_way_when_given_one_table(server, ledger):
    server.set(latency_s=0.05)
    table: dict = {}

    async def go():
        async with engine_of(server, ledger, in_flight=table) as one, engine_of(server, ledger, in_flight=table) as other:
            await asyncio.gather(draw(one, user("a")), draw(other, user("a")))

    asyncio.run(go())
    assert server.stats()["calls"] == 1
    assert table == {}


def test_no_more_calls_are_under_way_than_concurrency_allows(server, ledger):
    server.set(latency_s=0.01)
    run(server, ledger, lambda e: asyncio.gather(*(draw(e, user(f"p{i}"), 3) for i in range(8))), concurrency=4)
    assert server.stats()["most_in_flight"] <= 4


@pytest.mark.parametrize("who_leaves", ["the first", "the last", "all"])
def test_a_cancelled_waiter_leaves_the_call_to_the_others(server, ledger, who_leaves):
    server.set(latency_s=0.5)

    async def go(engine):
        tasks = [asyncio.create_task(draw(engine, user("a"))) for _ in range(3)]
        while not server.stats()["in_flight"]:
            await asyncio.sleep(0.005)
        leaving = {"the first": tasks[:1], "the last": tasks[2:], "all": tasks}[who_leaves]
        for task in leaving:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        left = [isinstance(r, asyncio.CancelledError) for r in results]
        return left == [t in leaving for t in tasks], await draw(engine, user("a"))

    as_expected, [reply] = run(server, ledger, go)
    assert as_expected
    assert "boxed" in reply.text
    assert server.stats()["calls"] == (2 if who_leaves == "all" else 1)


def test_who_asks_while_a_call_is_being_cancelled_gets_a_call_of_their_own(server, ledger):
    server.set(latency_s=0.05)

    async def go(engine):
        first = asyncio.create_task(draw(engine, user("a")))
        while not server.stats()["in_flight"]:
            await asyncio.sleep(0.005)
        first.cancel()
        await asyncio.wait([first])
        return await draw(engine, user("a"))

    assert "boxed" in run(server, ledger, go)[0].text


class Unsteady:
    """A backend that never says the same twice, as a server without seeds."""

    identity = Identity("unsteady", "r")
    seeded = False
    said = 0

    async def generate(self, prompt, sampling, seed):
        self.said += 1
        text = f"reply {self.said}"
        await asyncio.sleep(0.01)
        return Reply(text, "stop", 1, 2)

    async def embed(self, texts):
        self.said += 1
        vectors = [[float(self.said)] for _ in texts]
        await asyncio.sleep(0.01)
        return vectors


def test_of_two_processes_that_ask_at_once_both_go_on_with_the_reply_that_was_kept(ledger, tmp_path):
    other_ledger = open_ledger(tmp_path / "ledger.sqlite")

    async def go():
        backend = Unsteady()
        one, other = Engine(backend, ledger), Engine(backend, other_ledger)
        drawn = await asyncio.gather(draw(one, user("a"), 3), draw(other, user("a"), 3))
        return backend.said, drawn, await asyncio.gather(one.embed(["x"]), other.embed(["x"]))

    said, (first, second), vectors = asyncio.run(go())
    assert said == 6
    assert first == second
    assert vectors[0] == vectors[1]


class Broken:
    """A backend with a bug."""

    identity = Identity("broken", "r")
    seeded = True

    async def generate(self, prompt, sampling, seed):
        await asyncio.sleep(0)
        raise ZeroDivisionError("a bug") if seed % 2 else EngineError("a failure")


def test_a_bug_of_a_backend_is_raised_as_it_is_before_any_failure(ledger):
    async def go():
        async for _ in Engine(Broken(), ledger).sample(user("a"), 16, SAMPLING):
            pass

    with pytest.raises(ZeroDivisionError, match="a bug"):
        asyncio.run(go())
    assert ledger.count() == 0


def test_nobody_hears_of_failures_that_nobody_waits_for(server, ledger):
    """No `exception was never retrieved`, whoever is cancelled when."""
    complaints: list[dict] = []
    server.set(latency_s=0.004, faults=[Fault("500", contains="bad")])

    async def go():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        rng = random.Random(5)
        async with engine_of(server, ledger) as engine:
            tasks = [asyncio.create_task(draw(engine, user(rng.choice(["good", "bad"]) + str(i % 7)), 2)) for i in range(60)]
            for task in rng.sample(tasks, 40):
                await asyncio.sleep(rng.random() / 500)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert engine._in_flight == {}
            del tasks, task
        gc.collect()

    asyncio.run(go())
    gc.collect()
    assert complaints == []


questions = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4)), min_size=1, max_size=12)


@settings(max_examples=8, deadline=None)
@given(asked=questions, failing=st.sets(st.sampled_from("abcd")), seed=st.integers(0, 10**6))
def test_any_crowd_pays_each_draw_once_and_each_failure_again(asked, failing, seed):
    rng = random.Random(seed)

    async def crowd(engine):
        tasks = [asyncio.create_task(draw(engine, user(f"<{p}>"), n)) for p, n in asked]
        if rng.random() < 0.5:
            await asyncio.sleep(rng.random() / 200)
            rng.choice(tasks).cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    most = {p: max(n for q, n in asked if q == p) for p, _ in asked}
    with FakeOpenAI(latency_s=0.001) as server, tempfile.TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder) / "l.sqlite")
        server.set(faults=[Fault("500", contains=f"<{p}>") for p in sorted(failing)])
        run(server, ledger, crowd)
        paid = ledger.count()
        with FakeOpenAI() as healed:  # one of its own: the first may count a request that was cancelled on its way only now
            answers = asyncio.run(_settle(healed, ledger, most))
            assert healed.stats()["calls"] == sum(most.values()) - paid
            assert ledger.count() == sum(most.values())
            assert asyncio.run(_settle(healed, ledger, most)) == answers
            assert healed.stats()["calls"] == sum(most.values()) - paid
        ledger.close()


async def _settle(server, ledger, most):
    async with engine_of(server, ledger) as engine:
        return {p: await draw(engine, user(f"<{p}>"), n) for p, n in most.items()}


def test_a_replay_answers_from_the_ledger_and_names_what_it_lacks(server, ledger):
    asked = run(server, ledger, lambda e: draw(e, user("a"), 3))
    assert run(server, ledger, lambda e: draw(e, user("a"), 3), replay=True) == asked
    long = "What is the sum of " + "1 + " * 50
    with pytest.raises(MissingCall) as caught:
        run(server, ledger, lambda e: draw(e, user(long)), replay=True, ticket=Ticket("r", "tiny.solve"))
    assert "stage 'tiny.solve'" in str(caught.value)
    assert repr(long[:100]) in str(caught.value)
    assert server.stats()["calls"] == 3


def test_a_replay_counts_the_distinct_draws_it_lacks(server, ledger):
    async def go():
        backend = open_backend(EngineSpec(ref=f"replay:{server.ref}", revision="test"))
        engine = Engine(backend, ledger)
        for prompt, n in [("a", 4), ("a", 6), ("b", 1)]:
            with pytest.raises(MissingCall):
                await draw(engine, user(prompt), n)
        return len(backend.missing)

    run(server, ledger, lambda e: draw(e, user("a"), 2))
    assert asyncio.run(go()) == 4 + 1


def test_a_price_becomes_the_cost_of_each_call_and_no_part_of_its_key(server, ledger):
    price = EngineSpec(ref=server.ref, revision="test", price_prompt=2e6, price_reply=5e6).price
    assert EngineSpec(ref=server.ref, revision="test").price is None
    [reply] = run(server, ledger, lambda e: draw(e, user("a")), price=price)
    [cost] = ledger.cost_table()
    assert cost.cost == pytest.approx(2 * reply.prompt_tokens + 5 * reply.completion_tokens) and cost.cost > 0
    assert run(server, ledger, lambda e: draw(e, user("a"))) == [reply], "found again without the price"
    assert server.stats()["answered"] == 1


def test_scores_are_asked_once_whatever_the_stream(server, ledger):
    async def score(engine):
        return await engine.score(Prompt(text="one two"), " three four")

    first = run(server, ledger, score)
    assert run(server, ledger, score, stream="other") == first == pytest.approx([-1.6, -1.5])
    assert server.stats()["paths"] == {"/v1/completions": 1}


def test_vectors_are_asked_once_a_text_in_batches(server, ledger):
    texts = [f"text {i % 150}" for i in range(200)]
    got = run(server, ledger, lambda e: e.embed(texts))
    assert got == [vector_of(t) for t in texts]
    assert server.stats()["calls"] == 3
    run(server, ledger, lambda e: e.embed([*texts, "new"]))
    assert server.stats()["calls"] == 4
    assert server.stats()["last_requests"][-1]["input"] == ["new"]


def test_a_failing_batch_of_vectors_keeps_the_others(server, ledger):
    server.set(faults=[Fault("500", times=1)])
    with pytest.raises(EngineError):
        run(server, ledger, lambda e: e.embed([str(i) for i in range(128)]))
    assert ledger.count() == 64


@pytest.mark.parametrize("bad", [{}, {"text": "a", "token_ids": (1,)}, {"text": ""}, {"messages": ()}])
def test_a_prompt_is_exactly_one_thing(bad):
    with pytest.raises(ValueError, match="exactly one of messages, text and token ids"):
        Prompt(**bad)


OWNER = """
import asyncio, sys
from pathlib import Path
from models.engine import Engine, Message, Prompt, Sampling
from models.refs import EngineSpec, open_backend
from storage.ledger import open_ledger

async def main(ref, path):
    engine = Engine(open_backend(EngineSpec(ref=ref, revision="test")), open_ledger(Path(path)), concurrency=8)
    async def one(i):
        async for _ in engine.sample(Prompt(messages=(Message("user", f"problem {i}"),)), 1, Sampling()):
            pass
    await asyncio.gather(*(one(i) for i in range(200)))

asyncio.run(main(*sys.argv[1:]))
"""


def test_after_sigkill_no_more_is_asked_again_than_was_in_flight(tmp_path):
    command = [sys.executable, "-m", "tests.fake_openai", "--latency", "0.02"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip()
            owner = [sys.executable, "-c", OWNER, f"http:{url}#m", str(tmp_path / "ledger.sqlite")]
            first = subprocess.Popen(owner)
            while ask(url, "/_stats")["answered"] < 100:
                assert first.poll() is None
                time.sleep(0.01)
            first.send_signal(signal.SIGKILL)
            first.wait()
            subprocess.run(owner, check=True)
            stats = ask(url, "/_stats")
        finally:
            server.kill()
    assert len(stats["prompts"]) == 200
    assert sum(stats["prompts"].values()) - 200 <= 8
    assert collections.Counter(stats["prompts"].values()).keys() <= {1, 2}
