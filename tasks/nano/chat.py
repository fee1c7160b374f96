"""Nano roles that are taught a chat: one tokenizer that grows at its end, and training from the solver's weights on chats and replies.

The tokenizer is the solver's byte-level BPE; its ids never change. What a role is asked with (the fixed prose of packaged prompts) and what
it says again and again (its phrases) are appended, one token each: a long instruction costs one token, as the system line of `solve` does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from models.engine import Message
from models.nano import nano_path
from models.nano.architecture import END, make_model
from tasks.nano.role import Trained
from tasks.nano.training import Batch, Encoded, optimizers, rows_of_like_length, schedule, train
from tasks.nano.world import World
from tasks.prompts import fill, load_prompt

_HOLE = "\x00"
_SHORTEST = 6
"""Characters below which a piece of prose is left to the BPE."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A chat and the reply that is taught for it. A last assistant turn is given, not taught: the reply goes on from it."""

    messages: tuple[Message, ...]
    reply: str


@dataclass(frozen=True, slots=True)
class ChatRecipe:
    """All that decides the weights of a chat role, the seed aside."""

    shots: Callable[[World, int], Iterable[Shot]]
    """(world, number of shots) -> what is taught, from the training split."""
    prompts: tuple[str, ...]
    """Packaged prompts the role is asked with."""
    phrases: tuple[str, ...] = ()
    """Further texts that are one token each."""
    count: int = 24_000
    more: tuple[tuple[Callable[[World, int], Iterable[Shot]], int], ...] = ()
    """Further lessons after the first, (shots, count) each; the learning rate rises and falls anew."""
    batch: int = 32
    muon_lr: float = 0.01
    adam_lr: float = 3e-3
    start: str | None = "solver"
    """The nano model whose weights it starts from, further layers added behind; None: from nothing, with the sizes below."""
    hidden: int = 96
    layers: int = 3
    heads: int = 3


def fixed_prose(prompt: str) -> list[str]:
    """The pieces of a packaged prompt between its holes, turn by turn, those worth a token."""
    loaded = load_prompt(prompt)
    filled = fill(loaded, **dict.fromkeys(loaded.holes, _HOLE))
    texts = [m.content for m in filled.messages] if filled.messages else [filled.text or ""]
    return [piece for text in texts for piece in text.split(_HOLE) if len(piece.strip()) >= _SHORTEST]


def extended_tokenizer(prompts: Sequence[str], phrases: Sequence[str]) -> PreTrainedTokenizerFast:
    """The solver's tokenizer with the prose of `prompts` and `phrases` appended. Raises ValueError for a phrase that does not come back."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(nano_path("solver"))
    wanted = dict.fromkeys([*(piece for prompt in prompts for piece in fixed_prose(prompt)), *phrases])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in wanted])
    for text in wanted:
        if tokenizer.decode(tokenizer.encode(text)) != text:
            raise ValueError(f"phrase {text!r} comes back as {tokenizer.decode(tokenizer.encode(text))!r}: byte-level BPE cannot hold it")
    return tokenizer


def started_model(tokenizer: PreTrainedTokenizerFast, recipe: ChatRecipe, seed: int) -> Qwen3ForCausalLM:
    """The model before training. Rows of new tokens are drawn as all weights once were; layers that are added change nothing at first."""
    fresh = make_model(tokenizer, hidden=recipe.hidden, layers=recipe.layers, heads=recipe.heads, seed=seed)
    if recipe.start is None:
        return fresh
    known = Qwen3ForCausalLM.from_pretrained(nano_path(recipe.start), dtype=torch.float32, use_safetensors=True)
    rows = known.config.vocab_size
    fresh.model.embed_tokens.weight.data[:rows] = known.model.embed_tokens.weight.data
    weights = {name: tensor for name, tensor in known.state_dict().items() if "embed_tokens" not in name and "lm_head" not in name}
    missing = fresh.load_state_dict(weights, strict=False)
    if missing.unexpected_keys:
        raise ValueError(
            f"{recipe.start!r} does not fit a model of {recipe.layers} layers of {recipe.hidden}: {missing.unexpected_keys[:3]}"
        )
    for layer in list(fresh.model.layers)[known.config.num_hidden_layers :]:
        layer.self_attn.o_proj.weight.data.zero_()
        layer.mlp.down_proj.weight.data.zero_()
    return fresh


def rendered(messages: Sequence[Message]) -> str:
    """What the chat template makes of a chat that is to be answered: a hundred times faster than asking it for each."""
    turns = "".join(f"<|{m.role}|>{m.content}" for m in messages)
    return turns if messages[-1].role == "assistant" else turns + "<|assistant|>"


def encode_shots(tokenizer: PreTrainedTokenizerFast, shots: Sequence[Shot]) -> list[Encoded]:
    """Token ids and labels of each shot; the loss is on the reply and its end."""
    prompts = tokenizer([rendered(s.messages) for s in shots])["input_ids"]
    replies = tokenizer([s.reply + END for s in shots])["input_ids"]
    return [(p + r, [-100] * len(p) + r) for p, r in zip(prompts, replies, strict=True)]


def lessons(recipe: ChatRecipe, tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Batch]:
    """The batches of all lessons on the world `seed`."""
    for shots, count in ((recipe.shots, recipe.count), *recipe.more):
        encoded = encode_shots(tokenizer, list(shots(World(seed), count)))
        rows = list(rows_of_like_length(encoded, recipe.batch, Random(seed * 7919 + 5)))
        yield from schedule(rows, int(tokenizer.pad_token_id))


def train_chat(recipe: ChatRecipe, seed: int, work: Path, save_every: int) -> Trained:
    """The model of a chat role on the world `seed`, going on from what `work` holds."""
    tokenizer = extended_tokenizer(recipe.prompts, recipe.phrases)
    model = started_model(tokenizer, recipe, seed)
    batches = list(lessons(recipe, tokenizer, seed))
    tokens = sum(int((b.labels != -100).sum()) for b in batches)
    print(f"{model.num_parameters():,} parameters, {len(tokenizer)} tokens, {len(batches)} steps, {tokens:,} taught tokens", flush=True)
    train(model, batches, optimizers(model, recipe.muon_lr, recipe.adam_lr), work, save_every)
    return model, tokenizer
