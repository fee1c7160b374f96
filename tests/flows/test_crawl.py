"""The crawl as a command and as a flow, against a real server; the invented wiki as a command."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
import yaml

from flows.crawl import crawl_event
from flows.places import aops_folder
from tasks.aops.archive import FILE, Archive
from tasks.aops.contests import schedule
from tasks.aops.crawl.run import CrawlReport
from tasks.aops.fixture.faults import Fault
from tests.aops.site import CONTACT, config, contents, site

ROOT = Path(__file__).parents[2]
TERMS = ("--contact", CONTACT, "--accept-terms", "--interval", 0)
CHOICE = ("--contest", "AIME I", "--contest", "USAMO", "--year", 2099)


def test_crawl_fetches_once_and_says_what_it_found(mathmill, tmp_path):
    with site() as server:
        done = mathmill("crawl", *CHOICE, *TERMS, "--site", server.url, "--store", tmp_path, "--json")
        assert done.code == 0
        assert (done.json["state"], done.json["found"], done.json["left"]) == ("finished", {"new": 24}, 0)
        assert f"mathmill run aops --input pages={done.json['archive']}" in done.err
        again = mathmill("crawl", *CHOICE, *TERMS, "--site", server.url, "--store", tmp_path)
        assert again.code == 0 and '"unchanged": 24' in again.out
    assert len(contents(aops_folder(tmp_path))) == 24


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "crawling is off: the terms of service of the site are not accepted"),
        (("--contest", "AIME I", "--accept-terms"), "there is no contact"),
        (("--contact", CONTACT, "--accept-terms"), "no contest is chosen"),
        (("--contest", "AIME III", *TERMS[:3]), "no contest 'AIME III': have ['AHSME', "),
        (("--contest", "AIME I", "--year", 1990, *TERMS[:3]), "no such contest was held in 1990: AIME I: 2000-2026"),
        (("--contest", "AIME I", *TERMS), "min_interval_s=0 is too fast for https://artofproblemsolving.com: at least 5"),
        (("--contest", "AIME I", "--contact", "me"), "no contact 'me': give an e-mail address"),
    ],
)
def test_crawl_refuses_what_is_not_switched_on_or_impolite(mathmill, tmp_path, arguments, said):
    done = mathmill("crawl", *arguments, "--store", tmp_path)
    assert done.code == 2
    assert said in done.err
    assert not list(tmp_path.iterdir())


def test_a_blocked_crawl_fails_shows_why_and_stays_blocked_until_a_person_says_so(mathmill, tmp_path):
    with site() as server:
        server.faults.script.append(Fault("cf200", at=1))
        arguments = ("crawl", *CHOICE, *TERMS, "--site", server.url, "--store", tmp_path)
        blocked = mathmill(*arguments)
        assert blocked.code == 1 and "Just a moment" in blocked.out
        again = mathmill(*arguments)
        assert again.code == 1 and "look at why" in again.out
        assert len(server.log) == 2
        assert mathmill(*arguments, "--after-block").code == 0


def test_pages_that_were_given_up_are_an_exit_code_of_their_own(mathmill, tmp_path):
    with site() as server:
        server.faults.script.append(Fault("omit", title="2099 USAMO Problems", times=3))
        done = mathmill("crawl", *CHOICE, *TERMS, "--site", server.url, "--store", tmp_path, "--json")
        assert done.code == 3
        assert done.json["given up"] == {"2099 USAMO Problems": "the wiki's replies leave it out"}


def test_the_demo_site_serves_until_it_is_interrupted(mathmill, tmp_path):
    line = [sys.executable, "-m", "flows", "demo-site", "--port", "0"]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    url = re.findall(r"http://127\.0\.0\.1:\d+", process.stderr.readline())[0]
    try:
        with urllib.request.urlopen(f"{url}/wiki/index.php/2099_AIME_I_Problems/Problem_1") as reply:
            page = reply.read().decode()
        assert "<h2>" in page and "Problem" in page
        assert mathmill("crawl", *CHOICE, *TERMS, "--site", url, "--store", tmp_path).code == 0
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
        process.stderr.close()
    assert process.returncode == 0
    assert len(contents(aops_folder(tmp_path))) == 24


def test_the_commands_of_the_documentation_work(mathmill, tmp_path):
    text = (ROOT / "docs" / "crawling.md").read_text(encoding="utf-8")
    demo, off = re.findall(r"^    mathmill (crawl .*)$", text, re.MULTILINE)
    with site() as server:
        assert "http://127.0.0.1:8099" in demo
        assert mathmill(*shlex.split(demo.replace("http://127.0.0.1:8099", server.url)), "--store", tmp_path).code == 0
        assert mathmill(*shlex.split(off.replace("--accept-terms", "")), "--store", tmp_path).code == 2
    assert len(contents(aops_folder(tmp_path))) == 17
    assert f"{len(schedule().titles()):,} titles" in text


def test_a_damaged_archive_is_a_line_and_not_a_traceback(mathmill, tmp_path):
    aops_folder(tmp_path).mkdir()
    (aops_folder(tmp_path) / FILE).write_text("this is no database, and never was one " * 50)
    done = mathmill("crawl", *CHOICE, *TERMS, "--site", "http://127.0.0.1:1", "--store", tmp_path)
    assert done.code == 1 and "file is not a database" in done.err


def test_the_deployment_is_weekly_one_at_a_time_and_off():
    entries = {entry["name"]: entry for entry in yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]}
    crawl = entries["crawl"]
    minute, hour, *_, weekday = crawl["schedules"][0]["cron"].split()
    assert minute.isdecimal() and hour.isdecimal() and weekday.isdecimal()
    assert crawl["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert crawl["parameters"]["config"] == {"contests": [], "contact": "", "accept_terms": False}


def test_an_event_says_what_is_new_and_the_parser_waits_for_it(tmp_path):
    event = crawl_event(CrawlReport("finished", found=Counter(new=3, unchanged=9)), tmp_path)
    assert event is not None and event["payload"] == {"archive": str(tmp_path), "new": 3}
    assert crawl_event(CrawlReport("finished", found=Counter(unchanged=9, missing=2)), tmp_path) is None
    text = (ROOT / "prefect.yaml").read_text(encoding="utf-8")
    trigger = next(entry for entry in yaml.safe_load(text)["deployments"] if entry["name"] == "aops")["triggers"][0]
    assert trigger["expect"] == [event["event"]]
    assert trigger["match"]["prefect.resource.id"] == event["resource"]["prefect.resource.id"]


FLOW_RUNS = """
import sys
from pathlib import Path
from flows.services import prefect_api
from tasks.aops.crawl.access import CrawlConfig

with prefect_api(Path(sys.argv[1])):
    from flows.crawl import crawl

for given in sys.argv[2:]:
    state = crawl(CrawlConfig.model_validate_json(given), store=sys.argv[1], return_state=True)
    print(state.type.value, state.name, state.message, sep="|")
"""


@pytest.mark.slow
def test_the_flow_ends_in_a_state_that_says_how_the_crawl_ended(tmp_path):
    with site() as server:
        server.faults.script.append(Fault("401", at=3))
        settings = [config(server), config(server, accept_terms=False), config(server, max_requests_per_run=2)]
        given = [settings[1], settings[2], settings[0]]
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MATHMILL_"))}
        line = [sys.executable, "-c", FLOW_RUNS, str(tmp_path), *(one.model_dump_json() for one in given)]
        done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    states = [line.split("|")[:2] for line in done.stdout.splitlines() if "|" in line]
    assert states == [["COMPLETED", "Off"], ["COMPLETED", "Finished"], ["FAILED", "Blocked"]]
    with Archive.open(aops_folder(tmp_path)) as archive:
        evidence = archive.connection.execute("SELECT evidence FROM run ORDER BY id DESC LIMIT 1").fetchone()[0]
    assert json.loads(evidence)["status"] == 401
