"""What every engine does alike: the same tests over `http:` (a local server), `hf:` and the real `vllm:` (a tiny model made in place)."""

import asyncio
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from models import loop
from models.engine import Backend, Engine, EngineError, Message, Prompt, Reply, Sampling
from models.refs import EngineSpec, open_backend
from models.vllm_host import vllm_python
from storage.ledger import open_ledger
from tests.fake_openai import FakeOpenAI

GREEDY = Sampling(temperature=0, max_tokens=24)
WARM = Sampling(max_tokens=24)
CHAT = Prompt(messages=(Message("system", "Count."), Message("user", "How many apples are 3 + 4?")))
MODELS = [pytest.param("hf", marks=pytest.mark.slow), pytest.param("vllm", marks=[pytest.mark.slow, pytest.mark.vllm])]
real_models = pytest.mark.parametrize("subject", MODELS, indirect=True, scope="module")
"""For tests that compare with what the model is known to say: the local server has none."""


class Subject(NamedTuple):
    """An open backend and the folder of its model."""

    backend: Backend
    folder: Path


def spec_of(scheme: str, folder: Path) -> EngineSpec:
    options = {"dtype": "float32", "max_model_len": 512} if scheme == "vllm" else {}
    return EngineSpec(ref=f"{scheme}:{folder}", **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from tests.tiny_model import tiny_model

    return tiny_model(tmp_path_factory.mktemp("tiny") / "tiny", hidden=64, layers=2)


@pytest.fixture(scope="module", params=["http", *MODELS])
def subject(request):
    if request.param == "http":
        with FakeOpenAI(tokenize=True) as server:
            backend = open_backend(EngineSpec(ref=server.ref, revision="test"))
            yield Subject(backend, Path("none"))
            loop.run(backend.close())
        return
    if request.param == "vllm":
        needs_vllm()
    folder = request.getfixturevalue("folder")
    backend = open_backend(spec_of(request.param, folder))
    loop.run(backend.check())
    yield Subject(backend, folder)
    loop.run(backend.close())


def needs_vllm() -> None:
    try:
        vllm_python()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture
def ledger(tmp_path):
    opened = open_ledger(tmp_path / "ledger.sqlite")
    yield opened
    opened.close()


def draw(
    subject: Subject, ledger: Any, prompt: Prompt = CHAT, n: int = 1, sampling: Sampling = GREEDY, stream: str = "main"
) -> list[Reply]:
    async def go() -> list[Reply]:
        return [reply async for reply in Engine(subject.backend, ledger, stream=stream).sample(prompt, n, sampling)]

    return loop.run(go())


def score(subject: Subject, ledger: Any, prompt: Prompt, continuation: str) -> list[float]:
    return loop.run(Engine(subject.backend, ledger).score(prompt, continuation))


def reference(folder: Path) -> tuple[Any, Any]:
    """(tokenizer, model) as transformers loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()


def rendered(folder: Path, prompt: Prompt) -> str:
    turns = [m._asdict() for m in prompt.messages or ()]
    prefilled = turns[-1]["role"] == "assistant"
    return reference(folder)[0].apply_chat_template(
        turns, tokenize=False, add_generation_prompt=not prefilled, continue_final_message=prefilled
    )


def test_greedy_replies_are_the_same_each_time_whatever_the_stream(subject, ledger):
    texts = {draw(subject, ledger, stream=stream)[0].text for stream in "abc"}
    assert len(texts) == 1
    assert ledger.count() == 3


def test_draws_of_one_prompt_differ_and_are_kept(subject, ledger):
    first = draw(subject, ledger, n=6, sampling=WARM)
    assert len({r.text for r in first}) == 6
    assert draw(subject, ledger, n=6, sampling=WARM) == first
    assert ledger.count() == 6


def test_a_seed_repeats_its_reply(subject, tmp_path):
    replies = [draw(subject, open_ledger(tmp_path / f"{i}.sqlite"), sampling=WARM) for i in range(2)]
    assert replies[0] == replies[1]


def test_a_reply_cut_off_at_max_tokens_says_length(subject, ledger):
    [reply] = draw(subject, ledger, sampling=GREEDY.model_copy(update={"max_tokens": 5}))
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 5)


def test_a_stop_string_ends_the_reply_and_is_not_in_it(subject, ledger):
    [whole] = draw(subject, ledger)
    middle = len(whole.text) // 2
    stop = next(c for c in whole.text[middle:] if c.isascii() and c.isprintable() and c != " ")
    [cut] = draw(subject, ledger, sampling=GREEDY.model_copy(update={"stop": (stop,)}))
    assert cut.text == whole.text.partition(stop)[0]
    assert cut.finish_reason == "stop"


@real_models
def test_a_chat_is_the_raw_text_its_template_makes(subject, ledger):
    raw = Prompt(text=rendered(subject.folder, CHAT))
    assert draw(subject, ledger)[0].text == draw(subject, ledger, raw)[0].text


@real_models
def test_a_prefilled_turn_is_continued_and_not_repeated(subject, ledger):
    prefill = Prompt(messages=(*CHAT.messages, Message("assistant", "Step 1: Sum")))
    text = rendered(subject.folder, prefill)
    assert text.endswith("Step 1: Sum")
    assert draw(subject, ledger, prefill)[0].text == draw(subject, ledger, Prompt(text=text))[0].text


@real_models
def test_token_ids_say_the_same_as_their_text(subject, ledger):
    tokenizer, _ = reference(subject.folder)
    text = "How many apples are left? Step 1:"
    ids = Prompt(token_ids=tuple(tokenizer.encode(text, add_special_tokens=False)))
    assert tokenizer.decode(ids.token_ids) == text
    by_text, by_ids = draw(subject, ledger, Prompt(text=text))[0], draw(subject, ledger, ids)[0]
    assert (by_text.text, by_text.prompt_tokens) == (by_ids.text, by_ids.prompt_tokens)


@real_models
def test_greedy_replies_are_those_of_transformers(subject, ledger):
    import torch

    tokenizer, model = reference(subject.folder)
    ids = tokenizer(rendered(subject.folder, CHAT), add_special_tokens=False, return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**ids, do_sample=False, max_new_tokens=24)
    assert draw(subject, ledger)[0].text == tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)


PROMPTS = [CHAT, Prompt(text="How many apples"), Prompt(messages=(*CHAT.messages, Message("assistant", "Step 1:")))]


@real_models
@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("continuation", [" Sum 3+4=7", " größer als π", "\n"])
def test_scores_are_the_log_probabilities_of_the_continuations_own_tokens(subject, ledger, prompt, continuation):
    import torch

    tokenizer, model = reference(subject.folder)
    head = tokenizer.encode(prompt.text or rendered(subject.folder, prompt), add_special_tokens=False)
    tail = tokenizer.encode(continuation, add_special_tokens=False)
    with torch.no_grad():
        logprobs = model(torch.tensor([head + tail])).logits[0].float().log_softmax(-1)
    expected = [logprobs[len(head) + i - 1, token].item() for i, token in enumerate(tail)]
    assert score(subject, ledger, prompt, continuation) == pytest.approx(expected, abs=1e-3)


def test_a_score_has_one_number_a_token(subject, ledger):
    got = score(subject, ledger, Prompt(text="How many"), " apples are left?")
    assert got == score(subject, ledger, Prompt(text="How many"), " apples are left?")
    assert ledger.count() == 1
    assert len(got) >= 3
    assert all(x < 0 for x in got)


def test_many_at_once_are_answered_like_one_at_a_time(subject, ledger, tmp_path):
    prompts = [Prompt(text=f"What is {i} + {i}?") for i in range(24)]

    async def crowd() -> list[str]:
        engine = Engine(subject.backend, ledger, concurrency=24)

        async def one(prompt: Prompt) -> str:
            [reply] = [reply async for reply in engine.sample(prompt, 1, GREEDY)]
            return reply.text

        return await asyncio.gather(*map(one, prompts))

    alone = open_ledger(tmp_path / "alone.sqlite")
    assert loop.run(crowd()) == [draw(subject, alone, p)[0].text for p in prompts]


@pytest.mark.slow
def test_the_tokenizer_of_the_tiny_model_reads_back_as_it_was_made(folder):
    from models.nano.architecture import make_tokenizer
    from tests.tiny_model import TEXTS

    made, read = make_tokenizer(TEXTS, [], 320), reference(folder)[0]
    for text in [*TEXTS, "größer als π?", "  two  spaces\n\n\tand 12345 apples", "<|user|>x<|end|>"]:
        ids = made.encode(text, add_special_tokens=False)
        assert read.encode(text, add_special_tokens=False) == ids
        assert read.decode(ids) == text
