"""Tests of the notebooks as documents and as programs; nbval compares their outputs besides."""

import re
from itertools import takewhile

import nbformat
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from promo.embedded import EmbeddedAPI
from servers import contract_server, employees
from tools import notebooks

PATHS = sorted((notebooks.ROOT / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
# The dashboard is a page to look at; the others are chapters to read.
chapter = pytest.mark.parametrize(
    "path", [path for path in PATHS if path.stem != "04-dashboard"], ids=lambda path: path.stem
)
# A worker is killed there, on rows enough for that: no two runs are alike, and few rows no use.
KILLING = [path for path in PATHS if path.stem.startswith("05")]
alone = pytest.mark.parametrize(
    "path", [path for path in PATHS if path not in KILLING], ids=lambda path: path.stem
)
JUDGING = [path for path in PATHS if path.stem in ("01-analysis", "03-causal-stories")]
judging = pytest.mark.parametrize("path", JUDGING, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook):
    """Return all prose, without what stands in fences."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"^```.*?^```", "", prose, flags=re.DOTALL | re.MULTILINE)


# -- as documents ------------------------------------------------------------------------------


def test_there_is_a_notebook():
    """The laws below are about something."""
    assert notebooks.ROOT / "notebooks" / "01-analysis.ipynb" in PATHS


@chapter
def test_structure(path):
    """15 to 35 cells, code of 12 lines or fewer, one H1 at the top, a name NN-title."""
    assert re.fullmatch(r"\d\d-[a-z-]+\.ipynb", path.name)
    notebook = read(path)
    nbformat.validate(notebook)
    assert 15 <= len(notebook.cells) <= 35
    for cell in notebook.cells:
        assert cell.source.strip() == cell.source != ""
        assert cell.cell_type in {"code", "markdown"}
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 12, cell.source
    assert re.findall(r"^# ", markdown(notebook), re.MULTILINE) == ["# "]
    assert notebook.cells[0].source.startswith("# ")


@each
def test_imports_stand_first(path):
    """The first code cell has all the imports and the source."""
    first, *others = code_cells(read(path))
    assert "api_from_environment" in first.source
    for cell in others:
        assert not re.search(r"^\s*(import|from) ", cell.source, re.MULTILINE), cell.source


@chapter
def test_the_arc_ends_as_it_should(path):
    """Things to try, key ideas and references close every notebook, in this order."""
    titles = re.findall(r"^## (.+)$", markdown(read(path)), re.MULTILINE)
    assert titles[-3:] == ["Try this", "Key ideas", "References"]


@chapter
def test_numbers_are_checked_where_they_are_printed(path):
    """Live or not, a notebook asserts what it concludes from."""
    sources = [cell.source for cell in code_cells(read(path))]
    assert len([source for source in sources if re.search(r"^\s*assert ", source, re.M)]) >= 3


@each
def test_outputs_are_stored_and_normalised(path):
    """Counts go from 1 to n; there are outputs, and no errors, warnings, widget state or clocks."""
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    outputs = [output for cell in cells for output in cell.outputs]
    assert len(outputs) >= len(cells) / 2
    for output in outputs:
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert notebooks.VIEW not in output.get("data", {})
    assert not any("execution" in cell.metadata for cell in cells)
    text = path.read_text(encoding="utf-8")
    assert text == notebooks.text_of(notebooks.normalise(notebook))
    assert not re.search(r"/(home|root|Users|tmp)/|0x[0-9a-f]{6}|127\.0\.0\.1:\d{5}", text)


@each
def test_figures_have_a_title_for_those_who_cannot_see_them(path):
    """Every SVG among the outputs is an image with a title."""
    for cell in code_cells(read(path)):
        for output in cell.outputs:
            for svg in re.findall(r"<svg.*?</svg>", output.get("data", {}).get("text/html", "")):
                assert 'role="img"' in svg
                assert re.search(r"<title>[^<]{5,}</title>", svg)


# -- as programs -------------------------------------------------------------------------------


def run(cells, folder, **environment):
    """Run copies of these cells in a new kernel of this Python on empty data; return them."""
    copies = [{**cell, "id": f"cell-{number}"} for number, cell in enumerate(cells)]
    notebook = nbformat.from_dict(
        {"cells": copies, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    )
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[])),
        timeout=120,
        store_widget_state=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(cleanup_kc=True, env=notebooks.kernel_environment(str(folder)) | environment)
    return notebook.cells


def printed(cells):
    """Return what each code cell prints."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
@each
def test_runs_agree_with_the_stored_one_to_the_byte(path, tmp_path):
    """Run on empty data, each cell twice in a row, a notebook gives the bytes of the repository.

    Those are another run's. The second time, and once all cells run again in the same kernel, there
    is no error, and what is printed is in the file, but where a worker is killed.
    """
    stored = read(path)
    is_killing, length = path in KILLING, len(stored.cells)
    ran = run(
        [c for c in stored.cells for _ in range(2)] + stored.cells * (not is_killing), tmp_path
    )
    for cell, done in zip(stored.cells, ran[: 2 * length : 2], strict=True):
        cell.update({key: done[key] for key in ("outputs", "execution_count") if key in done})
    assert notebooks.text_of(notebooks.normalise(stored)) == path.read_text(encoding="utf-8")
    for again in (ran[1 : 2 * length : 2], ran[2 * length :]):
        assert is_killing or printed(again) == printed(stored.cells)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "slope", "leader"),
    [("mentoring", "positive", "all connected"), ("interaction", "zero", "all independent")],
)
@judging
def test_in_another_world_it_says_what_that_worlds_data_say(path, world, slope, leader, tmp_path):
    """With PROMO_API_URL naming a service of other employees, verdicts are of their rows."""
    with EmbeddedAPI(world, rows=10_000, data=tmp_path / "data.db", port=0) as api:
        said = printed(run(read(path).cells, tmp_path, PROMO_API_URL=api.url))
    assert api.url in said[0]
    assert re.search(rf"the slope is: {slope}\b", "".join(said))
    assert re.search(rf"the story ahead(:| is) {leader}", "".join(said))
    assert not (tmp_path / "data" / "collider-100000-2021.db").exists()  # it started none itself


ODD = {  # by the fields that do not vary
    "all promoted": {"promoted": 1},
    "all alike": {"network_ability": 2.5, "competence": -1.0},
    "one row": {},
}


def of_the_source(cells):
    """Return the cells before one that starts an API of its own: their rows are the reader's."""
    return [*takewhile(lambda c: c.cell_type != "code" or "= EmbeddedAPI(" not in c.source, cells)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD)
@alone
def test_where_data_say_nothing_it_says_so(path, kind, tmp_path):
    """Rows that decide nothing stop no cell, and what is not defined is no finding."""
    rows = [{**row, **ODD[kind]} for row in employees(1 if kind == "one row" else 300)]
    with contract_server(rows) as url:
        said = "".join(printed(run(of_the_source(read(path).cells), tmp_path, PROMO_API_URL=url)))
    assert not re.search(r"nan%|error nan", said)
    assert not re.search(r"nan, (ex|in)cludes zero|nan to \+?nan, contains zero", said)
