"""The hf: backend against the model itself: same texts at any concurrency, exact counts, clear errors."""

import asyncio
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.engine import EngineError, Identity, Message, Prompt, Sampling
from models.hf import HfBackend
from models.hf_batch import pick
from storage.ledger import open_ledger
from tests.tiny_model import tiny_model

GREEDY = Sampling(temperature=0, max_tokens=24)
WARM = Sampling(temperature=1, max_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def reference(folder):
    torch.set_num_threads(1)  # a tiny model on several threads spends its time waiting for them
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def chat(text: str) -> Prompt:
    return Prompt(messages=(Message("system", "Count."), Message("user", text)))


PROMPTS = [chat(f"What is {i} + {3 * i}?" + " apples" * (i % 5)) for i in range(40)]


def ask(folder: Path, jobs, **options):
    """The backend's replies to (prompt, sampling, seed), all asked at once; exceptions in their places."""

    async def go():
        backend = HfBackend(folder, Identity("tiny", "test"), **options)
        try:
            return await asyncio.gather(*(backend.generate(p, s, seed) for p, s, seed in jobs), return_exceptions=True)
        finally:
            await backend.close()

    return asyncio.run(go())


def one_by_one(folder: Path, jobs):
    async def go():
        backend = HfBackend(folder, Identity("tiny", "test"), gather_s=0)
        try:
            return [await backend.generate(p, s, seed) for p, s, seed in jobs]
        finally:
            await backend.close()

    return asyncio.run(go())


def with_backend(folder: Path, use):
    async def go():
        backend = HfBackend(folder, Identity("tiny", "test"))
        try:
            return await use(backend)
        finally:
            await backend.close()

    return asyncio.run(go())


@torch.inference_mode()
def greedy_text(reference, prompt: Prompt, n: int) -> str:
    """What the model says when each next token is the likeliest, without any cache."""
    model, tokenizer = reference
    ids = tokenizer.apply_chat_template([m._asdict() for m in prompt.messages], add_generation_prompt=True, return_dict=False)
    start = len(ids)
    while len(ids) < start + n:
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            return tokenizer.decode(ids[start:-1], skip_special_tokens=True)
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_greedy_texts_are_the_models_own(folder, reference):
    replies = ask(folder, [(p, GREEDY, 0) for p in PROMPTS[:12]])
    assert [r.text for r in replies] == [greedy_text(reference, p, 24) for p in PROMPTS[:12]]


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_replies_do_not_depend_on_what_else_is_asked(folder, batch_size):
    jobs = [(p, GREEDY if i % 2 else WARM.model_copy(update={"max_tokens": 5 + i}), i) for i, p in enumerate(PROMPTS)]
    assert ask(folder, jobs, batch_size=batch_size) == one_by_one(folder, jobs)


def test_a_seed_fixes_a_sampled_text_and_different_seeds_differ(folder):
    replies = ask(folder, [(PROMPTS[0], WARM, seed) for seed in [*range(10), *range(10)]])
    assert replies[:10] == replies[10:]
    assert len({r.text for r in replies[:10]}) == 10


def test_sampling_follows_the_distribution():
    torch.manual_seed(0)
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0]]).repeat(40000, 1)
    ones = torch.ones(40000)
    tokens = pick(logits, 0.7 * ones, ones, torch.rand(40000))
    expected = torch.softmax(logits[0] / 0.7, -1)
    assert torch.allclose(torch.bincount(tokens, minlength=4) / 40000, expected, atol=0.01)


def test_the_nucleus_keeps_the_likeliest_tokens_whose_mass_reaches_top_p():
    logits = torch.log(torch.tensor([[0.1, 0.5, 0.15, 0.25]])).repeat(5000, 1)
    ones = torch.ones(5000)
    tokens = pick(logits, ones, 0.7 * ones, torch.linspace(0, 0.9999999, 5000))
    assert set(tokens.tolist()) == {1, 3}
    assert abs((tokens == 1).float().mean().item() - 2 / 3) < 0.01


def test_a_row_draws_the_same_token_beside_rows_with_a_nucleus():
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(3))
    for draw in (0.0, 0.3, 0.77, 0.9999999):
        draws = torch.tensor([draw, draw])
        alone = pick(logits, torch.ones(2), torch.ones(2), draws)
        beside = pick(logits, torch.ones(2), torch.tensor([1.0, 0.5]), draws)
        assert alone[0] == beside[0]


def test_a_stop_string_ends_the_reply_and_is_not_in_it(folder):
    (whole,) = ask(folder, [(PROMPTS[0], GREEDY, 0)])
    stop = whole.text[6:9]
    (cut,) = ask(folder, [(PROMPTS[0], GREEDY.model_copy(update={"stop": ("never there", stop)}), 0)])
    assert cut.text == whole.text[: whole.text.find(stop)]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < whole.completion_tokens


def test_a_reply_without_an_end_is_cut_off_with_reason_length_and_exact_counts(folder, reference):
    (reply,) = ask(folder, [(PROMPTS[3], GREEDY, 0)])
    _, tokenizer = reference
    turns = [m._asdict() for m in PROMPTS[3].messages]
    assert (reply.finish_reason, reply.completion_tokens) == ("length", 24)
    assert reply.prompt_tokens == len(tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False))


def test_an_end_token_stops_the_reply_and_is_counted(folder, reference):
    _, tokenizer = reference
    replies = ask(folder, [(PROMPTS[0], Sampling(max_tokens=400), seed) for seed in range(60)])
    ended = [r for r in replies if r.finish_reason == "stop"]
    assert ended and all(r.completion_tokens < 400 for r in ended)
    assert all(tokenizer.eos_token not in r.text for r in replies)


def test_an_assistant_turn_at_the_end_is_continued(folder, reference):
    _, tokenizer = reference
    prefilled = Prompt(messages=(*PROMPTS[0].messages, Message("assistant", "Step 1:")))
    opened = tokenizer.apply_chat_template([m._asdict() for m in PROMPTS[0].messages], add_generation_prompt=True, return_dict=False)
    as_ids = Prompt(token_ids=tuple(opened + tokenizer.encode("Step 1:")))
    chat_reply, ids_reply = ask(folder, [(prefilled, GREEDY, 0), (as_ids, GREEDY, 0)])
    assert chat_reply == ids_reply


def test_raw_text_is_given_to_the_model_as_it_is(folder, reference):
    _, tokenizer = reference
    text, ids = ask(folder, [(Prompt(text="3 + 4 ="), GREEDY, 0), (Prompt(token_ids=tuple(tokenizer.encode("3 + 4 ="))), GREEDY, 0)])
    assert text == ids


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(token_ids=(1,) * 1024), "a prompt of 1024 tokens leaves no room in the window of 1024"),
        (Prompt(token_ids=(5, 99999)), "token id 99999 is outside the vocabulary of 300"),
    ],
)
def test_a_prompt_that_cannot_be_served_fails_alone(folder, prompt, message):
    bad, good = ask(folder, [(prompt, GREEDY, 0), (PROMPTS[0], GREEDY, 0)])
    assert isinstance(bad, EngineError) and message in str(bad)
    assert good.completion_tokens == 24


def test_a_reply_ends_at_the_window(folder):
    (reply,) = ask(folder, [(Prompt(token_ids=(7,) * 1020), GREEDY, 0)])
    assert (reply.completion_tokens, reply.finish_reason) == (4, "length")


def test_a_model_without_a_chat_template_asks_for_raw_text(folder, tmp_path):
    tiny_model(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (reply,) = ask(tmp_path, [(PROMPTS[0], GREEDY, 0)])
    assert isinstance(reply, EngineError) and "has no chat template" in str(reply)


def test_a_folder_without_a_model_is_refused_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"expected config.json and \*.safetensors"):
        HfBackend(tmp_path, Identity("none", "test"))


def test_score_is_the_log_probability_of_a_direct_forward(folder, reference):
    model, tokenizer = reference
    scores = with_backend(folder, lambda b: b.score(PROMPTS[1], "Step 1: Sum"))
    before = tokenizer.apply_chat_template([m._asdict() for m in PROMPTS[1].messages], add_generation_prompt=True, return_dict=False)
    after = tokenizer.encode("Step 1: Sum")
    with torch.inference_mode():
        loss = torch.nn.functional.cross_entropy(
            model(torch.tensor([before + after])).logits[0, len(before) - 1 : -1], torch.tensor(after), reduction="sum"
        )
    assert len(scores) == len(after)
    assert sum(scores) == pytest.approx(-loss.item(), abs=1e-4)


def test_an_embedding_is_the_mean_last_hidden_state(folder, reference):
    model, tokenizer = reference
    vectors = with_backend(folder, lambda b: b.embed(["How many apples?", "3"]))
    with torch.inference_mode():
        states = model.model(torch.tensor([tokenizer.encode("How many apples?")])).last_hidden_state[0]
    assert vectors[0] == pytest.approx(states.mean(0).tolist(), abs=1e-4)
    assert len(vectors[0]) == len(vectors[1]) == model.config.hidden_size


def test_a_closed_engine_says_so(folder):
    async def use(backend):
        await backend.close()
        return await backend.generate(PROMPTS[0], GREEDY, 0)

    with pytest.raises(EngineError, match="is closed"):
        with_backend(folder, use)


def test_a_cancelled_request_leaves_the_others_alone(folder):
    async def use(backend):
        tasks = [asyncio.ensure_future(backend.generate(p, Sampling(temperature=0, max_tokens=300), 0)) for p in PROMPTS[:6]]
        while backend._waiting or not backend._serving:  # until all are in the batch
            await asyncio.sleep(0.002)
        tasks[2].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    replies = with_backend(folder, use)
    assert isinstance(replies[2], asyncio.CancelledError)
    assert all(r.completion_tokens > 0 for i, r in enumerate(replies) if i != 2)


RUN = """
    import asyncio, sys
    from pathlib import Path
    from models.engine import Engine, Identity, Message, Prompt, Sampling
    from models.hf import HfBackend
    from storage.ledger import open_ledger

    class Counted(HfBackend):
        async def generate(self, prompt, sampling, seed):
            print("asked", flush=True)
            return await super().generate(prompt, sampling, seed)

    async def main(folder, ledger):
        engine = Engine(Counted(Path(folder), Identity("tiny", "test"), batch_size=8), ledger, concurrency=8)
        async def ask(i):
            prompt = Prompt(messages=(Message("user", f"What is {i} + 1?"),))
            async for reply in engine.sample(prompt, 1, Sampling(temperature=0, max_tokens=120)):
                print("served", flush=True)
        await asyncio.gather(*(ask(i) for i in range(40)))

    asyncio.run(main(sys.argv[1], open_ledger(Path(sys.argv[2]))))
"""


@pytest.mark.slow
def test_a_killed_process_repeats_at_most_one_batch(folder, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(RUN), str(folder), str(tmp_path / "ledger.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        lines: list[str] = []
        while lines.count("served") < 15:
            lines.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.read().split()
    assert lines.count("served") < 40, "it was killed before the end"
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert again.count("served") == 40
    assert 40 <= lines.count("asked") + again.count("asked") <= 40 + 8
    assert open_ledger(tmp_path / "ledger.db").count() == 40
