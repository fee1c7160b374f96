"""SIGKILL between requests costs nothing; in the middle of one it costs that one. The archive is the same as without."""

import math
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks.aops.crawl.access import CrawlConfig
from tasks.aops.fixture.api import Limits
from tasks.aops.fixture.faults import Fault
from tests.aops.site import LARGE, check_politeness, config, contents, crawled, site

ROOT = Path(__file__).parents[2]
NEVER = 10_000


def start(folder: Path, settings: CrawlConfig, replies: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "tests.aops.crawling", str(folder), settings.model_dump_json(), str(replies)]
    return subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


@pytest.mark.slow
def test_a_crawl_killed_after_every_three_replies_finishes_without_a_wasted_request(tmp_path):
    with site(LARGE, limits=Limits(content_bytes=40_000)) as server:
        settings = config(server, LARGE, min_interval_s=1.0)
        whole = crawled(tmp_path / "whole", settings).requests
        assert whole > 10
        server.log.clear()
        kills, state = 0, "ready"
        while state == "ready":
            process = start(tmp_path / "killed", settings, 3)
            assert process.stdout is not None
            state = process.stdout.readline().strip()
            kills += state == "ready"
            kill(process)
        assert state == "finished"
        assert kills == math.ceil(whole / 3) - 1
        assert len(server.log) == whole  # not one more
        assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
        check_politeness(server.log)


@pytest.mark.slow
def test_a_crawl_killed_in_the_middle_of_requests_asks_only_those_again(tmp_path):
    with site(LARGE, limits=Limits(content_bytes=40_000)) as server:
        settings = config(server, LARGE, min_interval_s=1.0)
        whole = crawled(tmp_path / "whole", settings).requests
        server.log.clear()
        for at in (0, 3, 7):  # robots.txt, a text, the rest of a cut reply
            came = threading.Event()
            server.faults.script.append(Fault("hold", at=at))
            server.arrived = lambda asked, at=at, came=came: came.set() if asked.index == at else None
            server.release.clear()
            process = start(tmp_path / "killed", settings, NEVER)
            came.wait()
            kill(process)
            server.release.set()
        last = start(tmp_path / "killed", settings, NEVER)
        assert last.communicate()[0].strip() == "finished"
        assert len(server.log) == whole + 3
        assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
