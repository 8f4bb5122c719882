"""Run every notebook afresh and store its outputs, normalised.

Outputs stay in git, so that nbval has something to compare; what differs from run to run goes:
timings, widget state, the ids of widget views. Two runs must then agree to the byte.

    tools/notebooks.py [--check] [NOTEBOOK ...]

`--check` writes nothing: it runs each notebook and names the cells that differ from what is stored.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
VIEW = "application/vnd.jupyter.widget-view+json"
KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TIMEOUT_S = 300
FAILURES = (CellExecutionError, CellTimeoutError, DeadKernelError)


def kernel_environment(folder: str) -> dict[str, str]:
    """Give the kernel nothing of this user's: a new data directory, no settings, no profile."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PROMO_")}
    return {**own, "PROMO_DATA": f"{folder}/data", "IPYTHONDIR": f"{folder}/ipython"}


def execute(path: Path) -> NotebookNode:
    """Run a notebook from top to bottom in a new kernel of this very Python.

    Raises
    ------
    CellExecutionError
        When a cell fails; CellTimeoutError and DeadKernelError likewise.
    """
    notebook = nbformat.read(path, as_version=4)
    # No kernel directories: "python3" is then this interpreter, whatever the user has installed.
    manager = AsyncKernelManager(
        kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])
    )
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=TIMEOUT_S,
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.resolve().parent)}},
    )
    folder = tempfile.mkdtemp(prefix="promo-notebook-")
    try:
        os.mkdir(f"{folder}/data")
        client.execute(cleanup_kc=True, env=kernel_environment(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return notebook


def normalise(notebook: NotebookNode) -> NotebookNode:
    """Take out, in place, what changes from run to run; give the notebook back."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = NotebookNode(KERNELSPEC)
    notebook.metadata["language_info"] = NotebookNode(name="python")
    count = 0
    for cell in notebook.cells:
        for noise in ("execution", "ExecuteTime"):
            cell.metadata.pop(noise, None)
        if cell.cell_type != "code":
            continue
        count += bool(cell.source.strip())
        cell.execution_count = count if cell.source.strip() else None
        cell.outputs = _outputs(cell.outputs, cell.execution_count)
    return notebook


def _outputs(outputs: list[NotebookNode], count: int | None) -> list[NotebookNode]:
    """Join pieces of one stream, which depend on timing; drop the ids of widget views."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if output.output_type == "stream":
            if kept and kept[-1].output_type == "stream" and kept[-1].name == output.name:
                kept[-1].text += output.text
                continue
        elif output.output_type != "error":
            output.data.pop(VIEW, None)
            output.metadata.pop(VIEW, None)
            if not output.data:
                continue
        if output.output_type == "execute_result":
            output.execution_count = count
        kept.append(output)
    return kept


def text_of(notebook: NotebookNode) -> str:
    """Give a notebook's text just as nbformat writes it to a file."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def differing_cells(one: NotebookNode, other: NotebookNode) -> list[int]:
    """List the cells, counted from 1, in which two notebooks differ."""
    if len(one.cells) != len(other.cells):
        return list(range(1, max(len(one.cells), len(other.cells)) + 1))
    pairs = enumerate(zip(one.cells, other.cells, strict=True), start=1)
    return [number for number, (left, right) in pairs if left != right]


def check(path: Path) -> str:
    """Say how a stored notebook differs from a run of it; the empty string if it does not.

    It was stored by an earlier run, so they are two that agree; if not, one more tells why.
    """
    stored, first = nbformat.read(path, as_version=4), normalise(execute(path))
    if path.read_text(encoding="utf-8") == text_of(first):
        return ""
    second = normalise(execute(path))
    if cells := differing_cells(first, second):
        return f"two runs differ in cell {', '.join(map(str, cells))}"
    if cells := differing_cells(stored, first):
        return f"stored outputs differ in cell {', '.join(map(str, cells))}: make notebooks"
    return "stored file is not normalised: make notebooks"


def failed_cell(notebook_error: Exception) -> str:
    """Say in one line what a failing cell raised."""
    if isinstance(notebook_error, CellExecutionError):
        return f"{notebook_error.ename}: {notebook_error.evalue}".splitlines()[0]
    return str(notebook_error).splitlines()[0]


def main(argv: list[str] | None = None) -> int:
    """Write, or check, the notebooks named, by default all in notebooks/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, say what differs")
    parser.add_argument("notebook", nargs="*", type=Path, help="default: all in notebooks/")
    options = parser.parse_args(argv)
    problems = 0
    for path in options.notebook or sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            if options.check:
                problem = check(path)
            else:
                text = text_of(normalise(execute(path)))
                path.write_text(text, encoding="utf-8")
                problem = ""
        except FAILURES as error:
            problem = failed_cell(error)
        print(f"{path.name}: {problem or 'done'}", flush=True)
        problems += bool(problem)
    return min(problems, 1)


if __name__ == "__main__":
    sys.exit(main())
