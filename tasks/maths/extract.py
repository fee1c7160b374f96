r"""The final answer of a reply: the last `\boxed{}`, else the `#### N` line (GSM8K), else "the answer is ...".

Nothing is evaluated here, and every scan is linear in the length of the reply.
"""

import re

_BOX = re.compile(r"\\(?:boxed|fbox)\s*(?=[{\d])")
_HASHES = re.compile(r"^####[ \t]*(.*)$", re.MULTILINE)
_PHRASE = re.compile(
    r"(?:\banswer(?:\s+is\s*[:：]?|\s*[:：=])|^A\s*[:：]|答案(?:是|为)?\s*[:：]?)[ \t*]*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_SENTENCE_END = re.compile(r"[.。](?=\s|\*|$)")
_NUMBER = re.compile(r"-?\$?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?")


def find_answer(reply: str, last_number: bool = False) -> str | None:
    r"""The answer as written, or None where the reply gives none.

    Reasoning before a last `</think>` is not looked at. A box that is never closed is None: what was cut off is no answer,
    and neither is an earlier box. `last_number` takes the last number of the text when there is nothing else: it turns
    working into an answer, so it is off unless asked for.
    """
    text = reply.rpartition("</think>")[2]
    boxes = list(_BOX.finditer(text))
    if boxes:
        return _braced(text, boxes[-1].end())
    hashes = _HASHES.findall(text)
    if hashes:
        return hashes[-1].strip() or None
    phrases = _PHRASE.findall(text)
    if phrases:
        return _first_sentence(phrases[-1])
    numbers = _NUMBER.findall(text) if last_number else []
    return numbers[-1].rstrip(",") if numbers else None


def _braced(text: str, start: int) -> str | None:
    r"""What stands between the brace at `start` and its partner; the digit itself in `\boxed 5`; None when it never closes."""
    if text[start] != "{":
        return text[start]
    depth = 0
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
            if depth == 0:
                return text[start + 1 : match.start()].strip() or None
    return None


def _first_sentence(line: str) -> str | None:
    """The line up to its first full stop outside mathematics, without emphasis marks."""
    line = line.strip()
    if line.startswith("$") and "$" in line[1:] and not line[1:2].isdigit():
        end = line.index("$", 2 if line.startswith("$$") else 1)
        rest = _SENTENCE_END.split(line[end:], maxsplit=1)[0]
        line = line[:end] + rest
    else:
        line = _SENTENCE_END.split(line, maxsplit=1)[0]
    return line.strip().strip("*").strip() or None
