"""Make a nano model from nothing: `python -m tasks.nano.build --role solver --seed 0`.

Resumable: it saves every `--save-every` steps under `--work`, and the same command continues. With one thread, one seed and one
build of torch it makes the same weights. What unlocked learning at this size: arithmetic first (results only in the loss),
one-digit operands, initial deviation 0.06, Muon for the hidden matrices.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from models.nano.architecture import END, make_model, make_tokenizer, save
from tasks.nano.corpus import Sample, equation_chains, solve_messages, solver_samples
from tasks.nano.measure import Measured, measure
from tasks.nano.world import World

SHIPPED = Path(__file__).parents[2] / "models" / "nano"


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


@dataclass(frozen=True, slots=True)
class Batch:
    """Token ids and labels (-100 where there is no loss), both (rows, tokens), and the learning-rate factor of the step."""

    ids: torch.Tensor
    labels: torch.Tensor
    scale: float


def build_tokenizer(world: World, vocab_size: int) -> PreTrainedTokenizerFast:
    """The one tokenizer of the nano models: trained on statements and workings, the system line of `solve` one token."""
    texts = [t for s in solver_samples(world, 4000, 0.0) for t in (s.task.statement, s.working.text)]
    system = [m.content for m in solve_messages("x") if m.role == "system"]
    return make_tokenizer(texts, system, vocab_size)


Rows = tuple[list[list[int]], list[list[int]]]
"""Token ids and labels of one batch, before padding."""


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


def encode_samples(
    tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample], plain: Sequence[bool]
) -> list[tuple[list[int], list[int]]]:
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
    """Batches of rows of about equal length, in random order."""
    random = Random(world.seed * 7919 + 5)
    samples = list(solver_samples(world, recipe.samples, recipe.misconception_rate))
    encoded = encode_samples(tokenizer, samples, [random.random() < recipe.plain_prompt_rate for _ in samples])
    window = recipe.batch * 16
    for first in range(0, len(encoded), window):
        part = sorted(encoded[first : first + window], key=lambda row: len(row[0]))
        batches = [part[i : i + recipe.batch] for i in range(0, len(part), recipe.batch)]
        for batch in random.sample(batches, len(batches)):
            yield [b[0] for b in batch], [b[1] for b in batch]


def schedule(rows: Sequence[Rows], pad: int) -> Iterator[Batch]:
    """Right-padded tensors with a warm-up over 20 steps, then a linear fall to zero."""
    for step, (ids, labels) in enumerate(rows):
        longest = max(map(len, ids))
        yield Batch(
            torch.tensor([r + [pad] * (longest - len(r)) for r in ids]),
            torch.tensor([r + [-100] * (longest - len(r)) for r in labels]),
            min(1.0, (step + 1) / 20) * (1 - step / len(rows)),
        )


def optimizers(model: Qwen3ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, Adam for the embeddings and norms."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    made: list[torch.optim.Optimizer] = [
        torch.optim.Muon(hidden, lr=recipe.muon_lr, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=recipe.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    return made


def loss_of(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy (nats) over the labelled tokens; logits are made for those positions only."""
    hidden = model.model(input_ids=batch.ids).last_hidden_state[:, :-1]
    wanted = batch.labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), batch.labels[:, 1:][wanted])


def save_state(folder: Path, step: int, model: Qwen3ForCausalLM, opts: Sequence[torch.optim.Optimizer]) -> None:
    """Weights and optimizer state in one safetensors file, replaced by rename."""
    tensors = {f"model.{n}": p.detach().clone() for n, p in model.named_parameters()}
    for number, opt in enumerate(opts):
        for index, entries in opt.state_dict()["state"].items():
            tensors |= {f"opt{number}.{index}.{name}": torch.as_tensor(value).clone() for name, value in entries.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "state.tmp", metadata={"step": str(step)})
    os.replace(folder / "state.tmp", folder / f"state-{step:06d}.safetensors")
    for old in sorted(folder.glob("state-*.safetensors"))[:-1]:
        old.unlink()


def load_state(folder: Path, model: Qwen3ForCausalLM, opts: Sequence[torch.optim.Optimizer]) -> int:
    """The step to go on from; 0 where nothing was saved."""
    saved = sorted(folder.glob("state-*.safetensors"))
    if not saved:
        return 0
    tensors = load_file(saved[-1])
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model.{name}"])
    for number, opt in enumerate(opts):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            owner, _, rest = key.partition(".")
            if owner == f"opt{number}":
                index, _, name = rest.partition(".")
                state.setdefault(int(index), {})[name] = value
        opt.load_state_dict({"state": state, "param_groups": opt.state_dict()["param_groups"]})
    return int(saved[-1].stem.split("-")[1])


def train(
    model: Qwen3ForCausalLM, batches: Sequence[Batch], opts: Sequence[torch.optim.Optimizer], work: Path, save_every: int
) -> list[float]:
    """Run the steps that are left; gives the loss of each."""
    start, losses = load_state(work, model, opts), list[float]()
    base = [group["lr"] for opt in opts for group in opt.param_groups]
    model.train()
    for step in range(start, len(batches)):
        for group, rate in zip((g for opt in opts for g in opt.param_groups), base, strict=True):
            group["lr"] = rate * batches[step].scale
        loss = loss_of(model, batches[step])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad()
        losses.append(loss.item())
        if (step + 1) % 50 == 0:
            recent = losses[-50:]
            print(f"step {step + 1}/{len(batches)} loss {sum(recent) / len(recent):.3f} cpu {time.process_time():.0f} s", flush=True)
        if (step + 1) % save_every == 0 or step + 1 == len(batches):
            for group, rate in zip((g for opt in opts for g in opt.param_groups), base, strict=True):
                group["lr"] = rate
            save_state(work, step + 1, model, opts)
    return losses


def train_solver(seed: int, work: Path, save_every: int, recipe: Recipe) -> tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]:
    """The solver of the world `seed`, going on from what `work` holds."""
    world = World(seed)
    tokenizer = build_tokenizer(world, recipe.vocab_size)
    model = make_model(tokenizer, seed=seed)
    pad = int(tokenizer.pad_token_id)
    batches = [
        *schedule(list(equation_batches(world, tokenizer, recipe)), pad),
        *schedule(list(sample_batches(world, tokenizer, recipe)), pad),
    ]
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(batches)} steps", flush=True)
    train(model, batches, optimizers(model, recipe), work, save_every)
    return model, tokenizer


def build_solver(seed: int, work: Path, out: Path, save_every: int, recipe: Recipe) -> None:
    """Train, save, measure, and write the card."""
    model, tokenizer = train_solver(seed, work, save_every, recipe)
    save(model, tokenizer, out)
    write_card(out, seed, recipe, measure(out, seed))


def write_card(folder: Path, seed: int, recipe: Recipe, measured: Measured) -> None:
    """`measured.json`, and README.md made from it and from the recipe."""
    (folder / "measured.json").write_text(json.dumps(measured.as_json(), indent=2) + "\n")
    config = json.loads((folder / "config.json").read_text())
    parameters = sum(t.numel() for t in load_file(folder / "model.safetensors").values())
    (folder / "README.md").write_text(_CARD.format(seed=seed, parameters=parameters, recipe=recipe, config=config, m=measured))


_CARD = """# nano:solver

A decoder of {parameters:,} parameters ({config[num_hidden_layers]} layers of {config[hidden_size]}, {config[vocab_size]} tokens, digits \
one by one) that solves problems of the nano world in `Step i:` lines. It is weak on purpose: misconceptions were put into
{recipe.misconception_rate:.0%} of the training samples whose wording invites one, so that its errors are systematic.

Made from nothing by `python -m tasks.nano.build --role solver --seed {seed}` ({recipe.samples:,} samples of the training split
of world {seed} after {recipe.pretrain_chains:,} word-less workings; one CPU thread, some minutes; resumable). `--check` measures it again.

| on held-out test problems (compositions that no training split of any world has) | |
|---|---|
| greedy accuracy, {m.problems} problems | {m.greedy:.1%} (95 % interval {m.greedy_low:.1%} to {m.greedy_high:.1%}) |
| greedy replies without a boxed number | {m.format_errors:.1%} |
| greedy replies that are one misconception, word for word | {m.misconceptions:.1%} |
| greedy replies wrong by an equation that does not hold | {m.slips:.1%} |
| greedy replies wrong in another way | {m.other_errors:.1%} |
| pass@1 at temperature 1, {m.sampled_problems} problems x 8 | {m.pass_1:.1%} |
| pass@8 at temperature 1 | {m.pass_8:.1%} |
| tokens of a greedy reply, mean | {m.mean_tokens:.0f} |

Input: the chat of the packaged prompt `solve`, whose system line is one token; without a system turn it works too.
Generated file; do not edit.
"""


def check(folder: Path, seed: int) -> bool:
    """Whether the model in `folder`, measured again, lies within the interval that its card states."""
    stated = json.loads((folder / "measured.json").read_text())
    again = measure(folder, seed)
    print(f"stated {stated['greedy']:.1%} ({stated['greedy_low']:.1%} to {stated['greedy_high']:.1%}), measured {again.greedy:.1%}")
    return bool(stated["greedy_low"] <= again.greedy <= stated["greedy_high"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; 1 when a check fails."""
    parser = argparse.ArgumentParser(prog="python -m tasks.nano.build", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--role", choices=["solver"], required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the model (default: where it ships)")
    parser.add_argument("--work", type=Path, help="folder of the checkpoints (default: .nano-build/ROLE-SEED)")
    parser.add_argument("--save-every", type=int, default=200, help="steps between checkpoints")
    parser.add_argument("--check", action="store_true", help="train nothing: measure the model in --out against its card")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    out = options.out or SHIPPED / options.role
    if options.check:
        return 0 if check(out, options.seed) else 1
    work = options.work or Path(".nano-build") / f"{options.role}-{options.seed}"
    build_solver(options.seed, work, out, options.save_every, Recipe())
    return 0


if __name__ == "__main__":
    sys.exit(main())
