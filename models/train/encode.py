"""Rows to token ids for training on completions: what the model sees at inference is what it was trained after, and it learns to stop.

TRL would cut a prompt where it diverges from prompt + completion and go on with a warning, so rows are encoded here, with errors.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from models.engine import Prompt

IGNORED = -100
"""Label of a token that the loss is not on."""


class Row(NamedTuple):
    """What one row trains."""

    id: str
    prompt: Prompt
    completion: str


class Encoded(NamedTuple):
    """Token ids of one row and their labels; `labels` is IGNORED over the prompt."""

    input_ids: list[int]
    labels: list[int]


class Tokens:
    """A model folder's tokenizer, its chat template and the tokens that end a reply."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError or ValueError when the folder holds no tokenizer, ValueError when nothing ends its replies."""
        from transformers import AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.folder = folder
        self.stops = _stops(folder, self.tokenizer)
        own = self.tokenizer.eos_token_id
        self.end = own if own in self.stops else min(self.stops)

    def encode(self, row: Row, *, ends: bool = True) -> Encoded:
        """Prompt, completion and, where the reply `ends` with it, the end token. Raises ValueError where training and inference would see
        different tokens.
        """
        prompt = self._prompt(row.prompt)
        if not ends:
            completion = self._plain(row.completion)
            return Encoded([*prompt, *completion], [IGNORED] * len(prompt) + completion)
        chat = row.prompt.messages is not None and row.prompt.messages[-1].role != "assistant"
        ids = self._whole_chat(row, prompt) if chat else [*prompt, *self._plain(row.completion), self.end]
        last = max((i for i, token in enumerate(ids) if token in self.stops), default=-1)
        if last < len(prompt):
            names = self.tokenizer.convert_ids_to_tokens(sorted(self.stops))
            raise ValueError(
                f"row {row.id}: the chat template ends an assistant's turn with none of {names}, the tokens at which {self.folder} stops, "
                "so the model would not learn to stop: set eos_token_id in its generation_config.json to the token of the template"
            )
        ids = ids[: last + 1]  # what a template writes after the end of the turn is never generated
        return Encoded(ids, [IGNORED] * len(prompt) + ids[len(prompt) :])

    def joined(self, prompt: Prompt, continuation: str) -> list[int] | None:
        """The token ids of prompt and continuation when they are one text; None for a prompt that is not text."""
        if prompt.token_ids is not None:
            return None
        if prompt.text is not None:
            return list(self.tokenizer(prompt.text + continuation)["input_ids"])
        return self._plain(self._rendered(prompt) + continuation)

    def _prompt(self, prompt: Prompt) -> list[int]:
        if prompt.token_ids is not None:
            return list(prompt.token_ids)
        if prompt.text is not None:
            return list(self.tokenizer(prompt.text)["input_ids"])
        return self._plain(self._rendered(prompt))

    def _rendered(self, prompt: Prompt) -> str:
        """What the template writes before a reply, or before the rest of one that the last turn begins."""
        prefill = bool(prompt.messages) and prompt.messages[-1].role == "assistant"  # type: ignore[index]
        return self._template(_turns(prompt), add_generation_prompt=not prefill, continue_final_message=prefill)

    def _whole_chat(self, row: Row, prompt: list[int]) -> list[int]:
        ids = self._plain(self._template([*_turns(row.prompt), {"role": "assistant", "content": row.completion}]))
        if ids[: len(prompt)] != prompt:
            at = next((i for i, (a, b) in enumerate(zip(ids, prompt, strict=False)) if a != b), len(ids))
            raise ValueError(
                f"row {row.id}: the prompt is not how prompt + completion begins: the chat template of {self.folder} writes "
                f"{self.tokenizer.decode(prompt[at:][:20])!r} before a reply and {self.tokenizer.decode(ids[at:][:20])!r} with one. "
                "Give a template that renders both alike, or a prompt of one '## raw' part"
            )
        return ids

    def _template(self, messages: list[dict[str, str]], **options: bool) -> str:
        if self.tokenizer.chat_template is None:
            raise ValueError(f"{self.folder} has no chat template: give a prompt of one '## raw' part")
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **options))

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _turns(prompt: Prompt) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in prompt.messages or ()]


def _stops(folder: Path, tokenizer: Any) -> set[int]:
    """The ids at which generation stops: of the generation config, else of the tokenizer."""
    from transformers import GenerationConfig

    stops: int | list[int] | None = None
    if (folder / "generation_config.json").is_file():
        stops = GenerationConfig.from_pretrained(folder).eos_token_id
    if stops is None:
        stops = tokenizer.eos_token_id
    if stops is None:
        raise ValueError(f"{folder} names no eos token, neither in generation_config.json nor in its tokenizer: replies would never end")
    return {stops} if isinstance(stops, int) else set(stops)


def encode_all(tokens: Tokens, rows: Iterable[Row], max_length: int) -> tuple[list[Encoded], list[str]]:
    """(encoded rows, ids of rows longer than `max_length` tokens). Those are left out whole: nothing is ever cut."""
    kept, too_long = [], []
    for row in rows:
        encoded = tokens.encode(row)
        if len(encoded.input_ids) > max_length:
            too_long.append(row.id)
        else:
            kept.append(encoded)
    if not kept:
        raise ValueError(f"none of {len(too_long)} rows is left to train on: all are longer than max_length = {max_length} tokens")
    return kept, too_long
