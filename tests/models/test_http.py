"""`http:` engines: the real client against a local server that fails in every way a server can."""

import asyncio
import collections
import contextlib
import socket
import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engine import EngineError, Message, Prompt, Sampling
from models.http import Malformed, _checked, _Logprobs, _span, _Vectors, retry_after
from models.limiter import limiter_of
from models.refs import EngineSpec, open_backend
from tests.fake_openai import FakeOpenAI, Fault, box_of, vector_of, words

PROMPT = Prompt(messages=(Message("system", "Be short."), Message("user", "What is 6 times 7?")))
QUICK = {"backoff_s": 0.001, "attempts": 3, "revision": "test"}


@pytest.fixture
def server():
    with FakeOpenAI() as running:
        yield running


@contextlib.asynccontextmanager
async def backend_of(server: FakeOpenAI, **options):
    backend = open_backend(EngineSpec(ref=server.ref, **{**QUICK, **options}))
    try:
        yield backend
    finally:
        await backend.close()


def ask(server: FakeOpenAI, prompt: Prompt = PROMPT, sampling: Sampling = Sampling(), seed: int = 1, **options):
    async def go():
        async with backend_of(server, **options) as backend:
            return await backend.generate(prompt, sampling, seed)

    return asyncio.run(go())


def last_request(server: FakeOpenAI) -> dict:
    return server.stats()["last_requests"][-1]


def test_a_chat_is_sent_as_it_is_and_the_reply_comes_back_whole(server):
    reply = ask(server, sampling=Sampling(temperature=0.7, top_p=0.9, max_tokens=50, stop=("##",)), seed=77)
    assert f"\\boxed{{{box_of('Be short.' + chr(10) + 'What is 6 times 7?')}}}" in reply.text
    assert (reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == ("stop", 7, 12)
    assert last_request(server) == {
        "model": "m", "temperature": 0.7, "top_p": 0.9, "max_tokens": 50, "stop": ["##"], "seed": 77,
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "What is 6 times 7?"}],
    }  # fmt: skip


def test_a_last_assistant_turn_is_continued(server):
    ask(server, Prompt(messages=(Message("user", "Go"), Message("assistant", "Step 1:"))))
    sent = last_request(server)
    assert (sent["add_generation_prompt"], sent["continue_final_message"]) == (False, True)


def test_raw_text_and_token_ids_go_to_completions(server):
    ask(server, Prompt(text="raw"))
    assert last_request(server)["prompt"] == "raw"
    ask(server, Prompt(token_ids=(3, 1)))
    assert last_request(server)["prompt"] == [3, 1]
    assert server.stats()["paths"] == {"/v1/completions": 2}


def test_no_seed_is_sent_where_the_spec_says_so(server):
    ask(server, send_seed=False)
    assert "seed" not in last_request(server)


def test_a_reply_that_was_cut_off_says_length(server):
    assert ask(server, sampling=Sampling(max_tokens=3)).finish_reason == "length"


@pytest.mark.parametrize("kind", ["500", "503", "truncated", "reset", "bad_json", "empty", "no_choices"])
def test_a_failure_that_may_pass_is_tried_again(server, kind):
    server.set(faults=[Fault(kind, times=2)])
    assert "boxed" in ask(server).text
    assert server.stats()["calls"] == 3


@pytest.mark.parametrize(("kind", "said"), [
    ("500", "HTTP 500: told to fail with 500; given up after 3 attempts"),
    ("truncated", "no answer"),
    ("reset", "no answer"),
    ("bad_json", "malformed answer: answer: Invalid JSON"),
    ("empty", "malformed answer: an empty reply"),
    ("no_choices", "malformed answer: 0 choices"),
    ("content_filter", "finish_reason 'content_filter'"),
])  # fmt: skip
def test_a_failure_that_stays_is_an_error_that_says_what_happened(server, kind, said):
    server.set(faults=[Fault(kind)])
    with pytest.raises(EngineError) as caught:
        ask(server)
    assert said in str(caught.value)
    assert server.url in str(caught.value)
    assert server.stats()["calls"] == 3


@pytest.mark.parametrize("kind", ["slow", "hang"])
def test_an_answer_that_takes_too_long_is_given_up(server, kind):
    server.set(faults=[Fault(kind, delay_s=5)])
    with pytest.raises(EngineError, match=r"no complete answer within 0.2 s \(timeout_s\); given up after 2 attempts"):
        ask(server, timeout_s=0.2, attempts=2)


def test_a_refused_request_is_not_repeated(server):
    server.set(faults=[Fault("400")])
    with pytest.raises(EngineError, match="HTTP 400: told to fail with 400"):
        ask(server)
    assert server.stats()["calls"] == 1


@pytest.mark.parametrize(("retry_after", "times"), [("0.01", 4), ("date:1", 1), (None, 4)])
def test_being_told_to_wait_is_obeyed_and_is_no_failed_attempt(server, retry_after, times):
    server.set(faults=[Fault("429", times=times, retry_after=retry_after)])
    assert "boxed" in ask(server, attempts=1).text
    assert server.stats()["calls"] == times + 1


def test_being_told_to_wait_beyond_patience_is_an_error(server):
    server.set(faults=[Fault("429", retry_after="3600")])
    with pytest.raises(EngineError, match=r"HTTP 429.* to wait 36\d\d s is more than patience_s"):
        ask(server, patience_s=60)
    assert server.stats()["calls"] == 1


def test_refusals_lower_the_limit_of_the_whole_endpoint(server):
    async def go():
        server.set(latency_s=0.02, faults=[Fault("429", times=3, retry_after="0.01")])
        async with backend_of(server, max_in_flight=16) as one, backend_of(server, max_in_flight=16) as other:
            prompts = [Prompt(text=f"p{i}") for i in range(40)]
            await asyncio.gather(*((one, other)[i % 2].generate(p, Sampling(), 1) for i, p in enumerate(prompts)))
            return limiter_of(server.url, 16).limit

    assert asyncio.run(go()) < 16
    assert server.stats()["most_in_flight"] <= 16
    assert server.stats()["answered"] == 40


def test_two_engines_together_stay_below_the_limit_of_their_endpoint(server):
    async def go():
        server.set(latency_s=0.01)
        async with backend_of(server, max_in_flight=3) as one, backend_of(server, max_in_flight=3) as other:
            await asyncio.gather(*(b.generate(Prompt(text=f"p{i}"), Sampling(), 1) for i in range(10) for b in (one, other)))

    asyncio.run(go())
    assert server.stats()["most_in_flight"] <= 3


def test_nobody_at_the_address_fails_the_check_at_once_and_a_call_after_its_attempts():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"

    async def go(method):
        backend = open_backend(EngineSpec(ref=f"http:{url}#m", **QUICK))
        try:
            await method(backend)
        finally:
            await backend.close()

    with pytest.raises(EngineError, match=f"nobody answers at {url} .*start the server, or change the URL"):
        asyncio.run(go(lambda b: b.check()))
    with pytest.raises(EngineError, match=f"{url}: no answer .*is the server running.*given up after 3 attempts"):
        asyncio.run(go(lambda b: b.generate(PROMPT, Sampling(), 1)))


def test_a_server_without_a_list_of_models_passes_the_check(server):
    server.set(models=[])

    async def go():
        async with backend_of(server) as backend:
            await backend.check()
        backend = open_backend(EngineSpec(ref=f"http:http://127.0.0.1:{server.port}/elsewhere#m", **QUICK))
        await backend.check()
        await backend.close()

    asyncio.run(go())
    assert server.stats()["calls"] == 0


def test_the_key_comes_from_the_named_variable_and_its_absence_is_named(server, monkeypatch):
    server.set(api_key="s3cret")

    async def check(**options):
        async with backend_of(server, **options) as backend:
            await backend.check()

    monkeypatch.delenv("MATHMILL_API_KEY", raising=False)
    for fails in (lambda: asyncio.run(check()), lambda: ask(server)):
        with pytest.raises(EngineError, match="MATHMILL_API_KEY is not set; export it"):
            fails()
    monkeypatch.setenv("MY_KEY", "wrong")
    with pytest.raises(EngineError, match="MY_KEY is set but was refused") as caught:
        ask(server, api_key_env="MY_KEY")
    assert "wrong" not in str(caught.value).replace("wrong key", "")
    monkeypatch.setenv("MATHMILL_API_KEY", "s3cret")
    asyncio.run(check())
    assert "boxed" in ask(server).text


def test_a_raw_text_is_scored_through_its_echo(server):
    async def go(prompt, continuation):
        async with backend_of(server) as backend:
            return await backend.score(prompt, continuation)

    assert asyncio.run(go(Prompt(text="one two"), " three four")) == pytest.approx([-1.6, -1.5])
    assert asyncio.run(go(Prompt(text="one tw"), "o three")) == pytest.approx([-1.4, -1.6])
    with pytest.raises(EngineError, match="has no /tokenize: there only raw text can be scored"):
        asyncio.run(go(PROMPT, " three"))


def test_a_chat_is_scored_where_the_server_can_tokenize(server):
    server.set(tokenize=True)

    async def go():
        async with backend_of(server) as backend:
            return await backend.score(PROMPT, " three four")

    assert len(asyncio.run(go())) == 2
    sent = last_request(server)
    assert len(sent["prompt"]) == len(words("Be short.\nWhat is 6 times 7?")) + 2


def test_vectors_come_back_in_the_order_of_the_texts(server):
    async def go():
        async with backend_of(server) as backend:
            return await backend.embed(["b", "a"])

    assert asyncio.run(go()) == [vector_of("b"), vector_of("a")]


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=12), st.data())
def test_the_tokens_of_a_continuation_are_those_that_reach_beyond_the_prompt(tokens, data):
    text = "".join(tokens)
    head = data.draw(st.integers(0, len(text) - 1))
    first, last = _span([*tokens, "and what was generated"], head, text)
    assert last == len(tokens)
    assert len("".join(tokens[:first])) <= head < len("".join(tokens[: first + 1]))
    shifted = _span(["<s>" + text, *tokens, "x"], head, text)
    assert shifted == (first + 1, last + 1) or text.startswith("<s>" + text)


@pytest.mark.parametrize(("header", "seconds"), [
    ({}, None), ({"retry-after": ""}, None), ({"retry-after": "soon"}, None), ({"retry-after": "nan"}, None),
    ({"retry-after": "inf"}, None), ({"retry-after": "2.5"}, 2.5), ({"retry-after": "-3"}, 0),
    ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None), ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
])  # fmt: skip
def test_retry_after_is_read_in_both_forms(header, seconds):
    assert retry_after(header) == seconds


def test_a_date_to_come_is_read_as_the_seconds_until_then():
    date = int(time.time()) + 90
    before = time.time()
    got = retry_after({"retry-after": formatdate(date, usegmt=True)})
    assert date - time.time() <= got <= date - before


@pytest.mark.parametrize(("shape", "text"), [
    (_Vectors, '{"data": [{"index": 0, "embedding": [0.5, NaN]}]}'),
    (_Logprobs, '{"tokens": ["a"], "token_logprobs": [-Infinity]}'),
])  # fmt: skip
def test_numbers_that_are_none_are_a_malformed_answer(shape, text):
    with pytest.raises(Malformed, match="finite number"):
        _checked(shape, text)


@given(st.text(max_size=40))
def test_retry_after_reads_any_header_without_failing(text):
    got = retry_after({"retry-after": text})
    assert got is None or 0 <= got < float("inf")


def test_being_told_to_wait_for_ever_ends_with_patience_even_without_backoff(server):
    server.set(faults=[Fault("429")])

    async def go():
        async with backend_of(server, backoff_s=0, patience_s=0.05) as backend:
            with pytest.raises(EngineError, match="more than patience_s allows"):
                await asyncio.wait_for(backend.generate(PROMPT, Sampling(), 1), 60)

    asyncio.run(go())
    assert server.stats()["calls"] < 20


def test_a_wait_beyond_patience_fails_each_call_and_holds_up_none(server):
    server.set(faults=[Fault("429", contains="greedy", retry_after="3600")])

    async def go():
        async with backend_of(server, patience_s=1) as backend:
            asked = [Prompt(text=t) for t in ("greedy 1", "greedy 2", "modest")]
            return await asyncio.gather(*(backend.generate(p, Sampling(), 1) for p in asked), return_exceptions=True)

    first, second, third = asyncio.run(go())
    assert isinstance(first, EngineError)
    assert isinstance(second, EngineError)
    assert "boxed" in third.text


def test_each_prompt_of_a_crowd_is_answered_once_whatever_the_server_does(server):
    faults = [Fault(kind, contains=f"{n} ", each=1) for n, kind in enumerate(["500", "reset", "truncated", "bad_json", "429", "503"])]
    server.set(faults=faults, latency_s=0.002)

    async def go():
        async with backend_of(server) as backend:
            prompts = [Prompt(text=f"{i % 10} {i} times 3") for i in range(100)]
            return await asyncio.gather(*(backend.generate(p, Sampling(), 1) for p in prompts))

    assert len(asyncio.run(go())) == 100
    counts = collections.Counter(server.stats()["prompts"].values())
    assert counts == {1: 40, 2: 60}
