"""What the documents say is what the code does."""

import re
import shlex
from pathlib import Path

import nbformat
import pytest

from promo import __version__
from promo.cli import parser

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
README = (ROOT / "README.md").read_text()
ANALYSIS = (ROOT / "ANALYSIS.md").read_text()


def blocks(text, language=""):
    """Return the fenced blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def test_the_numbers_of_the_analysis_are_those_of_the_notebook():
    """ANALYSIS.md quotes lines that the stored run of 01-analysis.ipynb printed."""
    notebook = nbformat.read(ROOT / "notebooks" / "01-analysis.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    printed = "".join(output.get("text", "") for output in outputs)
    quoted = next(block for block in blocks(ANALYSIS) if "slope of network ability" in block)
    assert len(quoted.splitlines()) == 7
    for line in quoted.splitlines():
        assert line in printed


@pytest.mark.parametrize("document", ["README.md", "ANALYSIS.md", "CONTRIBUTING.md"])
def test_every_local_link_leads_somewhere(document):
    """A file that a document links to is in the repository."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_promises_name_tests_that_there_are():
    """Each test file that docs/reliability.md names exists, and each promise names one."""
    text = (ROOT / "docs" / "reliability.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(test_\w+)`", row[2]) for row in rows]
    assert len(rows) > 12
    assert all(named)
    missing = {name for names in named for name in names if not (TESTS / f"{name}.py").exists()}
    assert missing == set()


def test_every_command_of_the_readme_parses():
    """README's promo commands, with each option it names, are accepted by the parser."""
    options = {"--port": "1", "--host": "h", "--api": "http://h", "--world": "collider"}
    options |= {"--rows": "1", "--seed": "1", "--data": "f", "--db": "f", "--pages": "1"}
    options |= {
        "--size": "1",
        "--learning-rate": "0.1",
        "--faults": "seed=1",
        "--models": "base-rate",
        "--scheduler": "tcp://h:1",
        "--workers": "1",
        "--parquet": "f",
    }
    table = next(block for block in blocks(README) if block.startswith("promo lab"))
    commands = re.split(r"^promo ", table, flags=re.MULTILINE)[1:]
    for command in commands:
        words = [command.split()[0]]
        for option in re.findall(r"\[(--[a-z-]+)", command):
            words += [option, options[option]] if option in options else [option]
        assert parser().parse_args(words).command == words[0]
    assert {shlex.split(command)[0] for command in commands} == {
        "lab",
        "api",
        "run",
        "scale",
        "show",
    }


def test_the_readme_names_every_table_of_the_store():
    """The README's list of tables is the schema's."""
    schema = (ROOT / "promo" / "store" / "schema.sql").read_text()
    tables = set(re.findall(r"CREATE TABLE (\w+)", schema))
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == tables


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """README's example runs as it stands, against an API on another port."""
    from promo.embedded import EmbeddedAPI

    monkeypatch.chdir(tmp_path)
    [example] = blocks(README, "python")
    with EmbeddedAPI(rows=2000, data=tmp_path / "data.db", port=0) as api:
        exec(example.replace("http://127.0.0.1:5000", api.url), {})
    assert (tmp_path / "promo.db").exists()


def test_there_is_one_version():
    """The package, its metadata and the container image have one version."""
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"promo:{__version__}" in (ROOT / "docker-compose.yml").read_text()
