"""Make .venv from requirements.lock and install promo into it, or see that it is done.

Runs on a bare Python, found by tools/setup.sh. A stamp in .venv says what it was made from, so
that a second run takes no time; a mark says that an install is under way, so that one which was
cut off is made anew. Whatever is missing is said in one line.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".promo-setup"
UNFINISHED = VENV / ".promo-unfinished"
LOG = VENV / "setup.log"


class CannotSetUp(Exception):
    """One line: what is missing and how to get it."""


def wanted() -> str:
    """Say what .venv shall be made from: this checkout, this lock, this metadata."""
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml"):
        digest.update((ROOT / name).read_bytes())
    return f"{ROOT}\n{digest.hexdigest()}\n"


def read(path: Path) -> str:
    """Read a small file, or give the empty string where there is none."""
    return path.read_text() if path.is_file() else ""


def venv_version() -> str:
    """Give the version of .venv's own Python, or the empty string if it does not run."""
    ask = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        answer = subprocess.run([PYTHON, "-I", "-c", ask], capture_output=True, text=True)
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def remove_unusable(exactly: str) -> None:
    """Remove a .venv that cannot be completed; refuse to touch one that is not ours to judge."""
    if not VENV.exists() and not VENV.is_symlink():
        return
    version = venv_version()
    stamp = read(STAMP)
    why = ""
    if UNFINISHED.exists():
        why = "its last install was cut off"
    elif stamp and stamp.splitlines()[0] != str(ROOT):
        why = "it was made in another place"  # its scripts name that place
    elif stamp and exactly and version != exactly:
        why = f"it has Python {version or 'none'}, PYTHON is {exactly}"
    elif not version and (VENV / "pyvenv.cfg").is_file():
        why = "its Python is gone"
    if why:
        print(f"promo: making .venv anew: {why}", file=sys.stderr)
        shutil.rmtree(VENV)
    elif not version or not (3, 11) <= tuple(map(int, version.split(".")[:2])) <= (3, 13):
        found = f"has Python {version}" if version else "is no virtual environment"
        raise CannotSetUp(f".venv {found}, promo needs 3.11 to 3.13: move it away and run again")


def run(*command: str | Path, failed: str) -> None:
    """Run a command with its output in the log; raise its last error as one line."""
    # Settings meant for another Python must not steer this one's installer.
    drop = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_HASHES", "PIP_NO_BUILD_ISOLATION"}
    environment = {name: value for name, value in os.environ.items() if name not in drop}
    with LOG.open("a+", errors="replace") as log:
        start = log.seek(0, os.SEEK_END)
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        if done.returncode == 0:
            return
        log.seek(start)
        lines = [line.strip() for line in log if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines or ["no message"]
    raise CannotSetUp(f"{failed} ({errors[-1][:300]}); all of it is in {LOG.relative_to(ROOT)}")


def make_venv() -> None:
    """Make an empty virtual environment, marked as unfinished."""
    probe = [base_python(), "-I", "-c", "import ensurepip, venv"]
    if subprocess.run(probe, capture_output=True).returncode != 0:
        short = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        raise CannotSetUp(
            f"{base_python()} has no venv module: get it (Debian, Ubuntu: apt install {short}-venv)"
            " or name another Python: make lab PYTHON=/path/to/python3.13"
        )
    VENV.mkdir()
    UNFINISHED.touch()
    run(base_python(), "-I", "-m", "venv", VENV, failed=f"{base_python()} -m venv failed")


def base_python() -> str:
    """Give the Python behind this one, which is not .venv's own."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def install() -> None:
    """Install exactly the lock, then promo itself, editable."""
    pip: list[str | Path] = [PYTHON, "-I", "-m", "pip"]
    if subprocess.run([*pip, "--version"], capture_output=True).returncode != 0:
        run(PYTHON, "-I", "-m", "ensurepip", failed=".venv has no pip and cannot get it")
    quiet = ["install", "--quiet", "--no-input", "--disable-pip-version-check", "--no-compile"]
    # The lock's own pip comes first: it needs a third of the time of one that a Python brings.
    own_pip = VENV / "pip.txt"
    own_pip.write_text(pin_of("pip"))
    for pins in (own_pip, ROOT / "requirements.lock"):
        run(
            *pip,
            *quiet,
            "--require-hashes",
            f"--requirement={pins}",
            failed="pip could not install requirements.lock; see to network, proxy and disk, "
            "run again",
        )
    compile_all()
    # The build backend is in the lock: nothing is fetched beside it.
    run(
        *pip,
        *quiet,
        "--no-deps",
        "--no-build-isolation",
        "--editable=.",
        failed="pip could not install promo itself",
    )


def pin_of(name: str) -> str:
    """Give a package's lines in the lock, its version and its hashes; nothing if it has none."""
    lines = iter((ROOT / "requirements.lock").read_text().splitlines(keepends=True))
    pin = next((line for line in lines if line.startswith(f"{name}==")), "")
    while pin.endswith("\\\n"):
        pin += next(lines)
    return pin


def compile_all() -> None:
    """Compile what was installed, on all processors: pip does so on one, for twice as long.

    The tests that packages bring along, two fifths of it all, nobody runs.
    """
    libraries, theirs = VENV / "lib", "/site-packages/.*/tests/"
    compiling = [PYTHON, "-I", "-m", "compileall", "-qq", "-j", "0", "-x", theirs, libraries]
    subprocess.run(compiling, capture_output=True)  # some files are templates, or for other Pythons


def set_up(exactly: str) -> None:
    """Bring .venv to what is wanted, from whatever state it is in."""
    same = not exactly or venv_version() == exactly
    if read(STAMP) == wanted() and not UNFINISHED.exists() and PYTHON.exists() and same:
        return
    remove_unusable(exactly)
    fresh = not VENV.exists()
    print("promo: installing the pinned packages into .venv (a minute or two, once)", flush=True)
    try:
        if fresh:
            make_venv()
        UNFINISHED.touch()
        install()
    except CannotSetUp:
        # pip puts an older install back as it was: no reason to make it anew.
        if not fresh:
            UNFINISHED.unlink()
        raise
    STAMP.write_text(wanted())
    UNFINISHED.unlink()


def wait_for_others(lock: TextIO) -> None:
    """Wait until no other run of this file sets up the same checkout."""
    with suppress(OSError):  # a file system without locks: go without
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("promo: waiting for another set-up of this checkout", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_EX)


def main() -> int:
    """Set up, alone in this checkout."""
    exactly = sys.argv[2] if sys.argv[1:2] == ["--exactly"] else ""
    with open(__file__) as lock:
        try:
            wait_for_others(lock)
            set_up(exactly)
        except (CannotSetUp, OSError) as problem:
            print(f"promo: {problem}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("promo: interrupted; run again to make it anew", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    # Like Ctrl-C, so that pip ends with us and does not go on behind the next run's back.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
