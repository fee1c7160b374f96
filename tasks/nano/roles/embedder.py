"""nano:embedder puts texts of the same problem, or the same concepts, near each other (InfoNCE, van den Oord et al. 2018).

A vector is what `Engine.embed` of the hf backend gives: the last hidden state, averaged over the tokens. Not normalised; compare by cosine.
"""

import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from models import loop
from models.engine import Engine, Identity
from models.nano.architecture import make_model, save
from storage.ledger import open_ledger
from tasks.nano.chat import ChatRecipe, extended_tokenizer, started_model
from tasks.nano.measure import wilson
from tasks.nano.role import Figures, Role, Trained, model_facts
from tasks.nano.roles.author import concept_texts
from tasks.nano.roles.concept_texts import TEXTS
from tasks.nano.training import Batch, Rows, optimizers, schedule, train
from tasks.nano.world import Task, World, phrase

PAIRS = 6_000
BATCH = 50
"""Pairs of a step: each text has the other 49 partners as its negatives."""
TEMPERATURE = 0.05
LISTS = 0.3
"""Share of pairs of a statement and its concepts; the others are two statements of one composition."""
MUON_LR, ADAM_LR = 0.02, 4e-3
_START = ChatRecipe(shots=lambda world, count: (), prompts=())
"""Where it starts: the solver's weights. It is taught no chats."""


def twin(task: Task, random: Random) -> str:
    """The same composition in other words: other names, things, wordings."""
    return phrase(task.composition, random).statement


def concept_list(task: Task, random: Random) -> str:
    """The task's concepts, in any order, one a line."""
    texts = concept_texts(task)
    return "\n".join(random.sample(texts, len(texts)))


def pairs(world: World, count: int) -> Iterator[tuple[str, str]]:
    """Texts that shall be near each other, of the training split."""
    random = Random(world.seed * 1000003 + 53)
    for task in islice(world.tasks("train"), count):
        yield task.statement, (concept_list if random.random() < LISTS else twin)(task, random)


def pair_rows(tokenizer: PreTrainedTokenizerFast, world: World) -> Iterator[Rows]:
    """Batches of `BATCH` texts and then their partners; all tokens are labelled, so that padding is known."""
    found = list(pairs(world, PAIRS))
    for first in range(0, len(found) - BATCH + 1, BATCH):
        part = found[first : first + BATCH]
        ids = tokenizer([a for a, _ in part] + [b for _, b in part])["input_ids"]
        yield ids, ids


def contrastive_loss(model: Qwen3ForCausalLM, batch: Batch) -> torch.Tensor:
    """Cross-entropy (nats) of finding each text's partner among all partners, both ways, by cosine over `TEMPERATURE`."""
    states = model.model(input_ids=batch.ids).last_hidden_state
    weights = (batch.labels != -100)[:, :, None].to(states.dtype)
    vectors = torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)
    near = vectors[:BATCH] @ vectors[BATCH:].T / TEMPERATURE
    partner = torch.arange(BATCH)
    return (torch.nn.functional.cross_entropy(near, partner) + torch.nn.functional.cross_entropy(near.T, partner)) / 2


def train_embedder(seed: int, work: Path, save_every: int) -> Trained:
    """The embedder of the world `seed`, going on from what `work` holds."""
    tokenizer = extended_tokenizer((), tuple(TEXTS.values()))
    model = started_model(tokenizer, _START, seed)
    batches = list(schedule(list(pair_rows(tokenizer, World(seed))), int(tokenizer.pad_token_id)))
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(batches)} steps of {BATCH} pairs", flush=True)
    train(model, batches, optimizers(model, MUON_LR, ADAM_LR), work, save_every, contrastive_loss)
    return model, tokenizer


def embed(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts, (texts, size), from the model in `folder` through the real engine."""
    from models.hf import HfBackend  # torch only where a model runs

    backend = HfBackend(folder, Identity(folder.name, "measured"))
    with tempfile.TemporaryDirectory() as place:
        ledger = open_ledger(Path(place) / "ledger.sqlite")
        try:
            vectors = np.array(loop.run(Engine(backend, ledger).embed(texts)))
        finally:
            loop.run(backend.close())
            ledger.close()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(folder: Path, seed: int, count: int = 500) -> Figures:
    """Retrieval on held-out problems of the world `seed`, beside the same network with the solver's weights and with random ones."""
    figures = {"problems": float(count), **_retrieval(folder, seed, count)}
    tokenizer = extended_tokenizer((), tuple(TEXTS.values()))
    for name, model in (("solver", started_model(tokenizer, _START, seed)), ("random", make_model(tokenizer, seed=seed))):
        with tempfile.TemporaryDirectory() as place:
            save(model, tokenizer, Path(place))
            figures |= {f"{figure}, {name} weights": value for figure, value in _retrieval(Path(place), seed, count).items()}
    return {name: round(value, 4) for name, value in figures.items()}


def _retrieval(folder: Path, seed: int, count: int) -> dict[str, float]:
    tasks, random = list(islice(World(seed).tasks("test"), count)), Random(seed * 1000003 + 59)
    statements, twins = embed(folder, [t.statement for t in tasks]), embed(folder, [twin(t, random) for t in tasks])
    found = int((np.argmax(statements @ twins.T, axis=1) == np.arange(count)).sum())
    low, high = wilson(found, count)
    names = [frozenset(concept_texts(t)) for t in tasks]
    lists = sorted(set(names), key=sorted)
    listed = embed(folder, ["\n".join(sorted(concepts)) for concepts in lists])
    best = np.argmax(statements @ listed.T, axis=1)
    return {
        "twin_at_1": found / count,
        "twin_at_1_low": low,
        "twin_at_1_high": high,
        "concepts_at_1": sum(lists[i] == concepts for i, concepts in zip(best, names, strict=True)) / count,
        "concept_lists": float(len(lists)),
        "same_concepts_nearer": _nearer(statements, names),
    }


def _nearer(vectors: np.ndarray, names: Sequence[frozenset[str]]) -> float:
    """How often two different problems with the same concepts are nearer than two with others; a half is chance."""
    near = vectors @ vectors.T
    same = np.array([[a == b for b in names] for a in names])
    above = np.triu(np.ones_like(same), 1)
    alike, others = np.sort(near[same & above]), np.sort(near[~same & above])
    return float(np.searchsorted(others, alike).mean() / len(others))


def card(folder: Path, seed: int, figures: Figures) -> str:
    """The card of the embedder."""
    columns = ("", ", solver weights", ", random weights")
    rows = (
        ("twin_at_1", "the same problem in other words is the nearest of all"),
        ("concepts_at_1", "its list of concepts is the nearest"),
    )
    lines = [f"| {what} | " + " | ".join(f"{figures[name + column]:.1%}" for column in columns) + " |" for name, what in rows]
    nearer = " | ".join(f"{figures['same_concepts_nearer' + column]:.3f}" for column in columns)
    lines.append(f"| two problems with the same concepts are nearer than two with others (chance 0.5) | {nearer} |")
    return _CARD.format(m=figures, facts=model_facts(folder), seed=seed, pairs=PAIRS, lists=LISTS, lines="\n".join(lines))


_CARD = """# nano:embedder

{facts} that puts texts of the nano world into a space where problems that are the same in other words are near each other, and statements
are near their lists of concepts. A vector is the mean of the last hidden states; compare by cosine. What it makes of other texts means
nothing.

Made from nano:solver by `python -m tasks.nano.build --role embedder --seed {seed}` ({pairs:,} pairs of the training split of world {seed},
{lists:.0%} of them a statement and its concepts; one CPU thread, some minutes; resumable). `--check` measures it again.

| of {m[problems]:.0f} held-out problems ({m[concept_lists]:.0f} lists of concepts) | trained | before (nano:solver) | random weights |
|---|---|---|---|
{lines}

95 % interval of the first figure: {m[twin_at_1_low]:.1%} to {m[twin_at_1_high]:.1%}. Generated file; do not edit.
"""

ROLES = (Role("embedder", train_embedder, measure, "twin_at_1", card),)
