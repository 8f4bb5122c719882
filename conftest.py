"""Give every test run, notebooks included, its own data directory and no one's settings."""

import os
import shutil
import signal
import tempfile
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from tools import chromium

# Settings of whoever runs the tests must not reach them; these are meant for them.
for _name in [name for name in os.environ if name.startswith("PROMO_")]:
    if _name not in {"PROMO_CHROMIUM", "PROMO_REQUIRE_BROWSER", "PROMO_SCREENSHOTS", "PROMO_SOAK"}:
        del os.environ[_name]

# Set here, before any kernel or child process starts, so that all of them inherit it.
_FOLDER = Path(tempfile.mkdtemp(prefix="promo-tests-"))
os.environ["PROMO_DATA"] = str(_FOLDER / "data")
os.environ["IPYTHONDIR"] = str(_FOLDER / "ipython")  # no start-up files, no shared history
(_FOLDER / "data").mkdir()

# Children inherit what is ignored: SIGHUP under nohup, SIGINT in the background of a script.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_unconfigure() -> None:
    """Remove what the run has written."""
    shutil.rmtree(_FOLDER, ignore_errors=True)


# A busy machine is no failure: what must be quick is measured by benchmarks, as a ratio.
hypothesis.settings.register_profile("promo", deadline=None)
hypothesis.settings.load_profile("promo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, lest one is left to a single process at the end."""
    dear = Counter(
        each.path for each in items if {"slow", "browser"} & {m.name for m in each.iter_markers()}
    )
    items.sort(key=lambda each: -dear[each.path])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Start each notebook's kernel, like `make notebooks`, on an empty data directory."""
    own = item.path.stem if item.path.suffix == ".ipynb" else ""
    data = _FOLDER / "data" / own
    data.mkdir(exist_ok=True)
    os.environ["PROMO_DATA"] = str(data)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of a Chromium; where there is none, skip, or fail if PROMO_REQUIRE_BROWSER is set."""
    try:
        path = chromium.find()
        reason = "found no Chromium: apt install chromium, or set PROMO_CHROMIUM to its path"
    except chromium.NoChromium as problem:
        path, reason = None, str(problem)
    if path is None:
        if os.environ.get("PROMO_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: the folder that PROMO_SCREENSHOTS names, or one of the run's own."""
    folder = Path(os.environ.get("PROMO_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
