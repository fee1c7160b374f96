"""Why these concepts lead to this problem: the designer's thinking, computed (PromptCoT, the two factors of a good rationale).

It names every decision, so that it all but determines the problem (only wordings are left open), and goes from concepts and level alone.
"""

from tasks.nano.world import Kind, Task, kinds

_MEASURES: dict[Kind, str] = {"count": "", "length": " cm", "area": " square cm", "number": "", "chance": ""}
_SUBJECTS: dict[Kind, str] = {
    "count": "{name} and {v} {item}",
    "length": "{name} and a {item} of {v} cm",
    "number": "{name} and the number {v}",
}
_ASKED: dict[Kind, str] = {
    "count": "the number of {item}",
    "length": "the length in cm",
    "area": "the area in square cm",
    "number": "the number",
    "chance": "the chance",
}


def rationale(task: Task) -> str:
    """One sentence for the level, one for the start, one a concept with its numbers and what it leads to, one for the question."""
    composition, holes, path = task.composition, task.words._asdict(), kinds(task.composition)
    first, *others = composition.ops
    order = "".join([first.concept, *(f", then {op.concept}" for op in others)])
    start = _SUBJECTS[composition.kind].format(v=composition.start, **holes)
    sentences = [f"Level {task.level} links {task.level} {'concept' if task.level == 1 else 'concepts'}: {order}.", f"Begin with {start}."]
    value = f"{composition.start}{_MEASURES[path[0]]}"
    for op, kind, reached in zip(composition.ops, path[1:], _reached(task), strict=True):
        after = f"{reached}{_MEASURES[kind]}"
        sentences.append(f"{op.concept} with {' and '.join(map(str, op.params))} turns {value} into {after}.")
        value = after
    asked = _ASKED[path[-1]].format(**holes)
    return " ".join([*sentences, f"So {task.words.other} can be part of it, and the question asks for {asked}: {task.answer}."])


def _reached(task: Task) -> list[str]:
    """The value after each concept."""
    ends, position = [], 0
    for span in task.solution.spans:
        position += span
        ends.append(str(task.solution.lines[position - 1].value))
    return ends
