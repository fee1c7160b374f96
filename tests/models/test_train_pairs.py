import math
from pathlib import Path
from typing import Any

import pytest
import torch

from models.engine import Message, Prompt
from models.train.encode import IGNORED, Tokens
from models.train.pairs import EncodedPair, Pair, encode_pair, encode_pairs
from tests.tiny_model import tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


def asked(begun: str = "Step 1:") -> Prompt:
    turns = (Message("system", "Reason."), Message("user", "Mia has 3 apples and buys 4. How many?"))
    return Prompt(messages=(*turns, Message("assistant", begun)) if begun else turns)


INNER = Pair("inner", asked("Step 1: Sum 3+4=7\nStep 2:"), " Twice 2*7=14", " Twice 2*7=12", False, False)
LAST = Pair("last", asked("Step 1: Sum 3+4=7\nAnswer:"), " \\boxed{7}", " \\boxed{12}", True, True)
WHOLE = Pair("whole", asked(""), "Step 1: Sum 3+4=7\nAnswer: \\boxed{7}", "Step 1: Sum 3+4=8\nAnswer: \\boxed{8}")


def test_an_inner_step_has_no_end_token_on_either_side(base: Path):
    tokens = Tokens(base)
    pair = encode_pair(tokens, INNER)
    assert not tokens.stops & {*pair.prompt_ids, *pair.chosen_ids, *pair.rejected_ids}
    assert tokens.tokenizer.decode(pair.chosen_ids) == " Twice 2*7=14"
    assert tokens.tokenizer.decode(pair.rejected_ids) == " Twice 2*7=12"


def test_a_step_that_ends_its_solution_has_one_and_the_other_side_keeps_its_own_end(base: Path):
    tokens = Tokens(base)
    both = encode_pair(tokens, LAST)
    assert (both.chosen_ids[-1], both.rejected_ids[-1]) == (tokens.end, tokens.end)
    assert (both.chosen_ids.count(tokens.end), both.rejected_ids.count(tokens.end)) == (1, 1)
    one = encode_pair(tokens, LAST._replace(chosen_ends=False))
    assert (one.chosen_ids, one.rejected_ids) == (both.chosen_ids[:-1], both.rejected_ids)


def test_whole_solutions_follow_the_prompt_of_inference_and_end(base: Path):
    tokens = Tokens(base)
    pair = encode_pair(tokens, WHOLE)
    assert tokens.tokenizer.decode(pair.prompt_ids).endswith("<|assistant|>")
    assert tokens.tokenizer.decode(pair.chosen_ids) == WHOLE.chosen + "<|end|>"


def test_the_prompt_of_a_pair_is_exactly_what_both_sides_begin_with(base: Path):
    tokens = Tokens(base)
    for pair in (INNER, LAST, WHOLE):
        encoded = encode_pair(tokens, pair)
        for text, ids in ((pair.chosen, encoded.chosen_ids), (pair.rejected, encoded.rejected_ids)):
            together = tokens.joined(pair.prompt, text)
            assert together == [*encoded.prompt_ids, *(i for i in ids if i != tokens.end)]


def test_a_prefix_that_ends_within_a_token_is_refused(base: Path):
    with pytest.raises(
        ValueError, match=r"pair p: the prompt's tokens are not how prompt \+ continuation begins.*`Step k:` without a space"
    ):
        encode_pair(Tokens(base), Pair("p", asked("St"), "ep 1: Sum", "ep 1: Sun", False, False))


def test_sides_that_are_the_same_tokens_are_refused(base: Path):
    with pytest.raises(ValueError, match="pair inner: chosen and rejected are the same tokens"):
        encode_pair(Tokens(base), INNER._replace(rejected=INNER.chosen))
    with pytest.raises(ValueError, match="pair inner: an empty side"):
        encode_pair(Tokens(base), INNER._replace(rejected=""))


def test_long_pairs_are_left_out_whole_and_named_and_no_problem_is_cut(base: Path):
    tokens = Tokens(base)
    fits = max(len(p.prompt_ids) + max(len(p.chosen_ids), len(p.rejected_ids)) for p in (encode_pair(tokens, INNER),))
    long = INNER._replace(id="long", rejected=" Twice 2*7=12" * 9)
    kept, too_long = encode_pairs(tokens, [INNER, long], max_length=fits)
    assert kept == [encode_pair(tokens, INNER)]
    assert too_long == ["long"]
    with pytest.raises(ValueError, match=f"all are longer than max_length = {fits - 1}"):
        encode_pairs(tokens, [INNER, long], max_length=fits - 1)


SETTINGS: dict[str, Any] = {
    "lr": 1e-3, "epochs": 1, "max_steps": 12, "batch_size": 3, "micro_batch": 3, "schedule": "constant", "warmup": 0, "weight_decay": 0,
    "seed": 0, "save_steps": 4, "gradient_checkpointing": False, "beta": 0.3, "loss": "sigmoid", "nll": 0.0, "eval_steps": 6,
}  # fmt: skip


def log_probability(model: Any, prompt: list[int], continuation: list[int]) -> torch.Tensor:
    """Sum of the log-probabilities of the continuation's tokens: one row, no padding, no mask."""
    logits = model(input_ids=torch.tensor([prompt + continuation])).logits[0].log_softmax(-1)
    return sum((logits[len(prompt) - 1 + i, token] for i, token in enumerate(continuation)), torch.tensor(0.0))


def plain_loss(model: Any, reference: Any, pairs: list[EncodedPair], loss: str, beta: float, nll: float) -> torch.Tensor:
    """The published losses, pair by pair: DPO as Step-DPO's equation 2, SLiC's hinge, IPO's equation 17 per token."""
    total, likelihood, tokens = torch.tensor(0.0), torch.tensor(0.0), 0
    for prompt, chosen, rejected in pairs:
        won = log_probability(model, prompt, chosen) - log_probability(reference, prompt, chosen)
        lost = log_probability(model, prompt, rejected) - log_probability(reference, prompt, rejected)
        if loss == "sigmoid":
            total = total - torch.log(1 / (1 + torch.exp(-(beta * won - beta * lost))))
        elif loss == "hinge":
            total = total + max(torch.tensor(0.0), 1 - beta * (won - lost))
        elif loss == "ipo":
            total = total + (won / len(chosen) - lost / len(rejected) - 1 / (2 * beta)) ** 2
        elif loss == "sigmoid_norm":
            total = total - torch.log(1 / (1 + torch.exp(-beta * (won / len(chosen) - lost / len(rejected)))))
        elif loss == "apo_zero":
            total = total + 1 - 1 / (1 + torch.exp(-beta * won)) + 1 / (1 + torch.exp(-beta * lost))
        likelihood = likelihood - log_probability(model, prompt, chosen)
        tokens += len(chosen)
    return total / len(pairs) + nll * likelihood / tokens


@pytest.mark.parametrize("loss", ["sigmoid", "sigmoid_norm", "hinge", "ipo", "apo_zero"])
@pytest.mark.parametrize("nll", [0.0, 0.7])
def test_the_loss_of_a_batch_is_the_published_one_written_in_plain_torch(base: Path, tmp_path: Path, loss: str, nll: float):
    from transformers import AutoModelForCausalLM

    from models.train.dpo import Dpo, make_trainer

    pairs = [encode_pair(Tokens(base), pair) for pair in (INNER, LAST, WHOLE)]
    trainer = make_trainer(pairs, Dpo(**{**SETTINGS, "loss": loss, "nll": nll}), base, tmp_path, lambda *_: None)
    reference = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    moved = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for ours, theirs in zip(trainer.model.parameters(), moved.parameters(), strict=True):
            step = 0.02 * torch.randn(ours.shape, generator=noise)
            ours.add_(step)
            theirs.add_(step)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(3)])
    expected = plain_loss(moved, reference, pairs, loss, 0.3, nll)
    got = trainer.compute_loss(trainer.model, batch)
    assert got.item() == pytest.approx(expected.item(), rel=1e-4)
    got.backward()
    expected.backward()
    grads = [(a.grad, b.grad) for a, b in zip(trainer.model.parameters(), moved.parameters(), strict=True)]
    assert max((a - b).abs().max().item() for a, b in grads) < 1e-4 * max(b.abs().max().item() for _, b in grads)


def test_the_smoke_fit_of_pairs_starts_at_the_loss_of_no_preference_and_falls(base: Path):
    from models.train.smoke import smoke_pairs

    losses = smoke_pairs(base, [encode_pair(Tokens(base), pair) for pair in (INNER, LAST, WHOLE)], lr=1e-3, beta=0.3)
    assert losses[0] == pytest.approx(math.log(2))
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="the loss of 3 pairs did not fall in 8 steps at lr 1e-30"):
        smoke_pairs(base, [encode_pair(Tokens(base), pair) for pair in (INNER, LAST, WHOLE)], lr=1e-30, beta=0.3)


def test_a_token_beyond_the_vocabulary_is_named_before_anything_is_trained(base: Path):
    from models.train.smoke import smoke_pairs

    with pytest.raises(ValueError, match=r"token 99999 .* is beyond the model's"):
        smoke_pairs(base, [EncodedPair([1, 2], [3], [99999])], lr=1e-3, beta=0.3)


def test_what_is_trained_after_the_prompt_is_labelled_and_nothing_else(base: Path):
    from models.train.encode import Row

    ids, labels = Tokens(base).encode(Row("r", INNER.prompt, INNER.chosen), ends=False)
    assert ids[-len([x for x in labels if x != IGNORED]) :] == encode_pair(Tokens(base), INNER).chosen_ids


def test_training_prefers_the_chosen_steps_and_reports_accuracy_and_margin_of_every_step(base: Path, tmp_path: Path):
    from models.train.dpo import Dpo, fit

    pairs = [encode_pair(Tokens(base), pair) for pair in (INNER, LAST, WHOLE)]
    reports: list[tuple[int, int, dict[str, float]]] = []
    fitted = fit(pairs, Dpo(**SETTINGS), base, tmp_path, lambda *report: reports.append(report), held_out=pairs[:2])
    steps = [(step, figures) for step, _, figures in reports if "loss" in figures]
    assert [step for step, _ in steps] == list(range(1, 13))
    assert steps[0][1]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert (steps[-1][1]["accuracy"], steps[-1][1]["loss"] < 0.6) == (1.0, True)
    assert steps[-1][1]["margin"] == pytest.approx(steps[-1][1]["chosen_reward"] - steps[-1][1]["rejected_reward"], abs=1e-5)
    held_out = {step: figures.keys() for step, _, figures in reports if "loss" not in figures}
    assert sorted(held_out) == [0, 6, 12]
    assert all(names >= {"held_out_accuracy", "held_out_margin"} for names in held_out.values())
    assert fitted.losses == [figures["loss"] for _, figures in steps]
    assert (fitted.folder / "tokenizer.json").is_file()
