"""The rooms of DESIGN 2 and the doors between them, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROMO = Path(__file__).resolve().parent.parent / "promo"
MODULES = sorted(PROMO.rglob("*.py"))

# Who may import what, by the first name under promo/.
ONLY = {
    "requests": {"stream"},
    "sqlite3": {"store", "api", "dataset"},  # the store's file; the file that the API serves
    "fastapi": {"api"},
    "ipywidgets": {"ui"},
    "anywidget": {"ui"},
    "bqplot": {"ui"},
    "distributed": {"scale"},
    "dask": {"scale"},
    "pyarrow": {"scale"},
}
# Models are pure code: no input or output, no threads, no clocks on the screen.
NOT_IN_MODELS = {*ONLY, "threading", "asyncio", "concurrent", "multiprocessing", "socket", "tqdm"}
BESIDE_MODELS = {"models", "batch", "errors", "history", "world"}  # world: see `World.bayes_proba`


def imports(path):
    """List the modules a file imports, functions included, each under its whole name."""
    package = ["promo", *path.relative_to(PROMO).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def room(path):
    """Give the first name under promo/ that a file belongs to."""
    return path.relative_to(PROMO).parts[0].removesuffix(".py")


@pytest.mark.parametrize("library", ONLY)
def test_a_library_is_used_in_its_room_only(library):
    """Each outside library is imported only where DESIGN 2 puts it."""
    users = {
        room(path) for path in MODULES for name in imports(path) if name.split(".")[0] == library
    }
    assert users <= ONLY[library]


def test_models_are_pure():
    """Models import no I/O, threads or widgets, and of promo only what is as pure."""
    for path in (PROMO / "models").rglob("*.py"):
        for name in imports(path):
            parts = name.split(".")
            assert parts[0] not in NOT_IN_MODELS, f"{path.name} imports {name}"
            if parts[0] == "promo" and len(parts) > 1:
                assert parts[1] in BESIDE_MODELS, f"{path.name} imports {name}"


def test_only_the_ui_knows_the_ui():
    """The line from page to snapshot does not know that figures exist."""
    for path in MODULES:
        if room(path) not in {"ui", "cli", "__init__"}:
            assert not [name for name in imports(path) if name.startswith("promo.ui")], path.name


def test_modules_stay_short():
    """A module is one idea: 420 lines at most, docstrings included."""
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > 420} == {}


def test_import_promo_is_light():
    """`import promo` alone loads no outside library."""
    ask = "import sys; before = set(sys.modules); import promo; print(*set(sys.modules) - before)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in answer.stdout.split()}
    assert loaded <= {"promo", *sys.stdlib_module_names}


@pytest.mark.parametrize(
    "does", ["from promo.models.default import default_models; default_models()", "import promo.ui"]
)
def test_nobody_waits_for_river_in_vain(does):
    """It takes a second to import, so that is left to who has a model of its, not to all."""
    ask = f"import sys; {does}; print('river' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
