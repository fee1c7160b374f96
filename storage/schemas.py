"""Row schemas: frozen, slotted dataclasses with documented columns, and their one cast to and from Arrow."""

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_args, get_origin

import pyarrow as pa
from typing_extensions import Doc

AnswerType = Literal["integer", "decimal", "fraction", "expression", "choice", "proof", "none"]
FinishReason = Literal["stop", "length"]
VerdictName = Literal["correct", "wrong", "unknown"]
PageKind = Literal["problem", "list", "key", "row"]
AsksName = Literal["choice", "integer", "proof", "expression"]
AnswerSource = Literal["key", "given", "votes", "none"]
LocatorName = Literal["symbolic", "judge", "rollouts", "person"]
Rating = Literal["perfect", "acceptable", "bad"]
JudgedName = Literal["perfect", "acceptable", "bad", "unknown"]


class Row(Protocol):
    """Every row has an id, unique in its dataset."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Problem:
    """A mathematics problem with the answer that its source gives."""

    id: Annotated[str, Doc("16 hex digits of (source, source_id), or of the NFC text where the source gives no id")]
    source: Annotated[str, Doc("where it comes from: a file's name, a site, a generator")]
    source_id: Annotated[str | None, Doc("the id that the source gave, as given")]
    problem: Annotated[str, Doc("the statement, text with LaTeX")]
    answer: Annotated[str | None, Doc("the reference answer, null where there is none (proofs)")]
    answer_type: Annotated[AnswerType, Doc("integer, decimal, fraction, expression, choice, proof or none")]
    redistributable: Annotated[bool, Doc("false: exports leave the row out unless told otherwise")]
    parent_ids: Annotated[list[str], Doc("problems this one was made from; empty for imported ones")] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rollout:
    """One reply of a solver to one problem."""

    id: Annotated[str, Doc("hash of (stage, problem_id, ordinal)")]
    problem_id: Annotated[str, Doc("the problem it answers")]
    ordinal: Annotated[int, Doc("rollout number, from 0")]
    text: Annotated[str, Doc("the reply as received, behind the beginning that the prompt forced on it, if any")]
    finish_reason: Annotated[FinishReason, Doc("stop, or length when it was cut off")]
    n_tokens: Annotated[int, Doc("tokens of the reply")]
    call_id: Annotated[str | None, Doc("key of the model call in the ledger; null for imported replies")]
    label: Annotated[bool | None, Doc("correctness published with an imported reply, null otherwise")] = None
    parent_id: Annotated[str | None, Doc("the fault whose right steps it goes on from; null for a reply from the start")] = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the final answer of one rollout equals the reference answer."""

    id: Annotated[str, Doc("hash of (stage, rollout_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    rollout_id: Annotated[str, Doc("the rollout that was checked")]
    verdict: Annotated[VerdictName, Doc("correct, wrong or unknown; unknown is never counted as wrong")]
    answer: Annotated[str | None, Doc("the answer found in the reply, null where none was found")]
    tier: Annotated[str, Doc("what decided: exact, structural, symbolic or none")]
    why: Annotated[str, Doc("for unknown: the reason; empty otherwise")] = ""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How often a reference solver misses the known answer."""

    id: Annotated[str, Doc("hash of (stage, problem_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    n_replies: Annotated[int, Doc("verified replies, unknown ones left out")]
    n_correct: Annotated[int, Doc("correct ones among them")]
    pass_rate: Annotated[float, Doc("n_correct / n_replies")]
    pass_low: Annotated[float, Doc("lower end of the 95 % Jeffreys interval of the pass rate")]
    pass_high: Annotated[float, Doc("upper end of that interval")]
    mean_tokens: Annotated[float, Doc("mean tokens of all replies")]


@dataclass(frozen=True, slots=True)
class Solution:
    """A correct reply chosen to teach from."""

    id: Annotated[str, Doc("hash of (stage, rollout_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    rollout_id: Annotated[str, Doc("the rollout it is")]
    solution: Annotated[str, Doc("the text, without the reasoning block where the short form was asked")]
    n_tokens: Annotated[int, Doc("tokens of the reply it comes from")]


@dataclass(frozen=True, slots=True)
class Mark:
    """What the contamination check found for one row; it marks, never deletes."""

    id: Annotated[str, Doc("hash of (stage, subject_id)")]
    problem_id: Annotated[str, Doc("the problem of the row that was checked")]
    subject_id: Annotated[str, Doc("the row that was checked")]
    contaminated: Annotated[bool, Doc("true when any rule fired")]
    column: Annotated[str | None, Doc("the checked column the strongest hit is in")]
    rule: Annotated[str | None, Doc("exact, embedded, ngram_lcs or paraphrase")]
    benchmark: Annotated[str | None, Doc("the protected set")]
    item: Annotated[str | None, Doc("id of the protected text")]
    ratio: Annotated[float | None, Doc("LCS ratio over the protected text, for a paraphrase overlap of numbers and words, 0 to 1")]
    found_in: Annotated[str | None, Doc("the row whose text the hit is in: the problem, one of its solutions or replies")] = None
    span_start: Annotated[int | None, Doc("character of that text at which the hit begins, from 0")] = None
    span_end: Annotated[int | None, Doc("character behind the hit")] = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Which near-duplicates a problem belongs to; it marks, never deletes."""

    id: Annotated[str, Doc("hash of (stage, problem_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    cluster: Annotated[str, Doc("id of the cluster's representative: its smallest id, or one of an earlier version")]
    keep: Annotated[bool, Doc("true for the representative alone: a problem without duplicates is its own")]
    ratio: Annotated[float | None, Doc("token LCS with the representative over the longer text, 0 to 1; null for the representative")]


@dataclass(frozen=True, slots=True)
class Protected:
    """A text that nothing may be trained on."""

    id: Annotated[str, Doc("hash of (benchmark, text)")]
    benchmark: Annotated[str, Doc("the set it belongs to")]
    item: Annotated[str, Doc("its id there, or its line number")]
    text: Annotated[str, Doc("the question as published")]


@dataclass(frozen=True, slots=True)
class Example:
    """A row to train on: what the model sees and what it should say."""

    trains: ClassVar[bool] = True  # publish demands a contamination certificate

    id: Annotated[str, Doc("hash of (stage, solution_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    solution_id: Annotated[str, Doc("the solution it was made from")]
    problem: Annotated[str, Doc("the statement, from which the trainer renders the prompt")]
    completion: Annotated[str, Doc("the text the loss is on")]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that the factory trained."""

    id: Annotated[str, Doc("digest of weights, config, tokenizer and template")]
    path: Annotated[str, Doc("folder, relative to the store")]
    base: Annotated[str, Doc("identity of the model it started from")]
    trained_on: Annotated[str, Doc("dataset@version")]
    trained_on_digest: Annotated[str, Doc("digest of that version")]
    method: Annotated[str, Doc("sft, step_dpo, dpo, reward or grpo")]
    steps: Annotated[int, Doc("optimizer steps")]
    loss_first: Annotated[float, Doc("training loss over the first logged steps")]
    loss_last: Annotated[float, Doc("training loss over the last logged steps")]
    n_rows: Annotated[int, Doc("rows trained on")] = 0
    n_too_long: Annotated[int, Doc("rows left out because they are longer than max_length; none is ever cut")] = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One metric of one model on one problem set."""

    id: Annotated[str, Doc("hash of (stage, metric)")]
    metric: Annotated[str, Doc("pass@k or maj@k, with k in it")]
    value: Annotated[float, Doc("mean over problems and runs, 0 to 1")]
    sd: Annotated[float | None, Doc("standard deviation over runs (ddof 1), null for a single run")]
    low: Annotated[float, Doc("lower end of the 95 % bootstrap interval over problems")]
    high: Annotated[float, Doc("upper end of that interval")]
    n_problems: Annotated[int, Doc("problems")]
    n_runs: Annotated[int, Doc("independent passes over the problems")]
    n_unknown: Annotated[int, Doc("replies whose verdict was unknown; they count as not correct here")]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A problem whose reference answer may be wrong, and the evidence; a person decides."""

    id: Annotated[str, Doc("hash of (stage, problem_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    score: Annotated[float, Doc("strength of the evidence, 0 to 1; an order to look in, not a probability")]
    rank: Annotated[int, Doc("place in the queue, 1 the most suspect; equal scores in the order of problem_id")]
    gold: Annotated[str, Doc("the reference answer")]
    majority: Annotated[str | None, Doc("the other answer that most speaks for, null where no reply gives another")]
    majority_votes: Annotated[int, Doc("replies that give it")]
    gold_votes: Annotated[int, Doc("replies that give the reference answer")]
    n_replies: Annotated[int, Doc("complete replies to the problem")]
    reasons: Annotated[list[str], Doc("the signals that fired, strongest first; short fixed texts, to be counted")]


@dataclass(frozen=True, slots=True)
class Location:
    """What one locator says about the first wrong step of one reply."""

    id: Annotated[str, Doc("hash of (stage, rollout_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    rollout_id: Annotated[str, Doc("the reply that was looked at")]
    locator: Annotated[LocatorName, Doc("symbolic, judge, rollouts or person")]
    first_wrong_step: Annotated[int | None, Doc("1-based; null where it found none or abstained")]
    abstained: Annotated[bool, Doc("true when it could not decide")]
    n_steps: Annotated[int, Doc("steps of the reply")]
    why: Annotated[str, Doc("what it saw, for a person")]
    labels: Annotated[list[str], Doc("judge: correct, neutral or incorrect, for each step it labelled; empty otherwise")] = field(
        default_factory=list
    )
    call_ids: Annotated[list[str], Doc("keys of the model calls in the ledger")] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fault:
    """The first wrong step of a wrong reply, as the policy decided over the locators."""

    id: Annotated[str, Doc("hash of (stage, rollout_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    rollout_id: Annotated[str, Doc("the wrong reply")]
    step: Annotated[int, Doc("the first wrong step, 1-based")]
    decided_by: Annotated[str, Doc("the policy that decided, or person")]
    votes: Annotated[list[str], Doc("what each locator said: `symbolic 3`, `judge none`, `rollouts abstained`")]


@dataclass(frozen=True, slots=True)
class StepPair:
    """A preference over one step: a common prefix, a step that leads to the right answer and one that does not (Step-DPO, eq. 2)."""

    trains: ClassVar[bool] = True  # publish demands a contamination certificate

    id: Annotated[str, Doc("hash of (stage, fault_id, ordinal)")]
    problem_id: Annotated[str, Doc("the problem")]
    rollout_id: Annotated[str, Doc("the wrong reply")]
    fault_id: Annotated[str, Doc("where its first wrong step was found")]
    problem: Annotated[str, Doc("the statement, from which the trainer renders the prompt")]
    answer: Annotated[str, Doc("the reference answer")]
    step: Annotated[int, Doc("number of the step that differs, 1-based")]
    prefix: Annotated[str, Doc("the reply up to and with the header `Step k:`, without a space after it")]
    chosen: Annotated[str, Doc("the better step, from behind the header")]
    rejected: Annotated[str, Doc("the wrong step, from behind the header")]
    chosen_ends: Annotated[bool, Doc("whether the better step ends its solution: only then an end token follows it")]
    rejected_ends: Annotated[bool, Doc("whether the wrong step ends its reply")]
    full_chosen: Annotated[str, Doc("a whole right solution that goes on from the better step: the matched pair of ordinary DPO")]
    full_rejected: Annotated[str, Doc("the whole wrong reply")]


@dataclass(frozen=True, slots=True)
class Concepts:
    """The foundational concepts of a problem, as an extractor names them."""

    id: Annotated[str, Doc("hash of (stage, problem_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    concepts: Annotated[list[str], Doc("the concepts, in the order given, each once")]
    form: Annotated[Literal["list", "lines"], Doc("list: a Python list in a fenced block; lines: the fallback's `Knowledge Point:` lines")]
    call_ids: Annotated[list[str], Doc("keys of the model calls in the ledger")] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Level:
    """How difficult a problem is meant to be, in the words of its source."""

    id: Annotated[str, Doc("hash of (stage, problem_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    level: Annotated[str, Doc("a contest (`AMC12`), a grade, or 1 to 4 in the nano world")]


@dataclass(frozen=True, slots=True)
class Rationale:
    """The thinking by which a problem could have been designed from its concepts and level."""

    id: Annotated[str, Doc("hash of (stage, concepts_id)")]
    problem_id: Annotated[str, Doc("the problem")]
    concepts_id: Annotated[str, Doc("the concepts it starts from")]
    level: Annotated[str, Doc("the level it was asked for")]
    rationale: Annotated[str, Doc("the text behind the marker")]
    call_id: Annotated[str | None, Doc("key of the model call in the ledger")]


@dataclass(frozen=True, slots=True)
class Brief:
    """What a new problem shall be made of."""

    id: Annotated[str, Doc("hash of what chose it")]
    problem_id: Annotated[str, Doc("what is made from it is joined and put into parts by this; its own id unless it redoes a problem")]
    concepts: Annotated[list[str], Doc("the concepts to bring together")]
    level: Annotated[str, Doc("the level the problem shall have")]


@dataclass(frozen=True, slots=True)
class Draft:
    """A new problem as its generator wrote it: well-formed, judged by nobody yet."""

    id: Annotated[str, Doc("hash of (stage, brief_id)")]
    problem_id: Annotated[str, Doc("of its brief")]
    brief_id: Annotated[str, Doc("the brief it was written for")]
    concepts: Annotated[list[str], Doc("the concepts that were asked for")]
    level: Annotated[str, Doc("the level that was asked for")]
    rationale: Annotated[str, Doc("the text of the rationale's block")]
    problem: Annotated[str, Doc("the text of the problem's block")]
    text: Annotated[str, Doc("the reply as received, which is what judges see")]
    call_id: Annotated[str | None, Doc("key of the model call in the ledger; null for imported drafts")]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one judge says of one draft. A rating is null where none could be read."""

    id: Annotated[str, Doc("hash of (stage, draft_id); two judges are two datasets with the same ids")]
    problem_id: Annotated[str, Doc("of the draft")]
    draft_id: Annotated[str, Doc("the draft that was judged")]
    verdict: Annotated[JudgedName, Doc("perfect, acceptable, bad or unknown; what is in doubt is unknown, never perfect")]
    format: Annotated[Rating, Doc("what the tag parser says, not the judge")]
    factual_accuracy: Annotated[Rating | None, Doc("nothing is wrong or misleading, rationale and problem agree")]
    difficulty_alignment: Annotated[Rating | None, Doc("the problem has the level that was asked for")]
    concept_coverage: Annotated[Rating | None, Doc("the problem needs every concept that was asked for")]
    solvability: Annotated[Rating | None, Doc("all needed information is given and there is a solution")]
    why: Annotated[str, Doc("for unknown the reason; where verdict and ratings disagree what each says; else empty")]
    call_id: Annotated[str | None, Doc("key of the model call in the ledger; null where the tags alone decided")]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it was found: of the AoPS wiki, or a record of somebody's data set written as one."""

    id: Annotated[str, Doc("hash of (source, title)")]
    problem_id: Annotated[str, Doc("the problem that its title names; of other pages their own id")]
    source: Annotated[str, Doc("aops, or the data set it is a record of")]
    title: Annotated[str, Doc("title in normal form, or the record's id")]
    kind: Annotated[PageKind, Doc("problem, list, key, or row: a record of a data set")]
    contest: Annotated[str | None, Doc("contest in the titles' spelling, `AMC 12A`; null for rows")]
    year: Annotated[int | None, Doc("year of the contest, null for rows")]
    number: Annotated[int | None, Doc("number of the problem, null for lists, keys and rows")]
    asks: Annotated[AsksName, Doc("what the contest asks for: choice, integer, proof, or expression where that is not known")]
    status: Annotated[str, Doc("ok, redirect, missing or hidden")]
    redirect_to: Annotated[str | None, Doc("title that a redirect leads to")]
    text: Annotated[str, Doc("wikitext as saved; empty for missing and hidden pages")]
    given_answer: Annotated[str | None, Doc("answer that a record states in a field of its own, null for pages of the wiki")]
    revid: Annotated[int | None, Doc("revision of the wiki's page, null where the source does not say")]
    revised_at: Annotated[str | None, Doc("when that revision was saved or the post written, as the source says it")]
    sha256: Annotated[str, Doc("of the text, 64 hex digits")]
    source_url: Annotated[str, Doc("where it can be read")]
    licence_note: Annotated[str, Doc("what is known of the rights")]
    redistributable: Annotated[bool, Doc("false: exports leave the row and all made from it out unless told otherwise")]


@dataclass(frozen=True, slots=True)
class ContestProblem:
    """What only contests have: where a problem was posed, choices, figures, answer key and votes. The statement is without choices."""

    id: Annotated[str, Doc("hash of (stage, problem_id)")]
    problem_id: Annotated[str, Doc("the problem: hash of (source, title of its page)")]
    source: Annotated[str, Doc("aops, or the data set it is from")]
    title: Annotated[str, Doc("title of its page; of several pages the first, as text")]
    contest: Annotated[str | None, Doc("contest of that page")]
    year: Annotated[int | None, Doc("year of that contest")]
    number: Annotated[int | None, Doc("number in it")]
    appearances: Annotated[list[str], Doc("titles of all pages of this problem, redirects among them, sorted")]
    statement: Annotated[str, Doc("the statement without choices; maths in $ or \\[, figures in [asy]")]
    context: Annotated[str, Doc("data for several problems that stand on another page; empty where there are none")]
    context_from: Annotated[str | None, Doc("title of that page")]
    choices: Annotated[list[str], Doc("the five choices A to E, or none where they were not found or are not asked")]
    asks: Annotated[AsksName, Doc("choice, integer, proof or expression")]
    key_raw: Annotated[str | None, Doc("what the answer key says, as written; several keys with ` / ` between")]
    answer_letter: Annotated[str | None, Doc("A to E")]
    answer_value: Annotated[str | None, Doc("the integer, the text of the right choice, or the expression")]
    answer_source: Annotated[AnswerSource, Doc("key, given (a field of the record), votes (boxes of solutions) or none")]
    votes: Annotated[list[str], Doc("`ANSWER WEIGHT` of what solutions say, the heaviest first")]
    n_solutions: Annotated[int, Doc("solutions with a text of their own")]
    has_figure: Annotated[bool, Doc("code or a picture in the statement")]
    figure_required: Annotated[bool, Doc("the statement cannot be understood without it")]
    asy: Annotated[list[str], Doc("Asymptote code of the statement")]
    n_files: Annotated[int, Doc("uploaded pictures in the statement; they are not kept")]
    categories: Annotated[list[str], Doc("the wiki's categories, weak labels of subject and level")]
    flags: Annotated[list[str], Doc("codes of the doubts about it, sorted; the places are in ParseIssue")]
    revid: Annotated[int | None, Doc("revision that was read")]
    source_url: Annotated[str, Doc("where it can be read")]
    licence_note: Annotated[str, Doc("what is known of the rights")]
    redistributable: Annotated[bool, Doc("false: exports leave the row out unless told otherwise")]


@dataclass(frozen=True, slots=True)
class WikiSolution:
    """A solution that people wrote, without their names."""

    id: Annotated[str, Doc("hash of (stage, problem_id, ordinal)")]
    problem_id: Annotated[str, Doc("the problem")]
    ordinal: Annotated[int, Doc("place on its page, from 0; pages of the same problem one after the other")]
    title: Annotated[str, Doc("page it stands on")]
    heading: Annotated[str, Doc("its heading, names taken out")]
    text: Annotated[str, Doc("the solution; maths in $ or \\[, figures in [asy]")]
    boxed: Annotated[list[str], Doc("contents of its boxes, in order, as written")]
    answer: Annotated[str | None, Doc("letter or value that its last readable box says")]
    refers_to_other: Annotated[bool, Doc("speaks of another solution or of a set-up shared with others")]
    stub: Annotated[bool, Doc("says only that there is no solution yet")]
    weight: Annotated[int, Doc("votes: 1, plus the thanks that an imported post got")]


@dataclass(frozen=True, slots=True)
class ParseIssue:
    """One doubt of the parser about one page; nothing is guessed in silence."""

    id: Annotated[str, Doc("hash of (stage, page, code, ordinal)")]
    problem_id: Annotated[str, Doc("the problem; of other pages their own id")]
    title: Annotated[str, Doc("the page")]
    code: Annotated[str, Doc("which doubt: a key of tasks.aops.parse.doubts.DOUBTS")]
    offset: Annotated[int, Doc("characters from the start of the page's text")]
    detail: Annotated[str, Doc("what exactly, for a person")]
    revid: Annotated[int | None, Doc("revision that was read")]


@dataclass(frozen=True, slots=True)
class Dropped:
    """An input row that gave no output, and why. Kept beside every version."""

    id: Annotated[str, Doc("id of the input row")]
    problem_id: Annotated[str | None, Doc("its problem, where it has one")]
    fate: Annotated[Literal["rejected", "quarantined"], Doc("rejected: a verdict on the row; quarantined: a failure that may heal")]
    reason: Annotated[str, Doc("short fixed text, to be counted")]
    detail: Annotated[str, Doc("what exactly, for a person")]


ROW_TYPES: dict[str, type] = {
    t.__name__: t
    for t in (
        Problem,
        Rollout,
        Verdict,
        Difficulty,
        Solution,
        Mark,
        Cluster,
        Protected,
        Example,
        Location,
        Fault,
        StepPair,
        Concepts,
        Level,
        Rationale,
        Brief,
        Draft,
        Judgement,
        Checkpoint,
        Evaluation,
        Suspect,
        Page,
        ContestProblem,
        WikiSolution,
        ParseIssue,
        Dropped,
    )
}

_ARROW = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def _arrow_type(hint: Any) -> tuple[pa.DataType, bool]:
    """(Arrow type, nullable) of a column's annotation."""
    if get_origin(hint) is Annotated:
        return _arrow_type(get_args(hint)[0])
    if get_origin(hint) in (types.UnionType, typing.Union):
        inner = [a for a in get_args(hint) if a is not type(None)]
        return _arrow_type(inner[0])[0], True
    if get_origin(hint) is Literal:
        return pa.string(), False
    if get_origin(hint) is list:
        return pa.list_(pa.field("item", _arrow_type(get_args(hint)[0])[0], nullable=False)), False
    if hint in _ARROW:
        return _ARROW[hint], False
    raise TypeError(f"no Arrow type for a column annotated {hint!r}")


@functools.cache
def arrow_schema(row_type: type) -> pa.Schema:
    """The Arrow schema of a row class; its name travels in the schema's metadata."""
    hints = typing.get_type_hints(row_type, include_extras=True)
    fields = []
    for column in dataclasses.fields(row_type):
        arrow, nullable = _arrow_type(hints[column.name])
        fields.append(pa.field(column.name, arrow, nullable=nullable))
    return pa.schema(fields, metadata={"mathmill.row": row_type.__name__})


def row_type_of(schema: pa.Schema) -> type:
    """The row class that a stored table holds."""
    name = (schema.metadata or {}).get(b"mathmill.row", b"").decode()
    if name not in ROW_TYPES:
        raise ValueError(f"no row class {name!r}: have {sorted(ROW_TYPES)}")
    return ROW_TYPES[name]


def to_table(rows: Iterable[Any], row_type: type) -> pa.Table:
    """Rows as an Arrow table sorted by id. A null in a column that allows none is an error naming row and column."""
    ordered = sorted(rows, key=lambda r: r.id)
    schema = arrow_schema(row_type)
    names = schema.names
    columns = {name: [getattr(r, name) for r in ordered] for name in names}
    for column in schema:
        if not column.nullable and None in columns[column.name]:
            bad = ordered[columns[column.name].index(None)]
            raise ValueError(f"{row_type.__name__} {bad.id}: column {column.name!r} must not be null")
    return pa.table(columns, schema=schema)


def from_table(table: pa.Table, row_type: type) -> list[Any]:
    """The rows of a table as instances of their class."""
    columns = [table.column(name).to_pylist() for name in arrow_schema(row_type).names]
    return [row_type(*values) for values in zip(*columns, strict=True)]


def problem_key(row: Any) -> str | None:
    """The problem a row belongs to: `problem_id`, the id itself for a Problem, None for rows of no problem."""
    if isinstance(row, Problem):
        return row.id
    return getattr(row, "problem_id", None)


def key_column(row_type: type) -> str | None:
    """The column that holds what `problem_key` gives."""
    if row_type is Problem:
        return "id"
    return "problem_id" if "problem_id" in {f.name for f in dataclasses.fields(row_type)} else None


def columns_doc(row_type: type) -> Sequence[tuple[str, str, str]]:
    """(column, type, meaning) of each column, for the data dictionary."""
    hints = typing.get_type_hints(row_type, include_extras=True)
    out = []
    for column in dataclasses.fields(row_type):
        arrow, nullable = _arrow_type(hints[column.name])
        doc = next((m.documentation for m in getattr(hints[column.name], "__metadata__", ()) if isinstance(m, Doc)), "")
        out.append((column.name, f"{arrow}{'?' if nullable else ''}", doc))
    return out
