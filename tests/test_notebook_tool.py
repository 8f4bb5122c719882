"""Tests of `tools/notebooks.py` on small notebooks made here."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import notebooks

WIDGET = "import ipywidgets\nbox = ipywidgets.IntSlider(3)\ndisplay(box)\nbox"
STREAM = "import time\nprint('one', flush=True)\ntime.sleep(0.1)\nprint('two')"
CLEAN = """\
import os
print(os.listdir(os.environ["PROMO_DATA"]), [n for n in os.environ if n.startswith("PROMO_API")])
open(os.path.join(os.environ["PROMO_DATA"], "left"), "w").close()"""


def write(path, *sources):
    """Write a notebook of these code cells under a title."""
    cells = [new_markdown_cell("# Title"), *map(new_code_cell, sources)]
    nbformat.write(new_notebook(cells=cells), path)
    return path


def keys(node):
    """List every key in a tree of dicts and lists."""
    if isinstance(node, dict):
        yield from node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from keys(child)


def test_two_runs_agree_to_the_byte_and_hold_no_noise(tmp_path, monkeypatch):
    """A run starts on empty data with no settings; a second one writes the same bytes."""
    monkeypatch.setenv("PROMO_API_URL", "http://127.0.0.1:9")
    path = write(tmp_path / "small.ipynb", CLEAN, WIDGET, "", STREAM)
    ids = [cell.id for cell in nbformat.read(path, 4).cells]
    assert notebooks.main([str(path)]) == 0
    first = path.read_bytes()
    assert notebooks.main([str(path)]) == 0
    assert path.read_bytes() == first

    stored = nbformat.read(path, 4)
    assert [cell.id for cell in stored.cells] == ids
    assert stored.metadata.kernelspec.name == "python3"
    noise = {"widgets", "execution", notebooks.VIEW, "version", "codemirror_mode"}
    assert noise.isdisjoint(keys(stored))
    _, clean, widget, empty, stream = stored.cells
    assert [cell.execution_count for cell in (clean, widget, empty, stream)] == [1, 2, None, 3]
    assert clean.outputs[0].text == "[] []\n"
    assert [output.data for output in widget.outputs] == [{"text/plain": "IntSlider(value=3)"}] * 2
    assert [output.text for output in stream.outputs] == ["one\ntwo\n"]


def test_check_names_the_cell_and_writes_nothing(tmp_path, capsys):
    """--check fails on stored outputs that a run does not give, and leaves the file alone."""
    path = write(tmp_path / "stale.ipynb", "1 + 1", "2 + 2")
    before = path.read_bytes()
    assert notebooks.main(["--check", str(path)]) == 1
    assert "stored outputs differ in cell 2, 3" in capsys.readouterr().out
    assert path.read_bytes() == before


def test_a_failing_cell_is_one_line_and_nothing_is_written(tmp_path, capsys):
    """A notebook that fails keeps its stored outputs."""
    path = write(tmp_path / "broken.ipynb", "raise ValueError('no such page')")
    before = path.read_bytes()
    assert notebooks.main([str(path)]) == 1
    assert capsys.readouterr().out == "broken.ipynb: ValueError: no such page\n"
    assert path.read_bytes() == before


@pytest.mark.parametrize("others", [{}, {"text/plain": "Box()"}])
def test_normalise_keeps_what_is_left_of_an_output(others):
    """An output goes only if the id of a widget view is all that it holds."""
    view = {notebooks.VIEW: {"model_id": "1"}}
    outputs = [new_output("display_data", {**view, **others}, metadata=view)]
    cell = new_code_cell("box", execution_count=9, outputs=outputs)
    cell.metadata["execution"] = {"iopub.execute_input": "now"}
    notebook = notebooks.normalise(new_notebook(cells=[cell], metadata={"widgets": {"state": 1}}))
    assert [output.data for output in cell.outputs] == [others] * bool(others)
    assert cell.execution_count == 1
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert notebooks.normalise(notebook) == notebook
