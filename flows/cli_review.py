"""`mathmill review`: what the locators left open, and a person's answers."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows import screen
from flows.graph import UsageError
from flows.places import catalog_url, store_root
from flows.review import Answer, Question, Queue, answer, questions
from storage.store import Store

StoreOption = Annotated[Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")]


def review(
    recipe: str,
    answers: Annotated[list[str], typer.Option("--answer", help="REPLY=STEP (from 1), REPLY=none or REPLY=unclear; repeatable")] = [],  # noqa: B006
    why: Annotated[str, typer.Option("--why", help="A remark, kept with the answers")] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, help="Replies to show at most")] = 10,
    name: Annotated[str | None, typer.Option("--name", help="Prefix of the datasets' names in place of the recipe's")] = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder of the datasets; else $MATHMILL_STORE, else ./mathmill-data")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables")] = False,
) -> None:
    """List replies whose first wrong step the locators left open, or answer: the next run takes the answers in."""
    queue, root = Queue.of(recipe, name), store_root(store)
    if not root.exists():
        raise UsageError(f"no store at {root}: make one with mathmill run, or say --store DIR")
    given = dict(_parsed(text, why) for text in answers)
    with Store.open(root, catalog_url()) as opened:
        if given:
            version = answer(opened, queue, given)
            screen.facts({"answered": len(given), "reviews": version.spec, "still open": len(questions(opened, queue))}, json)
            screen.note(f"next:    mathmill run {recipe}    # takes the answers into the decision")
            return
        waiting = questions(opened, queue)
        shown = [_line(question) for question in waiting[:limit]]
        screen.show(shown, json, title=f"{len(waiting)} replies wait for a person", empty="nothing waits for a person")


def _parsed(text: str, why: str) -> tuple[str, Answer]:
    reply, equals, said = text.partition("=")
    if not equals or not reply:
        raise UsageError(f"cannot read --answer {text!r}: write REPLY=STEP, REPLY=none or REPLY=unclear")
    parsed = Answer.parse(said)
    return reply, Answer(parsed.step, parsed.unclear, why)


def _line(question: Question) -> dict[str, Any]:
    return {
        "reply": question.rollout.id,
        "votes": question.votes,
        "problem": question.problem.problem,
        "answer": question.problem.answer,
        "steps": "\n".join(step.strip() for step in question.steps),
    }


def add_to(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command()(review)
