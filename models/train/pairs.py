"""Preference pairs to token ids: an inner step gets no end token, a step that ends its solution does (Step-DPO, its trainer's one change).

A model trained on inner steps with an end token learns to stop after one step. Prompts are never cut: longer pairs are left out whole.
"""

from collections.abc import Iterable
from typing import NamedTuple

from models.engine import Prompt
from models.train.encode import IGNORED, Row, Tokens


class Pair(NamedTuple):
    """Two continuations of one prompt, the better one first."""

    id: str
    prompt: Prompt
    """What both continue: a last assistant turn is the beginning of the reply, such as earlier steps."""
    chosen: str
    rejected: str
    chosen_ends: bool = True
    """Whether the reply ends with it: only then an end token follows."""
    rejected_ends: bool = True


class EncodedPair(NamedTuple):
    """Token ids of one pair."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]


def encode_pair(tokens: Tokens, pair: Pair) -> EncodedPair:
    """The pair's token ids. Raises ValueError where training and inference would see different tokens, or both sides are the same."""
    prompt, chosen = _side(tokens, pair, pair.chosen, pair.chosen_ends)
    _, rejected = _side(tokens, pair, pair.rejected, pair.rejected_ends)
    if chosen == rejected:
        raise ValueError(f"pair {pair.id}: chosen and rejected are the same tokens ({pair.chosen[:60]!r}): there is nothing to prefer")
    if not chosen or not rejected:
        raise ValueError(f"pair {pair.id}: an empty side (chosen {pair.chosen[:60]!r}, rejected {pair.rejected[:60]!r})")
    return EncodedPair(prompt, chosen, rejected)


def _side(tokens: Tokens, pair: Pair, text: str, ends: bool) -> tuple[list[int], list[int]]:
    """(prompt, continuation) in token ids, after the same rules as rows of a fine-tuning."""
    ids, labels = tokens.encode(Row(pair.id, pair.prompt, text), ends=ends)
    start = labels.count(IGNORED)
    joined = tokens.joined(pair.prompt, text)
    if joined is not None and ids[: len(joined)] != joined:
        at = next((i for i, (a, b) in enumerate(zip(ids, joined, strict=False)) if a != b), min(len(ids), len(joined)))
        apart, together = (tokens.tokenizer.convert_ids_to_tokens(found[at : at + 8]) for found in (ids, joined))
        raise ValueError(
            f"pair {pair.id}: the prompt's tokens are not how prompt + continuation begins: {apart} apart, {together} as one text: "
            "end the prefix on a token boundary (`Step k:` without a space)"
        )
    return ids[:start], ids[start:]


def encode_pairs(tokens: Tokens, pairs: Iterable[Pair], max_length: int) -> tuple[list[EncodedPair], list[str]]:
    """(encoded pairs, ids of those of which a side with the prompt is longer than `max_length` tokens). Those are left out whole."""
    kept, too_long = [], []
    for pair in pairs:
        encoded = encode_pair(tokens, pair)
        if len(encoded.prompt_ids) + max(len(encoded.chosen_ids), len(encoded.rejected_ids)) > max_length:
            too_long.append(pair.id)
        else:
            kept.append(encoded)
    if not kept:
        raise ValueError(f"none of {len(too_long)} pairs is left to train on: all are longer than max_length = {max_length} tokens")
    return kept, too_long
