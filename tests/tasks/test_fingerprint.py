"""The code's part of a cache key: what changes results is in it, comments are not."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = "import sys; sys.path.insert(0, sys.argv[1]); from tasks.fingerprint import source_digest; print(source_digest('tasks.demo'))"


@pytest.fixture
def checkout(tmp_path):
    """A tasks package of our own beside the real fingerprint module."""
    import tasks.fingerprint as real

    folder = tmp_path / "tasks"
    (folder / "maths").mkdir(parents=True)
    for name in ("__init__.py", "maths/__init__.py"):
        (folder / name).touch()
    text = Path(real.__file__).read_text().replace("from tasks.stage import Stage\n", "Stage = object\n")
    (folder / "fingerprint.py").write_text(text)
    (folder / "maths" / "add.py").write_text("def add(a, b):\n    return a + b\n")
    write(tmp_path, "from tasks.maths.add import add\n\ndef demo(x):\n    return add(x, 1)\n")
    return tmp_path


def write(checkout, text):
    (checkout / "tasks" / "demo.py").write_text(textwrap.dedent(text))


def digest(checkout) -> str:
    done = subprocess.run([sys.executable, "-P", "-c", PROGRAM, str(checkout)], capture_output=True, text=True, cwd=checkout, check=True)
    return done.stdout.strip()


def test_comments_docstrings_and_spacing_change_nothing(checkout):
    before = digest(checkout)
    write(checkout, '"""Demo."""\nfrom tasks.maths.add import add  # a note\n\ndef demo(x):\n    """Add one."""\n    return add(x,  1)\n')
    assert digest(checkout) == before


@pytest.mark.parametrize(
    "path, text",
    [
        ("demo.py", "from tasks.maths.add import add\n\ndef demo(x):\n    return add(x, 2)\n"),
        ("maths/add.py", "def add(a, b):\n    return b + a\n"),
    ],
)
def test_code_of_the_stage_and_of_what_it_imports_counts(checkout, path, text):
    before = digest(checkout)
    (checkout / "tasks" / path).write_text(text)
    assert digest(checkout) != before
