"""A crawl in a process of its own, for tests that kill it: python -m tests.aops.crawling FOLDER SETTINGS-AS-JSON REPLIES

After so many kept replies it prints `ready`, in the wait before the next request, and stays there; else it prints the state it ended in.
"""

import sqlite3
import sys

from tasks.aops.archive import FILE, Archive
from tasks.aops.crawl.access import Clock, CrawlConfig
from tasks.aops.crawl.run import crawl
from tests.aops.site import Skipping


def main(folder: str, settings: str, replies: int) -> None:
    with Archive.open(folder) as archive:
        log = sqlite3.connect(f"{folder}/{FILE}")
        skipping = Skipping()
        start = answered(log)

        def sleep(seconds: float) -> None:
            if answered(log) - start >= replies:
                print("ready", flush=True)
                sys.stdin.read()  # until killed
            skipping.skipped += seconds

        print(crawl(archive, CrawlConfig.model_validate_json(settings), clock=Clock(skipping.clock().now, sleep)).state, flush=True)


def answered(log: sqlite3.Connection) -> int:
    if not log.execute("SELECT 1 FROM sqlite_master WHERE name = 'request'").fetchone():
        return 0
    return int(log.execute("SELECT count(*) FROM request WHERE ended_at IS NOT NULL").fetchone()[0])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
