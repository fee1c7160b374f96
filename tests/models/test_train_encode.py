import json
from pathlib import Path

import pytest

from models.engine import Message, Prompt
from models.train.encode import IGNORED, Row, Tokens, encode_all
from tests.tiny_model import tiny_model

PROMPT = Prompt(messages=(Message("system", "Reason."), Message("user", "What is 3 + 4?")))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


def with_template(base: Path, folder: Path, template: str) -> Tokens:
    """The base's tokenizer with another chat template."""
    tokens = Tokens(base)
    tokens.tokenizer.chat_template = template
    tokens.tokenizer.save_pretrained(folder)
    (folder / "config.json").write_text((base / "config.json").read_text())
    return Tokens(folder)


def test_the_loss_is_on_the_completion_and_its_end_token_only(base: Path):
    tokens = Tokens(base)
    ids, labels = tokens.encode(Row("r", PROMPT, "It is 7."))
    trained = [label for label in labels if label != IGNORED]
    assert tokens.tokenizer.decode(trained) == "It is 7.<|end|>"
    assert ids[-len(trained) :] == trained
    assert len(ids) == len(labels)


def test_the_context_is_what_the_template_renders_at_inference(base: Path):
    tokens = Tokens(base)
    ids, labels = tokens.encode(Row("r", PROMPT, "It is 7."))
    rendered = tokens.tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in PROMPT.messages or ()], add_generation_prompt=True, tokenize=False
    )
    assert tokens.tokenizer.decode(ids[: labels.count(IGNORED)]) == rendered


def test_a_raw_prompt_and_a_prefilled_turn_are_continued_as_they_stand(base: Path):
    tokens = Tokens(base)
    ids, _ = tokens.encode(Row("r", Prompt(text="3 + 4 ="), " 7"))
    assert tokens.tokenizer.decode(ids) == "3 + 4 = 7<|end|>"
    prefilled = Prompt(messages=(Message("user", "3 + 4?"), Message("assistant", "Step 1:")))
    ids, labels = tokens.encode(Row("r", prefilled, " Sum 3+4=7"))
    assert tokens.tokenizer.decode(ids) == "<|user|>3 + 4?<|assistant|>Step 1: Sum 3+4=7<|end|>"
    assert tokens.tokenizer.decode([x for x in labels if x != IGNORED]) == " Sum 3+4=7<|end|>"


def test_what_a_template_writes_after_the_end_of_a_turn_is_left_out(base: Path, tmp_path: Path):
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    tokens = with_template(base, tmp_path, template)
    ids, _ = tokens.encode(Row("r", PROMPT, "It is 7."))
    assert tokens.tokenizer.decode(ids).endswith("It is 7.<|end|>")


def test_a_template_that_never_ends_a_turn_is_refused(base: Path, tmp_path: Path):
    template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    with pytest.raises(ValueError, match=r"row r: .* none of \['<\|end\|>'\].* would not learn to stop"):
        with_template(base, tmp_path, template).encode(Row("r", PROMPT, "It is 7."))


def test_a_generation_config_that_stops_at_another_token_is_refused(base: Path, tmp_path: Path):
    tokens = Tokens(base)
    tokens.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((base / "config.json").read_text())
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": tokens.tokenizer.pad_token_id}))
    with pytest.raises(ValueError, match=r"none of \['<\|pad\|>'\]"):
        Tokens(tmp_path).encode(Row("r", PROMPT, "It is 7."))


def test_a_template_that_renders_the_prompt_alone_differently_is_refused_with_both_renderings(base: Path, tmp_path: Path):
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>Think:{% else %}<|end|>{% endif %}"
    )
    with pytest.raises(ValueError, match=r"row r: the prompt is not how prompt \+ completion begins.*Think:"):
        with_template(base, tmp_path, template).encode(Row("r", PROMPT, "It is 7."))


def test_long_rows_are_left_out_whole_and_named(base: Path):
    tokens = Tokens(base)
    rows = [Row("short", PROMPT, "7"), Row("long", PROMPT, "7 " * 100)]
    kept, too_long = encode_all(tokens, rows, max_length=80)
    assert [tokens.tokenizer.decode([x for x in k.labels if x != IGNORED]) for k in kept] == ["7<|end|>"]
    assert too_long == ["long"]
    with pytest.raises(ValueError, match="all are longer than max_length = 5"):
        encode_all(tokens, rows, max_length=5)
