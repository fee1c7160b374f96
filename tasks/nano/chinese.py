"""Chinese renderings of nano tasks: statement and steps from the same composition, hence the same numbers and the same answer.

For a part of the concepts; a task with another concept has none. Words are drawn from the composition, so that one task has one rendering.
"""

from collections.abc import Mapping
from random import Random

from tasks.nano.world import Kind, Task, kinds

_NAMES = ("小明", "小红", "小刚", "小丽", "小华", "小军", "小芳", "小强", "小燕", "小龙")
_THINGS = ("苹果", "卡片", "贝壳", "气球", "邮票", "纽扣", "石子", "珠子", "梨子", "钥匙")
_STUFFS = ("绳子", "铁丝", "丝带", "木板", "电缆", "布料")
_OPENINGS: Mapping[Kind, str] = {
    "count": "{name}有 {v} 个{item}。",
    "length": "{name}有一根长 {v} 厘米的{item}。",
    "number": "{name}想了一个数 {v}。",
}
_QUESTIONS: Mapping[Kind, str] = {
    "count": "现在是多少个？",
    "length": "现在长多少厘米？",
    "area": "面积是多少平方厘米？",
    "number": "结果是多少？",
    "chance": "概率是多少？",
}
WORDINGS: Mapping[str, Mapping[Kind, str]] = {
    "gain": {
        "count": "{name}又得到 {a} 个{item}。",
        "length": "{name}再接上 {a} 厘米{item}。",
        "number": "{name}加上 {a}。",
    },
    "loss": {
        "count": "{name}送给{other} {a} 个{item}。",
        "length": "{name}剪去 {a} 厘米。",
        "number": "{name}减去 {a}。",
    },
    "times": {
        "count": "{other}的{item}是它的 {a} 倍。",
        "length": "{other}的{item}是它的 {a} 倍长。",
        "area": "{other}的面积是它的 {a} 倍。",
        "number": "{name}乘以 {a}。",
    },
    "share": {
        "count": "{a} 个朋友平均分这些{item}：求一份。",
        "length": "{name}把它平均截成 {a} 段：求一段。",
        "area": "{name}把它平均分成 {a} 块：求一块。",
        "number": "{name}除以 {a}。",
    },
    "percent": {
        "count": "{name}卖掉其中的 {a} %。",
        "length": "{name}剪去它的 {a} %。",
        "number": "{name}减少 {a} %。",
    },
    "rate": {
        "count": "商店每天给{name}送 {a} 个{item}，一共送 {b} 天。",
        "length": "{name}接上每段 {a} 厘米的{item} {b} 段。",
    },
    "average": {
        "count": "{other}和朋友各有 {a} 个和 {b} 个{item}：求三人的平均数。",
        "number": "{name}求它与 {a} 和 {b} 的平均数。",
    },
    "remainder": {
        "count": "{name}每 {a} 个装一袋，留下剩余的{item}。",
        "number": "{name}除以 {a}，取余数。",
    },
    "gcd": {"number": "{name}求它与 {a} 的最大公约数。"},
    "lcm": {"number": "{name}求它与 {a} 的最小公倍数。"},
    "perimeter": {"length": "一块地与它等长，宽 {a} 厘米，{name}绕地走一周。"},
    "rectangle": {"length": "一面墙与它等长，宽 {a} 厘米，{name}把墙涂满。"},
    "triangle": {"length": "{name}以它为底，画一个高 {a} 厘米的三角形。"},
    "probability": {"count": "{other}放进 {a} 个金色的{item}，{name}随意取一个：取到金色的。"},
}
"""Sentences by concept and by kind of the number they start from. Concepts that are not here have no Chinese."""
_LABELS = {
    "Sum": "和", "Rest": "剩余", "Product": "积", "Share": "每份", "Percent": "百分数", "Mean": "平均数", "Full": "整份",
    "Divisor": "公约数", "Multiple": "公倍数", "Around": "周长", "Area": "面积", "Half": "一半", "Chance": "概率",
}  # fmt: skip


def statement(task: Task) -> str | None:
    """The problem in Chinese, None where one of its concepts has no Chinese wording."""
    path = kinds(task.composition)
    wordings = [WORDINGS.get(op.concept, {}).get(kind) for op, kind in zip(task.composition.ops, path, strict=False)]
    random = Random(int(task.composition.key, 16))
    name, other = random.sample(_NAMES, 2)
    holes = {"name": name, "other": other, "item": random.choice(_STUFFS if path[0] == "length" else _THINGS)}
    sentences = [_OPENINGS[path[0]].format(v=task.composition.start, **holes)]
    for op, wording in zip(task.composition.ops, wordings, strict=True):
        if wording is None:
            return None
        sentences.append(wording.format(**dict(zip("ab", op.params, strict=False)), **holes))
    return "".join([*sentences, _QUESTIONS[path[-1]]])


def solution(task: Task) -> str:
    """The right solution of a task that has a Chinese statement: numbered steps with one equation each, then the boxed answer."""
    steps = [f"步骤 {i}：{_LABELS[line.label]} {line.equation}" for i, line in enumerate(task.solution.lines, 1)]
    return "\n".join([*steps, f"答案：\\boxed{{{task.answer}}}"])
