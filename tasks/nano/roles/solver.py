"""nano:solver, from nothing: arithmetic first (results only in the loss), then worked problems of the training split.

What unlocked learning at this size: arithmetic first, one-digit operands, initial deviation 0.06, Muon for the hidden matrices.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from models.nano.architecture import END, make_model, make_tokenizer
from tasks.nano.corpus import Sample, equation_chains, solve_messages, solver_samples
from tasks.nano.measure import measure
from tasks.nano.role import Figures, Role, Trained
from tasks.nano.training import Batch, Encoded, Rows, optimizers, rows_of_like_length, schedule, train
from tasks.nano.world import World


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights, the seed aside."""

    vocab_size: int = 768
    pretrain_chains: int = 20_000
    """Word-less workings, packed."""
    samples: int = 33_600
    batch: int = 32
    pack: int = 128
    """Tokens of a packed row."""
    misconception_rate: float = 0.65
    plain_prompt_rate: float = 0.1
    """Share of samples without the system turn, so that an edited prompt does not break the model."""
    muon_lr: float = 0.02
    adam_lr: float = 4e-3


def build_tokenizer(world: World, vocab_size: int) -> PreTrainedTokenizerFast:
    """The BPE of all nano models: trained on statements and workings, the system line of `solve` one token."""
    texts = [t for s in solver_samples(world, 4000, 0.0) for t in (s.task.statement, s.working.text)]
    system = [m.content for m in solve_messages("x") if m.role == "system"]
    return make_tokenizer(texts, system, vocab_size)


def equation_batches(world: World, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[Rows]:
    """Packed rows of word-less workings; the loss is on results, since operands cannot be foreseen."""
    lines = [line for chain in equation_chains(world, recipe.pretrain_chains) for line in chain]
    lefts = tokenizer([f"{line.label} {line.left}=" for line in lines])["input_ids"]
    rights = tokenizer([f"{line.value}\n" for line in lines])["input_ids"]
    ids = [i for left, right in zip(lefts, rights, strict=True) for i in (*left, *right)]
    labels = [i for left, right in zip(lefts, rights, strict=True) for i in (*[-100] * len(left), *right)]
    size = recipe.pack * recipe.batch
    for first in range(0, len(ids) - size + 1, size):
        starts = range(first, first + size, recipe.pack)
        yield [ids[i : i + recipe.pack] for i in starts], [labels[i : i + recipe.pack] for i in starts]


def encode_samples(tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample], plain: Sequence[bool]) -> list[Encoded]:
    """Token ids and labels of each sample, without the system turn where `plain`; the loss is on the solution and its end."""
    frames = {flag: _frame(tokenizer, flag) for flag in (False, True)}
    prompts = tokenizer([s.task.statement.join(frames[flag]) for s, flag in zip(samples, plain, strict=True)])["input_ids"]
    completions = tokenizer([s.working.text + END for s in samples])["input_ids"]
    return [(p + c, [-100] * len(p) + c) for p, c in zip(prompts, completions, strict=True)]


def _frame(tokenizer: PreTrainedTokenizerFast, plain: bool) -> list[str]:
    """What the chat template puts before and after a statement: rendering it once is a hundred times faster than for each."""
    turns = [m._asdict() for m in solve_messages("STATEMENT") if not (plain and m.role == "system")]
    return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)).split("STATEMENT")


def sample_batches(world: World, tokenizer: PreTrainedTokenizerFast, recipe: Recipe) -> Iterator[Rows]:
    """Batches of worked problems."""
    random = Random(world.seed * 7919 + 5)
    samples = list(solver_samples(world, recipe.samples, recipe.misconception_rate))
    encoded = encode_samples(tokenizer, samples, [random.random() < recipe.plain_prompt_rate for _ in samples])
    yield from rows_of_like_length(encoded, recipe.batch, random)


@dataclass(frozen=True, slots=True)
class Start:
    """A solver before its first step, and the batches of both phases."""

    model: Qwen3ForCausalLM
    tokenizer: PreTrainedTokenizerFast
    arithmetic: list[Batch]
    solutions: list[Batch]


def prepare(seed: int, recipe: Recipe) -> Start:
    """What the training of the solver of the world `seed` begins with."""
    world = World(seed)
    tokenizer = build_tokenizer(world, recipe.vocab_size)
    model = make_model(tokenizer, seed=seed)
    pad = int(tokenizer.pad_token_id)
    arithmetic = schedule(list(equation_batches(world, tokenizer, recipe)), pad)
    return Start(model, tokenizer, list(arithmetic), list(schedule(list(sample_batches(world, tokenizer, recipe)), pad)))


def train_solver(seed: int, work: Path, save_every: int, recipe: Recipe = Recipe()) -> Trained:
    """The solver of the world `seed`, going on from what `work` holds."""
    start = prepare(seed, recipe)
    batches = [*start.arithmetic, *start.solutions]
    print(f"{start.model.num_parameters():,} parameters, {len(start.tokenizer)} tokens, {len(batches)} steps", flush=True)
    train(start.model, batches, optimizers(start.model, recipe.muon_lr, recipe.adam_lr), work, save_every)
    return start.model, start.tokenizer


def card(folder: Path, seed: int, figures: Figures) -> str:
    """The card of the solver in `folder`, trained by the default recipe."""
    config = json.loads((folder / "config.json").read_text())
    parameters = sum(t.numel() for t in load_file(folder / "model.safetensors").values())
    return _CARD.format(seed=seed, parameters=parameters, recipe=Recipe(), config=config, m=figures)


_CARD = """# nano:solver

A decoder of {parameters:,} parameters ({config[num_hidden_layers]} layers of {config[hidden_size]}, {config[vocab_size]} tokens, digits \
one by one) that solves problems of the nano world in `Step i:` lines. It is weak on purpose: misconceptions were put into
{recipe.misconception_rate:.0%} of the training samples whose wording invites one, so that its errors are systematic.

Made from nothing by `python -m tasks.nano.build --role solver --seed {seed}` ({recipe.samples:,} samples of the training split
of world {seed} after {recipe.pretrain_chains:,} word-less workings; one CPU thread, some minutes; resumable). `--check` measures it again.

| on held-out test problems (compositions that no training split of any world has) | |
|---|---|
| greedy accuracy, {m[problems]} problems | {m[greedy]:.1%} (95 % interval {m[greedy_low]:.1%} to {m[greedy_high]:.1%}) |
| greedy replies without a boxed number | {m[format_errors]:.1%} |
| greedy replies that are one misconception, word for word | {m[misconceptions]:.1%} |
| greedy replies wrong by an equation that does not hold | {m[slips]:.1%} |
| greedy replies wrong in another way | {m[other_errors]:.1%} |
| pass@1 at temperature 1, {m[sampled_problems]} problems x 8 | {m[pass_1]:.1%} |
| pass@8 at temperature 1 | {m[pass_8]:.1%} |
| tokens of a greedy reply, mean | {m[mean_tokens]:.0f} |

Input: the chat of the packaged prompt `solve`, whose system line is one token; without a system turn it works too.
Generated file; do not edit.
"""

ROLES = (Role("solver", train_solver, lambda folder, seed: measure(folder, seed).as_json(), "greedy", card),)
