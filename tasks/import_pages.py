"""Import pages of the AoPS wiki and records of data sets made from its forum, from whatever holds them: one Page for each title.

Reads what `flows.sources` opens: an archive of the crawler, a MediaWiki XML dump, WARC, saved HTML or wikitext, JSONL, Parquet, Hugging
Face folders. Titles outside the contest schedule are refused with a reason. It parses nothing and crawls nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import field_validator

from storage.ids import derived_id, problem_id
from storage.schemas import Page
from tasks.aops.contests import Refused, schedule
from tasks.aops.pages import LICENCE_NOTE, RawPage, raw_page
from tasks.aops.sources.rows import Columns, Record, read_record
from tasks.stage import Made, Rejected, Source, StageConfig, stage


class ImportPagesConfig(StageConfig):
    """What to make of the records."""

    source: str = ""
    """Name of a data set, hashed with the ids it gives; empty: the record's own `source`, else the file's name. Wiki pages are `aops`."""
    licence_note: str = LICENCE_NOTE
    """What is known of the rights in records of a data set."""
    redistributable: bool = False
    """Whether exports may contain records of a data set; pages of the wiki never."""
    columns: Columns = Columns()
    """Where the parts of a problem are in records of a data set."""

    @field_validator("licence_note")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("licence_note must say what is known of the rights; nothing is known of them: 'unknown'")
        return value


@stage(scope="dataset")
def import_pages(records: Source, config: ImportPagesConfig) -> Iterator[Made[Page] | Rejected]:
    """One Page for each title: of several revisions the latest. Raises ValueError at a record that cannot be read."""
    name = config.source or (records.paths[0].stem if len(records.paths) == 1 else records.paths[0].parent.name)
    latest: dict[str, tuple[str, Page]] = {}
    for record_id, record in records.records():
        page = _page(record_id, record, name, config)
        if isinstance(page, Rejected):
            yield page
            continue
        before = latest.get(page.id)
        if before is not None and (before[1].revid or 0) >= (page.revid or 0):
            yield Rejected("duplicate", f"of {before[0]}", of=record_id)
            continue
        if before is not None:
            yield Rejected("older revision", f"{before[1].title!r}, of {record_id}", of=before[0])
        latest[page.id] = (record_id, page)
    for record_id, page in latest.values():
        yield Made(page, of=[record_id])


def _page(record_id: str, record: Any, name: str, config: ImportPagesConfig) -> Page | Rejected:
    if isinstance(record, RawPage):
        return wiki_page(record_id, record)
    if isinstance(record, Refused):
        return Rejected(record.reason, f"{record.title!r}: {record.detail}", of=record_id)
    if not isinstance(record, Mapping):
        raise ValueError(f"{record_id}: {record}; mend the record or leave it out")
    if "wikitext" in record and "title" in record:
        given = {k: record[k] for k in ("page_id", "revid", "revised_at") if record.get(k) is not None}
        return wiki_page(record_id, raw_page(str(record["title"]), str(record["wikitext"]), **given))
    read = read_record(record, config.columns)
    if isinstance(read, str):
        return Rejected(read, f"the record has {sorted(map(str, record))}", of=record_id)
    return _row_page(read, config.source or read.source or name, config)


def wiki_page(record_id: str, raw: RawPage) -> Page | Rejected:
    """The row of a page of the wiki; Rejected where its title is not in the contest schedule."""
    place = schedule().locate(raw.title)
    if isinstance(place, Refused):
        return Rejected(place.reason, f"{raw.title!r}: {place.detail}", of=record_id)
    id_ = derived_id("import_pages", "aops", raw.title)
    return Page(
        id=id_,
        problem_id=problem_id("aops", raw.title, "") if place.kind == "problem" else id_,
        source="aops",
        title=raw.title,
        kind=place.kind,
        contest=place.contest,
        year=place.year,
        number=place.number,
        asks=place.answer,
        status=raw.status,
        redirect_to=raw.redirect_to,
        text=raw.text,
        given_answer=None,
        revid=raw.revid,
        revised_at=raw.revised_at,
        sha256=raw.sha256,
        source_url=raw.source_url,
        licence_note=raw.licence_note,
        redistributable=False,
    )


def _row_page(read: Record, source: str, config: ImportPagesConfig) -> Page:
    raw = raw_page(read.title, read.wikitext, revised_at=read.written_at, source_url=read.url, licence_note=config.licence_note)
    return Page(
        id=derived_id("import_pages", source, read.title),
        problem_id=problem_id(source, read.title, ""),
        source=source,
        title=read.title,
        kind="row",
        contest=None,
        year=None,
        number=None,
        asks=read.asks,
        status="ok",
        redirect_to=None,
        text=raw.text,
        given_answer=read.answer,
        revid=None,
        revised_at=read.written_at,
        sha256=raw.sha256,
        source_url=read.url,
        licence_note=config.licence_note,
        redistributable=config.redistributable,
    )
