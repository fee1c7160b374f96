"""The parser of wiki pages: pages a second of CPU, and what invented contests and damaged pages come out as, against known truth.

`python -m benchmarks.aops_parse [--seeds 10] [--damaged 2000]`
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable
from random import Random

import numpy as np

from storage.schemas import Page
from tasks.aops.assemble import assemble
from tasks.aops.contests import AnswerKind, Place, schedule
from tasks.aops.fixture.contest import KINDS, Contest, Entry, make_contest
from tasks.aops.pages import raw_page
from tasks.aops.parse.page import parse_page
from tasks.import_pages import wiki_page
from tasks.stage import Rejected
from tests.tasks.test_aops_generated import DAMAGES, MAKERS, render


def rows(pages: dict[str, str]) -> list[Page]:
    """Pages by title as rows."""
    found = [wiki_page(title, raw_page(title, text)) for title, text in pages.items()]
    return [row for row in found if not isinstance(row, Rejected)]


def rate(what: str, n: int, work: Callable[[], object], repeats: int = 7) -> None:
    """Print how many of `n` pages a second of CPU the fastest and the median of `repeats` runs get through."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    print(f"{what:<62} {n / float(np.median(times)):7.0f} pages/s of CPU, median of {repeats}; best {n / min(times):7.0f}")


def throughput(contests: list[Contest]) -> None:
    found = [(text, schedule().locate(title)) for c in contests for title, text in c.pages.items() if title not in c.redirects]
    single = [(text, place.answer) for text, place in found if isinstance(place, Place) and place.kind == "problem"]
    size = sum(len(text) for text, _ in single) / len(single)
    rate(f"parse_page, {len(single)} pages of {size:.0f} characters", len(single), lambda: parse_all(single))
    long = [(longer(text), asks) for text, asks in single]
    size = sum(len(text) for text, _ in long) / len(long)
    rate(f"parse_page, the same with five times the solutions, {size:.0f}", len(long), lambda: parse_all(long))
    pages = rows({t: p for c in contests for t, p in c.pages.items()})
    rate(f"assemble, {len(pages)} pages with keys, lists and redirects", len(pages), lambda: assemble(pages), repeats=3)


def parse_all(pages: list[tuple[str, AnswerKind]]) -> None:
    for text, asks in pages:
        parse_page(text, asks)


def longer(text: str) -> str:
    """The page with its solutions five times, as busy pages have."""
    start, end = text.index("Solution"), text.lower().rindex("see also")
    first, last = text.rindex("\n", 0, start), text.rindex("\n", 0, end)
    return text[:first] + text[first:last] * 5 + text[last:]


def accuracy(seeds: int) -> None:
    """Whole contests against their known truth."""
    counts: Counter[str] = Counter()
    doubts: Counter[str] = Counter()
    for seed in range(seeds):
        contests = [make_contest(kind, 2090 + seed % 10, seed) for kind in KINDS]
        found = assemble(rows({t: p for c in contests for t, p in c.pages.items()}))
        by_title = {title: row for row, _ in found.problems for title in row.appearances}
        own = {e.title: e for c in contests for e in c.entries}
        for entry in own.values():
            score(counts, by_title[entry.title], entry, own[entry.canonical])
        doubts.update(issue.code for issue, _ in found.issues)
    n, choices = counts["problems"], counts["with choices"]
    print(f"{seeds} times {len(KINDS)} contests: statements {counts['statement']}/{n}, choices {counts['choices']}/{choices}, ", end="")
    print(f"answers {counts['answer']}/{n}; doubts {dict(doubts)}")


def score(counts: Counter[str], row: object, entry: Entry, canonical: Entry) -> None:
    counts["problems"] += 1
    counts["statement"] += getattr(row, "statement", None) == canonical.statement
    counts["answer"] += (getattr(row, "answer_letter", ""), getattr(row, "answer_value", "")) == (entry.truth.letter, entry.truth.answer)
    if entry.truth.choices:
        counts["with choices"] += 1
        counts["choices"] += tuple(getattr(row, "choices", ())) == entry.truth.choices


def damaged(n: int) -> None:
    """Pages with a tag or heading less, two headings swapped, or cut: reported, the same text (perhaps in fewer solutions), or neither."""
    for damage, harm in DAMAGES.items():
        fates: Counter[str] = Counter()
        for seed in range(n):
            kind, (_, maker) = list(MAKERS.items())[seed % len(MAKERS)]
            problem = maker(Random(seed))
            text = harm(render(problem, Random(seed + 1), kind=kind), Random(seed + 2))
            found = assemble(rows({f"2099 {kind} Problems/Problem 1": text}))
            reported = {issue.code for issue, _ in found.issues} - {"key_missing"}
            answer = next((r.answer_letter or r.answer_value for r, _ in found.problems), None)
            same = " ".join(s.text for s, _ in found.solutions).split() == " ".join(problem.solutions).split()
            fates["reported" if reported else "same text" if same else "LOST IN SILENCE"] += 1
            fates["with a wrong answer"] += answer not in (None, problem.letter or problem.answer)
        print(f"{damage:<16} {dict(fates)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--damaged", type=int, default=2000)
    options = parser.parse_args()
    throughput([make_contest(kind, year, 1) for kind in KINDS for year in (2097, 2098, 2099)])
    accuracy(options.seeds)
    damaged(options.damaged)


if __name__ == "__main__":
    main()
