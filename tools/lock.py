"""Pin every dependency anew: requirements.lock, from it environment.yml, and the benchmarks' own.

Options go to uv, e.g. `make lock ARGS=--upgrade`; without any, pins that still fit stay.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
ENVIRONMENT = ROOT / "environment.yml"
CONDA_PYTHON = "3.12"
FIRST = ("jupyterlab", "ipywidgets", "bqplot", "river", "requests", "nbval")

# One file for every Python and system, with hashes, and without the address of any index.
COMPILE = (
    "pip compile --universal --generate-hashes --no-emit-index-url --no-header --no-annotate"
    " --python-version 3.11 --fork-strategy fewest --quiet"
)
PROMO = "pyproject.toml --all-extras --output-file requirements.lock"
PEERS = (
    "benchmarks/requirements.in --output-file benchmarks/requirements.lock"
    " --constraints requirements.lock"
)

HEAD = f"""\
# conda env create && conda activate promo, then: promo lab
#
# Made by `make lock` from requirements.lock: the versions that `make lab` installs. conda gives
# Python and pip, nothing else, so nothing hangs on what its channels hold this week.
name: promo
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python={CONDA_PYTHON}
  - pip
  - pip:
"""


def pins(text: str) -> list[Requirement]:
    r"""Read the pinned requirements of a lock, without their hashes.

    >>> [str(pin) for pin in pins("six==1.17.0 ; os_name == 'nt' \\\n    --hash=sha256:00")]
    ['six==1.17.0; os_name == "nt"']
    """
    lines = re.findall(r"^[A-Za-z0-9].*?(?= \\$|$)", text, flags=re.MULTILINE)
    return [Requirement(line) for line in lines]


def direct() -> set[str]:
    """Name what pyproject.toml asks for, extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = chain(project["dependencies"], *project["optional-dependencies"].values())
    return {canonicalize_name(Requirement(line).name) for line in asked}


def for_conda(pinned: list[Requirement]) -> Iterator[Requirement]:
    """Keep the pins for conda's Python; those for one system keep their marker."""
    python = {"python_version": CONDA_PYTHON, "python_full_version": f"{CONDA_PYTHON}.0"}
    for pin in pinned:
        if pin.marker and "python" in str(pin.marker):
            if not pin.marker.evaluate(python):
                continue
            if "platform" not in str(pin.marker) and "os_name" not in str(pin.marker):
                pin.marker = None
        yield pin


def environment(lock: str) -> str:
    """Write environment.yml's text for the text of a lock."""
    asked = direct()
    rank = {name: place for place, name in enumerate(FIRST)}
    chosen = sorted(for_conda(pins(lock)), key=lambda pin: (rank.get(pin.name, 99), pin.name))
    ours = [f"      - {pin}\n" for pin in chosen if canonicalize_name(pin.name) in asked]
    theirs = [f"      - {pin}\n" for pin in chosen if canonicalize_name(pin.name) not in asked]
    return "".join(
        [
            HEAD,
            "      # what promo asks for\n",
            *ours,
            "      # what those need\n",
            *theirs,
            "      # promo itself\n      - -e .\n",
        ]
    )


def main() -> int:
    """Run uv from a throw-away environment, then write environment.yml."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
        failed = _compile(folder, PROMO)
        # Beside what .venv has, which stays as it is.
        theirs = (f"--no-emit-package={pin.name}" for pin in pins(LOCK.read_text()))
        failed = failed or _compile(folder, PEERS, *theirs)
    if failed:
        return failed
    ENVIRONMENT.write_text(environment(LOCK.read_text()))
    return 0


def _compile(folder: str, what: str, *options: str) -> int:
    """Have uv write a lock; return its exit code."""
    command = [f"{folder}/bin/uv", *f"{COMPILE} {what}".split(), *options, *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main())
