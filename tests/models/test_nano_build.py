"""The builder of nano roles: one tokenizer that grows at its end, chats rendered as the template does, and a build from end to end."""

import functools
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from models.engine import Message
from models.nano import nano_names, nano_path
from tasks.nano.build import build, check, find_role
from tasks.nano.chat import Shot, encode_shots, extended_tokenizer, fixed_prose, rendered, train_chat
from tasks.nano.role import Role
from tasks.nano.roles import reasoner, step_judge, tool_user

PROMPTS = ("locate_step", "solve_tool", "solve_long")
PHRASES = ("Final Decision:\n", "步骤", "答案：", "```python\n", " même ", "\\frac{1}{2}")


@pytest.fixture(scope="module")
def tokenizer():
    return extended_tokenizer(PROMPTS, PHRASES)


@pytest.fixture(scope="module")
def base():
    return AutoTokenizer.from_pretrained(nano_path("solver"))


def test_ids_of_the_solver_never_change_and_new_tokens_stand_behind_them(tokenizer, base):
    known = base.get_vocab()
    grown = tokenizer.get_vocab()
    assert all(grown[token] == number for token, number in known.items())
    assert sorted(set(grown.values()) - set(known.values())) == list(range(len(base), len(tokenizer)))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([*PHRASES, "12", " Sum ", "数学", "🙂", "\\boxed{3}", "\n", " "]), max_size=8).map("".join))
def test_texts_made_of_phrases_come_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_each_piece_of_prose_and_each_phrase_is_one_token(tokenizer):
    pieces = [piece for prompt in PROMPTS for piece in fixed_prose(prompt)]
    assert len(pieces) >= 5
    assert all(len(tokenizer.encode(text)) == 1 for text in [*pieces, *PHRASES])


@pytest.mark.parametrize("given_turn", [None, "Step 1:", "a\n```output\n3\n```\n", " x "])
def test_chats_are_rendered_as_the_template_renders_them(tokenizer, given_turn):
    messages = (Message("system", "Be brief."), Message("user", "3 + 4?"))
    if given_turn is not None:
        messages = (*messages, Message("assistant", given_turn))
    [(ids, labels)] = encode_shots(tokenizer, [Shot(messages, "7")])
    prefill = given_turn is not None
    asked = tokenizer.apply_chat_template(
        [m._asdict() for m in messages], return_dict=False, add_generation_prompt=not prefill, continue_final_message=prefill
    )
    assert ids[: len(asked)] == asked == tokenizer.encode(rendered(messages))
    assert [i for i in labels if i != -100] == ids[len(asked) :] == tokenizer.encode("7<|end|>")


def test_an_unknown_role_is_named_with_the_roles_there_are():
    with pytest.raises(ValueError, match=r"no role 'sovler': have \['author', 'embedder'"):
        find_role("sovler")


@pytest.mark.parametrize("name", ["solver", "step-judge", "tool-user", "reasoner"])
def test_a_shipped_role_has_the_card_that_its_figures_make(name):
    role, folder = find_role(name), nano_path(name)
    figures = json.loads((folder / "measured.json").read_text())
    assert role.card(folder, 0, figures) == (folder / "README.md").read_text()
    assert figures[f"{role.headline}_low"] <= figures[role.headline] <= figures[f"{role.headline}_high"]
    assert (folder / "model.safetensors").stat().st_size < 3_000_000


def test_all_that_ships_stays_within_the_repositorys_share():
    assert sum((nano_path(name) / "model.safetensors").stat().st_size for name in nano_names()) < 25_000_000


@pytest.mark.parametrize("module", [step_judge, tool_user, reasoner])
def test_a_shipped_tokenizer_is_the_one_its_role_declares(module):
    shipped = AutoTokenizer.from_pretrained(nano_path(module.ROLES[0].name))
    declared = extended_tokenizer(module.RECIPE.prompts, module.RECIPE.phrases)
    assert shipped.get_vocab() == declared.get_vocab()


@pytest.mark.slow
def test_a_role_is_built_from_end_to_end_and_its_check_reproduces_the_card(tmp_path):
    recipe = replace(step_judge.RECIPE, count=96, more=())
    measure = functools.partial(step_judge.measure, problems=24)
    role = Role("step-judge", functools.partial(train_chat, recipe), measure, "found", step_judge.card)
    build(role, 0, tmp_path / "work", tmp_path / "out", 2)
    assert [p.name for p in (tmp_path / "work").iterdir()] == ["state-000003.safetensors"]
    assert check(role, tmp_path / "out", 0)
    assert "first wrong step found" in (tmp_path / "out" / "README.md").read_text()
    (tmp_path / "out" / "measured.json").write_text(json.dumps({"found": 0.9, "found_low": 0.89, "found_high": 0.91}))
    assert not check(role, tmp_path / "out", 0)
