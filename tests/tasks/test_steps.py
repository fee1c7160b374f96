"""The step splitter: nothing is lost, headers alone cut, mentions never do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.maths.steps import body, prefix_to, spans, split

SPLITS = {
    "headers": ("Step 1: a\nStep 2: b\nAnswer: 3", ["Step 1: a\n", "Step 2: b\nAnswer: 3"]),
    "text before the first header": ("Let us see.\nStep 1: a\nStep 2: b", ["Let us see.\nStep 1: a\n", "Step 2: b"]),
    "header of step 1 in the prompt": (" we add.\nStep 2: b\nStep 3: c", [" we add.\n", "Step 2: b\n", "Step 3: c"]),
    "a single step": ("Step 1: all of it.\n\nAnd more.", ["Step 1: all of it.\n\nAnd more."]),
    "mention in a line": ("Step 1: a\nStep 2: from Step 3: no\nStep 3: c", ["Step 1: a\n", "Step 2: from Step 3: no\n", "Step 3: c"]),
    "mention at a line's start": ("Step 1: a\nStep 2: b\nStep 1: no\nStep 3: c", ["Step 1: a\n", "Step 2: b\nStep 1: no\n", "Step 3: c"]),
    "no separator, no header": ("Step 1: a\nStep 2 was hard.\nStep 2: b", ["Step 1: a\nStep 2 was hard.\n", "Step 2: b"]),
    "bold": ("**Step 1:** a\n**Step 2**: b\n__Step 3.__ c", ["**Step 1:** a\n", "**Step 2**: b\n", "__Step 3.__ c"]),
    "markdown": ("### Step 1\na\n\n### Step 2: Rest\nb", ["### Step 1\na\n\n", "### Step 2: Rest\nb"]),
    "other marks": ("STEP 1. a\nstep 2) b\nStep 3 - c", ["STEP 1. a\n", "step 2) b\n", "Step 3 - c"]),
    "Windows newlines": ("Step 1: a\r\nStep 2\r\nb\r\n", ["Step 1: a\r\n", "Step 2\r\nb\r\n"]),
    "reasoning block": ("Step 1: x\nStep 2: y</think>\nStep 1: a\nStep 2: b", ["Step 1: x\nStep 2: y</think>\nStep 1: a\n", "Step 2: b"]),
    "more than nine": ("\n".join(f"Step {i}: x" for i in range(1, 13)), [f"Step {i}: x\n" for i in range(1, 12)] + ["Step 12: x"]),
    "Chinese ordinals": ("第一步：算。\n第二步，好。\n第 3 步、完", ["第一步：算。\n", "第二步，好。\n", "第 3 步、完"]),
    "Chinese numbered steps": ("步骤1：甲\n步骤二：乙", ["步骤1：甲\n", "步骤二：乙"]),
    "traditional": ("步驟 1: 甲，見步驟 2：乙\n步驟 2: 丙", ["步驟 1: 甲，見步驟 2：乙\n", "步驟 2: 丙"]),
    "list": ("We do:\n1. a\n2. b\n\nSo 3.", ["We do:\n1. a\n", "2. b\n\nSo 3."]),
    "nested list": ("1. a\n   1. x\n   2. y\n2. b", ["1. a\n   1. x\n   2. y\n", "2. b"]),
    "list with brackets": ("(1) a\n(2) b", ["(1) a\n", "(2) b"]),
    "bold list": ("1. **a** x\n2. **b** y", ["1. **a** x\n", "2. **b** y"]),
    "decimals are no list": ("1.5 + 2 = 3.5\n2.5 - 1 = 1.5", ["1.5 + 2 = 3.5\n", "2.5 - 1 = 1.5"]),
    "paragraphs": ("a\nb\n\nc\n \n\nd", ["a\nb\n\n", "c\n \n\n", "d"]),
    "lines": ("a. b\nc\n", ["a. b\n", "c\n"]),
    "displayed formula": ("a\n\\[\nx\n\n= 2\n\\]\n\nb", ["a\n\\[\nx\n\n= 2\n\\]\n\n", "b"]),
    "environment": ("\\begin{align}\na\n\nb\n\\end{align}\n\nc", ["\\begin{align}\na\n\nb\n\\end{align}\n\n", "c"]),
    "formula that never closes": ("a \\[ x\n\nb", ["a \\[ x\n\n", "b"]),
    "sentences": ("Ann has 3.5 kg. She eats 2! Is x = 3? Yes.", ["Ann has 3.5 kg. ", "She eats 2! ", "Is x = 3? ", "Yes."]),
    "abbreviations": ("Mr. Lee has 3 vs. No. 4 of Ann. He wins.", ["Mr. Lee has 3 vs. No. 4 of Ann. ", "He wins."]),
    "Chinese sentences": ("三加二。等于“五！”好", ["三加二。", "等于“五！”", "好"]),
    "one line": ("no step at all", ["no step at all"]),
    "white space": (" \n\n ", [" \n\n "]),
    "empty": ("", []),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
def test_steps_are_cut_where_they_begin(name):
    text, wanted = SPLITS[name]
    assert split(text) == wanted


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            ["Step 1: a", "**Step 2:** b", "### Step 3", "Step 4", "1. x", "  2. y", "(1) z", "第一步：", "步骤2：", "\\[", "\\]", "```"]
        ),
        st.sampled_from(["", " ", "\t", "</think>", "from Step 2: on", "So. Then", "好。！", "$$", "\\begin{align}"]),
        st.text(max_size=12),
    ),
    max_size=12,
)
TEXTS = st.one_of(st.text(max_size=60), st.builds(lambda lines, end: end.join(lines), LINES, st.sampled_from(["\n", "\r\n", "\n\n", " "])))


@given(TEXTS)
def test_the_pieces_joined_are_the_text(text):
    assert "".join(split(text)) == text


@given(TEXTS)
def test_offsets_follow_each_other_and_every_step_but_an_only_one_says_something(text):
    steps = spans(text)
    assert [s.start for s in steps] == [0, *(s.end for s in steps)][:-1]
    assert all(s.start <= s.body <= s.end for s in steps)
    assert len(steps) < 2 or all(text[s.start : s.end].strip() for s in steps)


@given(TEXTS, st.data())
def test_a_prefix_is_a_prefix_of_the_text_and_its_rest_begins_the_step(text, data):
    steps = spans(text)
    if steps:
        k = data.draw(st.integers(1, len(steps)))
        prefix = prefix_to(text, k)
        assert text.startswith(prefix) and text[len(prefix) : steps[k - 1].end] == text[steps[k - 1].body : steps[k - 1].end]


BODIES = st.text(st.characters(codec="utf-8", exclude_characters="\n\r</"), min_size=1, max_size=30)


@given(st.lists(BODIES, min_size=1, max_size=15), st.sampled_from(["Step {}:", "**Step {}:**", "### Step {}.", "步骤{}：", "Step {} -"]))
def test_numbered_headers_give_back_what_was_joined(bodies, header):
    pieces = [f"{header.format(i)} {text}\n" for i, text in enumerate(bodies, 1)]
    text = "".join(pieces)
    assert split(text) == pieces
    assert [body(piece) for piece in split(text)] == [f" {text}\n" for text in bodies]
    assert [prefix_to(text, k + 1) for k in range(len(bodies))] == ["".join(pieces[:k]) + header.format(k + 1) for k in range(len(bodies))]


def test_a_step_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no step 3: the text has 2"):
        prefix_to("Step 1: a\nStep 2: b", 3)


HOSTILE = {
    "newlines": "\n" * 300_000,
    "newlines after a word": "a" + "\n" * 300_000 + "b",
    "spaces in lines": ("a" + " " * 50 + "\n") * 20_000,
    "open formulas": "\\[ \n\n a" * 50_000,
    "headers that do not rise": "Step 2: x\n" * 50_000,
    "ten thousand steps": "".join(f"Step {i}: x\n" for i in range(1, 10_000)),
    "full stops": ". " * 50_000,
    "stop and spaces": "a." + " " * 300_000 + "b",
    "hashes": "#" * 300_000,
    "digits": "Step " + "1" * 1_000_000,
    "think": "</think>" * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_come_back_whole(name):
    assert "".join(split(HOSTILE[name])) == HOSTILE[name]  # a quadratic scan would take minutes
