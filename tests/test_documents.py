"""What the documents say is what the code does."""

import doctest
import importlib
import re
import shlex
from pathlib import Path

import nbformat
import pytest

from clocks import wait_for
from promo import __version__
from promo.cli import parser
from promo.models.default import EXPERTS, MIXTURE, default_models
from promo.world import WORLDS

ROOT = Path(__file__).parent.parent
ROWS = 2000
TESTS = ROOT / "tests"
README = (ROOT / "README.md").read_text()
EXAMPLES = [path for path in sorted(ROOT.glob("promo/**/*.py")) if ">>> " in path.read_text()]
ANALYSIS = (ROOT / "ANALYSIS.md").read_text()


def blocks(text, language=""):
    """Return the fenced blocks of a document."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(
    ("notebook", "words", "lines"),
    [
        ("01-analysis", "slope of network ability", 7),
        ("01-analysis", "log_loss", 7),
        ("02-learning-rates", "best rate", 7),
    ],
)
def test_the_numbers_of_the_analysis_are_those_of_the_notebook(notebook, words, lines):
    """ANALYSIS.md quotes lines that the stored run of a notebook printed, tables included."""
    cells = nbformat.read(ROOT / "notebooks" / f"{notebook}.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    printed = "\n".join(o.get("text", o.get("data", {}).get("text/plain", "")) for o in outputs)
    quoted = next(block for block in blocks(ANALYSIS) if words in block).splitlines()
    assert len(quoted) == lines
    assert [line for line in quoted if line not in printed] == []


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
        "--out": "f",
        "--size": "1",
        "--learning-rate": "0.1",
        "--faults": "seed=1",
        "--models": "base-rate",
        "--scheduler": "tcp://h:1",
        "--workers": "1",
        "--parquet": "f",
        "--in-flight": "1",
        "--pages-per-s": "1",
        "--theme": "dark",
        "--page": "1",
    }
    table = next(block for block in blocks(README) if block.startswith("promo lab"))
    commands = re.split(r"^promo ", table, flags=re.MULTILINE)[1:]
    for command in commands:
        for one in (r"\1", r"\2"):  # of two that stand in place of each other
            words = [command.split()[0]]
            for option in re.findall(r"--[a-z-]+", re.sub(r"(--[^|\]]+)\|([^]]+)", one, command)):
                words += [option, options[option]] if option in options else [option]
            assert parser().parse_args(words).command == words[0]
    named = {shlex.split(command)[0] for command in commands}
    assert named == {"lab", "app", "api", "run", "scale", "fork", "show", "report"}


@pytest.mark.parametrize(
    ("command", "names"),
    [("run", [*EXPERTS, MIXTURE]), ("fork", [*EXPERTS, MIXTURE]), ("api", WORLDS)],
)
def test_the_help_names_all_there_is(command, names, capsys, monkeypatch):
    """The experts that `--models` may name, and the worlds, are in the help: all of them."""
    monkeypatch.setenv("COLUMNS", "1000")  # no name is broken
    with pytest.raises(SystemExit):
        parser().parse_args([command, "--help"])
    assert {*re.findall(r"[a-z-]+", capsys.readouterr().out)} >= {*names}


def test_the_readme_names_every_table_of_the_store():
    """The README's list of tables is the schema's."""
    schema = (ROOT / "promo" / "store" / "schema.sql").read_text()
    tables = set(re.findall(r"CREATE TABLE (\w+)", schema))
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == tables


@pytest.mark.usefixtures("comms")
def test_the_python_of_the_readme_runs(api, tmp_path, monkeypatch):
    """README's examples run as they stand, against an API on another port."""
    from promo import Store, Trainer, ui

    monkeypatch.chdir(tmp_path)
    example, views = blocks(README, "python")
    exec(example.replace("http://127.0.0.1:5000", api.url), names := {})
    stream = names["stream"]
    assert names["settings"] == default_models()[1]  # so promo run goes on with it
    settings = names["settings"]
    store = Store("promo.db", source=stream.source, page_size=stream.page_size, settings=settings)
    with Trainer(stream, store, names["models"]) as trainer:
        exec(views, names := {"trainer": trainer, "ui": ui})
        names["travel"].slider.page = 40
        wait_for(lambda: names["travel"].page == 40)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_in_docstrings(path):
    """Every example in a module's documentation gives what it shows."""
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_there_is_one_version():
    """The package, its metadata and the container image have one version."""
    assert f'version = "{__version__}"' in (ROOT / "pyproject.toml").read_text()
    assert f"promo:{__version__}" in (ROOT / "docker-compose.yml").read_text()
