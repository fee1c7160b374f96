"""The shipped nano solver through plain transformers: round trip of its tokenizer, and accuracy on held-out problems."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from itertools import islice

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from models.nano import nano_names, nano_path
from tasks.nano.corpus import solve_messages, solver_samples
from tasks.nano.measure import classify, is_right
from tasks.nano.roles.solver import encode_samples
from tasks.nano.world import World


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(nano_path("solver"))


@pytest.fixture(scope="module")
def model():
    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(nano_path("solver"), use_safetensors=True).eval()


def held_out(count):
    return list(islice(World(0).tasks("test"), count))


@torch.inference_mode()
def solve(model, tokenizer, tasks, **sampling):
    """What plain `generate` says to each task."""
    chats = [[m._asdict() for m in solve_messages(t.statement)] for t in tasks]
    prompts = [tokenizer.apply_chat_template(c, add_generation_prompt=True, return_dict=False) for c in chats]
    batch = tokenizer.pad({"input_ids": prompts}, return_tensors="pt")
    out = model.generate(**batch, max_new_tokens=200, **sampling)
    return tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)


def test_greedy_accuracy_on_held_out_problems_is_in_the_stated_window(model, tokenizer):
    tasks = held_out(200)
    texts = solve(model, tokenizer, tasks, do_sample=False)
    accuracy = sum(is_right(t, x) for t, x in zip(tasks, texts, strict=True)) / 200
    assert 0.50 <= accuracy <= 0.75
    kinds = [classify(t, x) for t, x in zip(tasks, texts, strict=True)]
    assert kinds.count("misconception") > kinds.count("slip"), "its errors are systematic"


def test_one_of_eight_samples_is_right_for_most_problems(model, tokenizer):
    tasks = held_out(60)
    torch.manual_seed(0)
    texts = solve(model, tokenizer, [t for t in tasks for _ in range(8)], do_sample=True, temperature=1.0, top_k=0)
    solved = [any(is_right(t, x) for x in texts[8 * i : 8 * i + 8]) for i, t in enumerate(tasks)]
    assert sum(solved) / 60 >= 0.85


@pytest.mark.parametrize("text", ["Step 1: Sum 12+3=15\nAnswer: \\boxed{15}", "Ελληνικά 数学 🙂 \t\n x  y", "12345", " at both ends "])
def test_any_text_comes_back_from_the_saved_tokenizer(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_digit_is_a_token_of_its_own(tokenizer):
    assert [tokenizer.decode([i]) for i in tokenizer.encode("2026")] == ["2", "0", "2", "6"]


def test_the_reloaded_tokenizer_reads_the_world_as_the_corpus_did(tokenizer):
    samples = list(solver_samples(World(0), 50, 0.0))
    for sample, (ids, _) in zip(samples, encode_samples(tokenizer, samples, [False] * 50), strict=True):
        turns = [m._asdict() for m in solve_messages(sample.task.statement)]
        turns.append({"role": "assistant", "content": sample.working.text})
        assert tokenizer.apply_chat_template(turns, return_dict=False) == ids


def test_the_system_line_of_the_packaged_prompt_is_one_token(tokenizer):
    system = next(m.content for m in solve_messages("x") if m.role == "system")
    assert len(tokenizer.encode(system)) == 1


def test_the_chat_template_marks_what_the_assistant_generates(tokenizer):
    turns = [{"role": "user", "content": "3 + 4?"}, {"role": "assistant", "content": "\\boxed{7}"}]
    made = tokenizer.apply_chat_template(turns, return_dict=True, return_assistant_tokens_mask=True)
    marked = [i for i, flag in zip(made["input_ids"], made["assistant_masks"], strict=True) if flag]
    assert tokenizer.decode(marked) == "\\boxed{7}" + tokenizer.eos_token


def test_padding_is_on_the_left_after_a_reload(tokenizer):
    assert tokenizer.padding_side == "left"


def test_an_unknown_nano_model_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"no nano model 'sovler': have \['author', .*'solver'"):
        nano_path("sovler")
    assert "solver" in nano_names()


def test_asking_for_a_nano_path_imports_no_torch():
    program = "import sys; from models.nano import nano_path; nano_path('solver'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"


def test_the_card_states_what_was_measured():
    folder = nano_path("solver")
    measured = json.loads((folder / "measured.json").read_text())
    card = (folder / "README.md").read_text()
    assert f"{measured['greedy']:.1%}" in card and f"{measured['pass_8']:.1%}" in card
    assert sum(p.stat().st_size for p in folder.iterdir()) < 3_000_000
    assert 0.55 <= measured["greedy"] <= 0.75


TRAIN = """
    import sys
    from pathlib import Path
    import torch
    from tasks.nano.roles.solver import Recipe, train_solver
    torch.set_num_threads(1)
    model, tokenizer = train_solver(0, Path(sys.argv[1]), 4, Recipe(pretrain_chains=700, samples=512))
    print([round(float(p.double().sum()), 6) for p in model.parameters()])
"""


@pytest.mark.slow
def test_a_killed_training_continues_from_its_checkpoint_to_the_same_weights(tmp_path):
    def command(work):
        return [sys.executable, "-c", textwrap.dedent(TRAIN), str(tmp_path / work)]

    with subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None and not list((tmp_path / "killed").glob("state-*.safetensors")):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was killed before the end"
    weights = [subprocess.run(command(w), capture_output=True, text=True, check=True).stdout.splitlines()[-1] for w in ("killed", "whole")]
    assert weights[0] == weights[1]
