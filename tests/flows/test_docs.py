"""What the documentation shows is true: generated pages, the worked example, the README's commands and links, one-way imports of names."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flows import docs
from flows.apply import all_stages
from flows.config import recipe_names

ROOT = Path(__file__).resolve().parents[2]
MARK = "<!-- run by tests/flows/test_docs.py -->"


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page that promise to be run here."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"{re.escape(MARK)}\n```{language}\n(.*?)```", text, re.DOTALL)


def bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    command = ["bash", "-euo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def test_generated_pages_are_what_the_code_says():
    assert docs.stale() == [], "run `python -m flows.docs` (or make docs) and commit the result"


def test_check_exits_1_and_names_the_page_that_is_out_of_date_and_the_way_out(tmp_path):
    docs.write(tmp_path)
    assert docs.stale(tmp_path) == []
    (tmp_path / "stages.md").write_text("something else", encoding="utf-8")
    (tmp_path / "cli.md").unlink()
    assert docs.stale(tmp_path) == ["stages.md", "cli.md"]


def test_every_stage_setting_and_column_is_documented():
    for made in all_stages():
        assert docs.first_line(made.doc), made.name
        assert all(field.description for field in made.config_type.model_fields.values()), made.name
    assert not re.search(r"^\|.*\|  \|$", docs.dictionary_page(), re.MULTILINE)


def test_every_recipe_is_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in recipe_names() if f"| `{name}` |" not in readme] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("docs/**/*.md"))])
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [t.partition("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", text) if not t.startswith(("http:", "https:", "#"))]
    assert [t for t in targets if not (ROOT / page).parent.joinpath(t).exists()] == []


def test_make_targets_that_the_readme_names_exist():
    named = set(re.findall(r"`?make ([a-z][a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    makefiles = "".join(p.read_text(encoding="utf-8") for p in [ROOT / "Makefile", *ROOT.glob("make/*.mk")])
    assert {"demo", "test"} <= named
    assert [t for t in sorted(named) if not re.search(rf"^{t}:", makefiles, re.MULTILINE)] == []


def test_every_package_is_listed_for_installation():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = [p.parent for top in ("flows", "models", "storage", "tasks") for p in ROOT.glob(f"{top}/**/__init__.py")]
    there = {str(folder.relative_to(ROOT)).replace("/", ".") for folder in folders}
    assert there == listed


def test_the_worked_example_of_a_stage_runs_as_shown(tmp_path):
    """Its module is put among the tasks under the name that the text gives it, for a process that ends with the test."""
    module, use = blocks("CONTRIBUTING.md", "python")
    name = re.search(r"`tasks/(\w+)\.py`:", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")).group(1)
    assert importlib.util.find_spec(f"tasks.{name}") is None
    (tmp_path / f"{name}.py").write_text(module, encoding="utf-8")
    script = tmp_path / "use.py"
    script.write_text(f"import tasks\ntasks.__path__.append({str(tmp_path)!r})\n{use}print('accounted for')\n", encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "accounted for\n"), done.stderr


def test_the_grader_of_the_readme_gives_three_verdicts(tmp_path):
    grader = next(b for b in blocks("README.md", "bash") if "apply verify" in b)
    done = bash(grader, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.findall(r'"verdict": "(\w+)"', done.stdout) == ["correct", "correct", "wrong"]


@pytest.mark.slow
def test_the_other_commands_of_the_readme_run_in_order(tmp_path):
    for script in (b for b in blocks("README.md", "bash") if "apply verify" not in b):
        done = bash(script, tmp_path)
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert list(tmp_path.glob("verdicts/**/*.parquet"))
    assert (tmp_path / "lab" / "report.html").is_file()
