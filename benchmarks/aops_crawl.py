"""The crawler against the invented wiki: requests of first and later runs, through faults, over kills, at a block; and its own cost.

python -m benchmarks.aops_crawl. The same is asserted in tests/tasks/test_aops_*.py; nothing outside this machine is asked.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tasks.aops.archive import FILE, Archive
from tasks.aops.contests import schedule
from tasks.aops.fixture.api import Limits
from tasks.aops.fixture.contest import KINDS
from tasks.aops.fixture.faults import Fault
from tests.aops.site import LARGE, Skipping, batches, config, content_requests, contents, crawled, site

EVERY_FAULT = ("429", "503", "500", "reset", "trunc", "slow", "drip", "badjson", "html_for_json", "old_shape", "maxlag", "ratelimited")
EVERY_FAULT += ("apierror", "sha1_mismatch", "gzip_broken", "wrong_charset", "huge")
DELAY_S = {"slow": 3.0, "drip": 0.01}
SMALL_REPLIES = Limits(content_bytes=18_000)
DECADE = tuple((kind, year) for year in range(2090, 2100) for kind in KINDS)
Case = tuple[str, str, str]


def counts(folder: Path) -> Iterator[Case]:
    with site(LARGE) as server:
        titles = len(config(server, LARGE).titles(schedule()))
        first = crawled(folder, config(server, LARGE)).requests
        yield f"{titles} pages, first run: requests", str(1 + batches(titles)), str(first)
        server.log.clear()
        second = crawled(folder, config(server, LARGE)).requests
        wanted = f"{1 + batches(titles)}, 0"
        yield "the same again, nothing changed: requests, of them for text", wanted, f"{second}, {len(content_requests(server.log))}"


def faults(folder: Path) -> Iterator[Case]:
    with site(LARGE, limits=SMALL_REPLIES) as server:
        calm = crawled(folder / "calm", config(server, LARGE)).requests
        with Archive.open(folder / "calm") as archive:
            wanted = archive.digest()
        for seed in range(5):
            server.log.clear()
            order = random.Random(seed).sample(EVERY_FAULT, len(EVERY_FAULT))
            server.faults.script = [
                Fault(kind, at=1 + 2 * n, retry_after="1", delay_s=DELAY_S.get(kind, 0.0)) for n, kind in enumerate(order)
            ]
            rough = folder / f"rough{seed}"
            report = crawled(rough, config(server, LARGE, timeout_s=1.0), jitter=random.Random(seed))
            with Archive.open(rough) as archive:
                same = "same archive" if archive.digest() == wanted else "ANOTHER ARCHIVE"
            met = sum(asked.fault is not None for asked in server.log)
            case = f"{len(EVERY_FAULT)} faults, order {seed}: end, archive, faults met, requests beyond {calm}"
            yield (
                case,
                f"finished, same archive, {len(EVERY_FAULT)}, <= {len(EVERY_FAULT)}",
                f"{report.state}, {same}, {met}, {report.requests - calm}",
            )


def kills(folder: Path) -> Iterator[Case]:
    with site(LARGE, limits=SMALL_REPLIES) as server:
        settings = config(server, LARGE, min_interval_s=1.0)
        whole = crawled(folder / "whole", settings).requests
        server.log.clear()
        starts, said = 0, "ready"
        while said == "ready":
            line = [sys.executable, "-m", "tests.aops.crawling", str(folder / "killed"), settings.model_dump_json(), "3"]
            with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
                assert process.stdout is not None
                said = process.stdout.readline().strip()
                process.kill()
            starts += 1
        same = "same archive" if contents(folder / "killed") == contents(folder / "whole") else "ANOTHER ARCHIVE"
        yield f"SIGKILL after every 3 replies ({starts} starts): requests, archive", f"{whole}, same archive", f"{len(server.log)}, {same}"


def blocks(folder: Path) -> Iterator[Case]:
    for kind in ("cf403", "cf200", "401"):
        with site(LARGE) as server:
            server.faults.script.append(Fault(kind, at=3, times=100))
            report = crawled(folder / kind, config(server, LARGE))
            yield f"{kind} from the fourth request on: end, requests", "blocked, 4", f"{report.state}, {len(server.log)}"


def cost(folder: Path) -> Iterator[Case]:
    with site(DECADE) as server:
        elapsed, started = time.monotonic(), time.process_time()
        report = crawled(folder, config(server, DECADE), clock=Skipping().clock())
        used, elapsed = time.process_time() - started, time.monotonic() - elapsed
        size = (folder / FILE).stat().st_size / 1e6
        said = f"{used:.1f} s, {elapsed:.1f} s, {size:.1f} MB"
        yield (
            f"{sum(report.found.values())} pages in {report.requests} requests without pauses: CPU (server too), elapsed, archive",
            "",
            said,
        )
    titles = len(schedule().titles())
    yield f"all {titles} titles of the schedule: requests of a run", str(1 + batches(titles)), "not run: the site was not asked"


def main() -> None:
    """Print the table."""
    table = Table("case", "wanted", "measured")
    with tempfile.TemporaryDirectory() as scratch:
        for part in (counts, faults, kills, blocks, cost):
            for case in part(Path(scratch) / part.__name__):
                table.add_row(*case)
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
