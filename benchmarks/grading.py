"""Grading, measured: speed of the tiers, and verdicts on real answers rewritten (equal) and perturbed (different), Math-Verify beside.

    python benchmarks/grading.py [--data ../shared/data] [--per-set 150] [--seed 0]

Speeds are CPU time of this process (`time.process_time`): with all caches empty, with the forms of single answers cached (as in a run,
where references and answers come back), and with whole comparisons cached. The answers are those of the 17 benchmark files; what is done
to them is below, seeded. Nothing of the data is written anywhere.
"""

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from tasks.maths import exact, field, shapes, structural
from tasks.maths.answers import Judgement, verify_answer
from tasks.maths.exact import plain
from tasks.maths.extract import find_answer
from tasks.maths.shapes import split
from tasks.maths.symbolic import warm

Pair = tuple[str, str]


def references(data: Path) -> dict[str, list[str]]:
    """The reference answers of each benchmark file, as written."""
    found = {}
    for path in sorted((data / "benchmarks").glob("*.jsonl")):
        rows = [json.loads(line) for line in path.open(encoding="utf-8")]
        answers = [_reference(row) for row in rows]
        found[path.stem] = [a for a in answers if a]
    return found


def _reference(row: dict) -> str | None:
    if row.get("final_answer"):
        return ", ".join(row["final_answer"])
    if "choices" in row:
        return "ABCD"[row["answer"]]
    if row.get("label"):
        return row["label"]
    answer = row.get("answer")
    if answer is None:
        return find_answer(row["solution"])
    if isinstance(answer, str) and "####" in answer:
        return find_answer(answer)
    return str(answer).strip()


# -- equal forms ------------------------------------------------------------------------------------------------------------------


def equal_forms(gold: str, rng: random.Random) -> list[tuple[str, str]]:
    """(name of the rewriting, equal answer)."""
    forms = [
        ("boxed", f"$\\boxed{{{gold}}}$" if "$" not in gold else f"\\boxed{{{gold}}}"),
        ("full stop", gold + "."),
        ("spaces", _spaced(gold)),
    ]
    if "\\frac" in gold:
        forms.append(("dfrac", gold.replace("\\frac", "\\dfrac")))
    if "(" in gold and "\\left" not in gold and gold.count("(") == gold.count(")"):
        forms.append(("left right", gold.replace("(", "\\left(").replace(")", "\\right)")))
    number = plain(gold)
    if number.value is not None:
        forms += _number_forms(number.value)
    elif _is_scalar(gold):
        body = gold.strip("$ ")
        forms += [("+1-1", f"({body})+1-1"), ("times 2/2", f"\\frac{{2({body})}}{{2}}"), ("sum turned", _turned(body))]
    elif match := re.fullmatch(r"\$?\\\{(.*)\\\}\$?", gold):
        items = split(match[1], ",")
        if not re.search(r"\\mid|\||:|ldots|dots", gold):
            forms.append(("set reversed", "\\{" + ",".join(reversed(items)) + "\\}"))
    return [form for form in forms if form[1] != gold]


def _spaced(gold: str) -> str:
    return re.sub(r"(?<![\\{a-zA-Z])([+=,-])(?![a-zA-Z]*})", r" \1 ", gold)


def _number_forms(value: Fraction) -> list[tuple[str, str]]:
    sign, n, d = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if d == 1:
        return [("point zero", f"{sign}{n}.0"), ("thousands", f"{sign}{n:,}"), ("latex thousands", f"{sign}{n:,}".replace(",", "{,}")),
                ("over one", f"{sign}\\frac{{{2 * n}}}{{2}}")]  # fmt: skip
    forms = [("a/b", f"{sign}{n}/{d}"), ("frac", f"{sign}\\frac{{{n}}}{{{d}}}"), ("unreduced", f"{sign}\\frac{{{3 * n}}}{{{3 * d}}}")]
    if n > d:
        forms.append(("mixed", f"{sign}{n // d}\\frac{{{n % d}}}{{{d}}}"))
    if 10**6 % d == 0:
        forms.append(("decimal", f"{sign}{n / d:.6f}"))
    return forms


_NO_SCALAR = re.compile(r"[=<>,;:%°_$]|\\(?:le|ge|pm|mp|text|mathrm|begin|in|cup|mid|neq|overline|ldots|dots|quad|circ|\{)|[^\x00-\x7f]")


def _is_scalar(gold: str) -> bool:
    """An expression without relation, list, words or units, so that arithmetic may be done to its text."""
    body = gold.strip("$ ")
    words = re.search(r"[A-Za-z]{4,}", re.sub(r"\\[a-z]+", "", body)) or re.fullmatch(r"\(?[A-J ]+\)?", body)
    return bool(body) and not words and not _NO_SCALAR.search(body)


def _turned(body: str) -> str:
    """a - b + c as c - b + a."""
    terms, depth, start = [], 0, 0
    for position, character in enumerate(body):
        depth += (character in "([{") - (character in ")]}")
        after_operator = body[:position].rstrip().endswith(("^", "*", "/", "+", "-", "\\cdot", "\\times"))
        if depth == 0 and character in "+-" and position > start and not after_operator:
            terms.append(body[start:position])
            start = position
    terms.append(body[start:])
    signed = [t if t.strip()[:1] in ("+", "-") else "+" + t for t in (term.strip() for term in terms)]
    return "".join(reversed(signed)).lstrip("+")


# -- different forms --------------------------------------------------------------------------------------------------------------


def different_forms(gold: str, rng: random.Random) -> list[tuple[str, str]]:
    """(name of the perturbation, answer that is not equal)."""
    forms = []
    number = plain(gold)
    if number.value is not None:
        value = Fraction(number.value)
        factors = {"x100": Fraction(100), "/100": Fraction(1, 100), "1 %": Fraction(101, 100), "5e-5": Fraction(100_005, 100_000)}
        factors["sign"] = Fraction(-1)
        if number.unit == "%":  # 50 % is 0.5
            del factors["/100"]
        forms = [(name, _written(value * factor)) for name, factor in factors.items() if value]
        return [*forms, ("off by one", _written(value + rng.choice((-1, 1))))]
    digits = [m for m in re.finditer(r"\d+", gold) if not re.search(r"[_\[]\{?$|begin\{.*$", gold[: m.start()])]
    if digits and not re.fullmatch(r"\(?[A-J]\)?", gold.strip("$ ")):
        chosen = rng.choice(digits)
        forms.append(("one number + 1", gold[: chosen.start()] + str(int(chosen[0]) + 1) + gold[chosen.end() :]))
    if re.fullmatch(r"\$?[\[(][^()\[\]]*,[^()\[\]]*[)\]]\$?", gold):
        forms.append(("bracket", gold.translate(str.maketrans("([", "[("))))
    items = split(gold.strip("$ "), ",")
    if len(items) > 1 and "\\text" not in gold and not re.search(r"[A-Za-z]{4,}", gold):
        forms.append(("element dropped", ",".join(items[:-1])))
    if re.fullmatch(r"\(?[A-D]\)?", gold.strip("$ ")):
        forms.append(("other option", rng.choice([c for c in "ABCD" if c not in gold])))
    return forms


def _written(value: Fraction) -> str:
    """As a decimal where that is exact, else as a fraction."""
    d = value.denominator
    while d % 2 == 0:
        d //= 2
    while d % 5 == 0:
        d //= 5
    if d == 1:
        places = next(k for k in range(400) if value * 10**k == int(value * 10**k))
        digits = f"{abs(int(value * 10**places)):0{places + 1}d}"
        return ("-" if value < 0 else "") + (digits[:-places] + "." + digits[-places:] if places else digits)
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


# -- measuring --------------------------------------------------------------------------------------------------------------------


FORMS = (exact.plain, shapes.shape_of, field.root_of_rational)
COMPARISONS = (structural.compare_answers,)


def rate(pairs: Sequence[Pair], grade: Callable[[str, str], object], forget: Sequence = (), repetitions: int = 5) -> float:
    """Pairs per second of CPU time with these caches emptied first; the best repetition: neighbours only ever slow it down."""
    rates = []
    for _ in range(repetitions):
        for cached in forget:
            cached.cache_clear()
        started = time.process_time()
        for gold, given in pairs:
            grade(gold, given)
        rates.append(len(pairs) / (time.process_time() - started))
    return max(rates)


def math_verify_grade() -> Callable[[str, str], bool]:
    from math_verify import parse, verify

    def read(text: str) -> list:
        return parse(text if "$" in text or "\\boxed" in text else f"${text}$")

    return lambda gold, given: verify(read(gold), read(given))


def labelled(data: Path) -> tuple[list[tuple[str, str | None, bool, str]], int]:
    """(reference, answer, published label, question) of the GSM8K model solutions."""
    rows = [json.loads(line) for line in (data / "problems" / "gsm8k_model_solutions.jsonl").open(encoding="utf-8")]
    out = []
    for row in rows:
        gold = find_answer(row["ground_truth"]) or ""
        out += [(gold, find_answer(v["solution"]), v["is_correct"], row["question"]) for v in row.values() if isinstance(v, dict)]
    return out, len(rows)


def report_labels(data: Path) -> list[Pair]:
    items, problems = labelled(data)
    agreed, shown = 0, []
    for gold, given, label, question in items:
        judgement = Judgement("wrong", "none") if given is None else verify_answer(gold, given, question=question)
        if judgement.verdict == ("correct" if label else "wrong"):
            agreed += 1
        else:
            shown.append(f"    gold {gold!r}, given {given!r}: {judgement.verdict} ({judgement.why}), published {label}")
    print(f"\nGSM8K model solutions: {len(items)} replies to {problems} problems, agreement {agreed / len(items):.4%}; disagreements:")
    print("\n".join(shown) or "    none")
    return [(gold, given) for gold, given, _, _ in items if given]


def report_verdicts(name: str, forms: Iterable[tuple[str, str, str]], bad: str) -> list[tuple[str, str, str, Judgement]]:
    """Verdicts by kind of form; returns the false ones."""
    table: dict[str, Counter] = {}
    tiers: Counter = Counter()
    false = []
    for kind, gold, given in forms:
        judgement = verify_answer(gold, given)
        table.setdefault(kind, Counter())[judgement.verdict] += 1
        tiers[judgement.tier] += 1
        if judgement.verdict == bad:
            false.append((kind, gold, given, judgement))
    print(f"\n{name:18} correct   wrong unknown      tiers {dict(sorted(tiers.items()))}")
    for kind, counts in sorted(table.items()):
        print(f"  {kind:16} {counts['correct']:7} {counts['wrong']:7} {counts['unknown']:7}")
    return false


def report_beside(equal: list[tuple[str, str, str]], different: list[tuple[str, str, str]]) -> None:
    """False verdicts of Math-Verify and of this grader on one sample; `unknown` is no verdict."""
    theirs = math_verify_grade()
    print("\nfalse verdicts on a sample      this grader   Math-Verify")
    for name, rows, expected in (("equal forms", equal, True), ("different forms", different, False)):
        bad = "wrong" if expected else "correct"
        ours = sum(verify_answer(gold, given).verdict == bad for _, gold, given in rows)
        beside = [(kind, gold, given) for kind, gold, given in rows if theirs(gold, given) is not expected]
        print(f"  {name:16} {len(rows):8} {ours:12} {len(beside):13}   {dict(Counter(kind for kind, _, _ in beside))}")


ADVERSARIAL = [
    "9^{9^{9^9}}", "10^6!", "(10^6)!", "{" * 10_000, "(" * 300 + "1" + ")" * 300, "x" * 10_000, "word " * 2_000, "1+" * 3_000 + "1",
    "\\{" + ",".join(map(str, range(1000))) + "\\}", "\\{" + ",".join(f"x^{i}" for i in range(1000)) + "\\}", "0." + "3" * 5_000,
    "(lambda:open('x','w'))()", "__import__('os').system('touch x')", "\\int_0^1 \\frac{\\ln(1+x^{2+\\sqrt3})}{1+x}dx",
    "\\boxed{" * 1000, "\\sum_{k=1}^{10^9} \\frac{1}{k!}", "\\binom{10^9}{5\\cdot10^8}", "\\sqrt{" * 200 + "2" + "}" * 200,
]  # fmt: skip


def report_adversarial() -> None:
    warm()
    print("\nadversarial answers against 1 (wall seconds, pool warm)")
    for answer in ADVERSARIAL:
        started = time.perf_counter()
        judgement = verify_answer("1", answer)
        print(f"  {time.perf_counter() - started:6.2f}  {judgement.verdict:8} {answer[:60]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--per-set", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--math-verify", type=int, default=200, help="pairs that Math-Verify is timed on")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    real = report_labels(options.data)
    golds = [g for answers in references(options.data).values() for g in rng.sample(answers, min(options.per_set, len(answers)))]
    equal = [(kind, gold, form) for gold in golds for kind, form in equal_forms(gold, rng)]
    different = [(kind, gold, form) for gold in golds for kind, form in different_forms(gold, rng)]
    false_negatives = report_verdicts("equal forms", equal, "wrong")
    false_positives = report_verdicts("different forms", different, "correct")
    for title, rows in (("false negatives", false_negatives), ("false positives", false_positives)):
        print(f"\n{title}: {len(rows)}")
        for kind, gold, given, judgement in rows:
            print(f"  {kind:16} {judgement.tier:10} {gold[:70]!r}  {given[:80]!r}")
    report_beside(rng.sample(equal, min(options.math_verify, len(equal))), rng.sample(different, min(options.math_verify, len(different))))
    report_adversarial()
    report_speed(real, [(g, f) for _, g, f in equal + different], rng, options.math_verify)


def report_speed(real: list[Pair], made: list[Pair], rng: random.Random, sample: int) -> None:
    rng.shuffle(made)
    exact_pairs = [p for p in made if verify_answer(*p).tier == "exact"]
    symbolic = [p for p in made if plain(p[0]).value is None and verify_answer(*p).tier == "structural"]
    rollouts = [pair for pairs in _by_gold(symbolic).values() for pair in rng.choices(pairs, k=8)]
    rng.shuffle(rollouts)
    print("\npairs/s of CPU              pairs  caches empty  forms cached  all cached  Math-Verify (on a sample)")
    compare = math_verify_grade()
    rows = {"GSM8K solutions": real, "exact tier": exact_pairs, "structural, symbolic": symbolic, "the same, 8 a problem": rollouts}
    for name, pairs in rows.items():
        cold, forms, hot = (rate(pairs, verify_answer, forget) for forget in (FORMS + COMPARISONS, COMPARISONS, ()))
        beside = rate(rng.sample(pairs, min(sample, len(pairs))), compare, repetitions=1)
        print(f"  {name:22} {len(pairs):8} {cold:13,.0f} {forms:13,.0f} {hot:11,.0f} {beside:12,.0f}")


def _by_gold(pairs: list[Pair]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair[0], []).append(pair)
    return found


if __name__ == "__main__":
    main()
