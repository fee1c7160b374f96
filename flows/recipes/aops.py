"""AoPS: pages of the contest wiki (crawled or imported) -> contest problems, solutions, doubts -> problems for every recipe."""

from flows.graph import Maker
from tasks.contest_problems import contest_problems
from tasks.dedup import dedup
from tasks.import_pages import import_pages
from tasks.parse_issues import parse_issues
from tasks.wiki_problems import wiki_problems
from tasks.wiki_solutions import wiki_solutions


def aops(make: Maker) -> None:
    pages = make(import_pages, name="pages", records=make.input("pages"))
    contests = make(contest_problems, pages)
    make(wiki_solutions, pages, name="solutions")
    make(parse_issues, pages, name="issues")
    problems = make(wiki_problems, contests, name="problems")
    make(dedup, problems)
