"""Tests of the three ways in: make, conda and compose; and of what CI runs."""

import fnmatch
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from programs import require
from tools import chromium, lock

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
LOCK = lock.LOCK.read_text(encoding="utf-8")
PEERS_LOCK = (ROOT / "benchmarks" / "requirements.lock").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")

each_service = pytest.mark.parametrize("service", COMPOSE["services"].values(), ids=["api", "lab"])


def tracked():
    """List the files in git; skip where there is no repository, as in the image."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z"]
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("this is no git checkout")
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        pytest.skip(f"git cannot read this checkout: {answer.stderr.strip()}")
    return [name for name in answer.stdout.split("\0") if name and (ROOT / name).is_file()]


# --- requirements.lock and environment.yml ---


@pytest.mark.parametrize("text", [LOCK, PEERS_LOCK], ids=["promo", "peers"])
def test_lock_holds_no_address(text):
    """The lock names packages, never where they lie."""
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize(("text", "least"), [(LOCK, 100), (PEERS_LOCK, 2)], ids=["promo", "peers"])
def test_every_pin_is_exact_and_hashed(text, least):
    """Every line of the lock is one exact version with at least one SHA-256."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    assert len(blocks) == len(lock.pins(text)) > least
    for block in blocks:
        assert re.match(
            r"[\w.\-]+==[\w.]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+$", block
        )


def test_peers_are_pinned_beside_what_is_installed():
    """The benchmarks' lock has all that was asked for, and nothing of which .venv has its own."""
    ours, theirs = (
        {canonicalize_name(pin.name) for pin in lock.pins(t)} for t in (LOCK, PEERS_LOCK)
    )
    asked = (ROOT / "benchmarks" / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert {line for line in asked if line[:1] not in {"", "#"}} <= theirs
    assert not ours & theirs


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_covers_the_project(python):
    """For each Python, each direct dependency and the build backend have exactly one pin."""
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    names = [
        canonicalize_name(pin.name)
        for pin in lock.pins(LOCK)
        if pin.marker is None or pin.marker.evaluate(here)
    ]
    backend = {canonicalize_name(name) for name in PROJECT["build-system"]["requires"]}
    assert {name: names.count(name) for name in lock.direct() | backend} == dict.fromkeys(
        lock.direct() | backend, 1
    )


def test_every_pin_satisfies_pyproject():
    """No pin contradicts a version that pyproject.toml asks for."""
    project = PROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = {canonicalize_name(pin.name): pin for pin in lock.pins(LOCK)}
    for requirement in map(Requirement, asked):
        version = str(pinned[canonicalize_name(requirement.name)].specifier).removeprefix("==")
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_environment_is_the_lock():
    """environment.yml is what `make lock` writes from this lock."""
    assert lock.ENVIRONMENT.read_text(encoding="utf-8") == lock.environment(LOCK)


def test_conda_gets_the_locks_versions():
    """Conda gives Python and pip only; pip gets every direct pin, then promo itself."""
    environment = yaml.safe_load(lock.ENVIRONMENT.read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    assert environment["name"] == "promo"
    assert conda == [f"python={lock.CONDA_PYTHON}", "pip"]
    *pins, promo = pip["pip"]
    assert promo == "-e ."
    assert [Requirement(pin).name for pin in pins[:6]] == list(lock.FIRST)
    locked = {(pin.name, str(pin.specifier)) for pin in lock.pins(LOCK)}
    ours = {(pin.name, str(pin.specifier)) for pin in map(Requirement, pins)}
    assert ours <= locked
    assert lock.direct() <= {canonicalize_name(name) for name, _ in ours}


def test_one_range_of_pythons_everywhere():
    """Metadata, make, conda and the image agree on which Pythons there are."""
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    finder = (ROOT / "tools" / "setup.sh").read_text(encoding="utf-8")
    for minor in range(9, 17):
        version = f"3.{minor}"
        assert supported.contains(version) == (version in PYTHONS) == (f"{version}.*" in finder)
    assert supported.contains(lock.CONDA_PYTHON)
    assert DOCKERFILE.split("FROM ")[1].startswith(f"python:{lock.CONDA_PYTHON}-")


# --- Dockerfile and docker-compose.yml ---


def ignored(path):
    """Say whether .dockerignore leaves a path out (its patterns here have no exceptions)."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    parts = PurePosixPath(path).parts
    for pattern in (line for line in patterns if line and not line.startswith("#")):
        deep = pattern.startswith("**/")
        for end in range(1, len(parts) + 1):
            candidate = parts[end - 1] if deep else "/".join(parts[:end])
            if fnmatch.fnmatchcase(candidate, pattern.removeprefix("**/")):
                return True
    return False


def test_compose_has_the_two_services_on_this_machine_only():
    """The API on 5000 and the lab on 8888, open to 127.0.0.1 and to nobody else."""
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items()}
    assert ports == {"api": ["127.0.0.1:5000:5000"], "lab": ["127.0.0.1:8888:8888"]}


@each_service
def test_services_are_locked_down(service):
    """No root, no capability, no new privileges, no writing outside volumes and memory."""
    uid, gid = service["user"].split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"cap_add", "privileged", "network_mode", "pid", "ipc", "devices"} & service.keys()
    mounts = {entry.split(":")[0]: entry for entry in service["tmpfs"]}
    assert mounts.keys() == {"/tmp", "/home/promo"}
    assert f"uid={uid},gid={gid}" in mounts["/home/promo"]


@each_service
def test_data_outlives_the_container(service):
    """PROMO_DATA lies in a volume that has a name of its own."""
    targets = dict(reversed(volume.split(":")) for volume in service["volumes"])
    assert targets[service["environment"]["PROMO_DATA"]] in COMPOSE["volumes"]
    assert set(targets.values()) <= COMPOSE["volumes"].keys()
    assert not any(name.startswith((".", "/")) for name in targets.values())


def test_services_do_not_share_a_data_volume():
    """The lab knows the company's data through the API alone."""
    api, lab = (set(COMPOSE["services"][name]["volumes"]) for name in ("api", "lab"))
    assert not {volume.split(":")[0] for volume in api} & {volume.split(":")[0] for volume in lab}


def test_volumes_begin_with_the_users_own_directories():
    """What a volume is mounted on exists in the image and belongs to the user who runs."""
    user = COMPOSE["services"]["lab"]["user"]
    uid = user.split(":")[0]
    assert re.search(rf"^USER {user}$", DOCKERFILE, re.MULTILINE)
    assert re.search(rf"useradd --uid {uid} .*\bpromo\b", DOCKERFILE)
    workdir = re.search(r"^WORKDIR (\S+)$", DOCKERFILE, re.MULTILINE)[1]
    owned = re.search(r"chown -R promo:promo ([^&\n]+)", DOCKERFILE)[1].split()
    prepared = {str(PurePosixPath(workdir) / path) for path in owned}
    for service in COMPOSE["services"].values():
        assert {volume.split(":")[1] for volume in service["volumes"]} <= prepared


@each_service
def test_health_is_asked_in_python(service):
    """The image has no curl; each check is Python that compiles and asks the right address."""
    check = service["healthcheck"]
    assert check["test"][:3] == ["CMD", "python", "-c"]
    compile(check["test"][3], "healthcheck", "exec")
    port = service["ports"][0].split(":")[2]
    path = "/api/v1/health" if port == "5000" else "/api"
    assert f'"http://127.0.0.1:{port}{path}"' in check["test"][3]


def test_lab_waits_for_a_healthy_api_and_calls_it_by_its_name():
    """The lab starts after the API answers, which accepts the name it is called by."""
    lab, api = COMPOSE["services"]["lab"], COMPOSE["services"]["api"]
    assert lab["depends_on"] == {"api": {"condition": "service_healthy"}}
    assert lab["environment"]["PROMO_API_URL"] == "http://api:5000"
    hosts = api["environment"]["PROMO_API_ALLOWED_HOSTS"].split(",")
    assert {"api", "localhost", "127.0.0.1"} <= set(hosts)


@each_service
def test_commands_exist(service):
    """Each command is one that promo knows, listening on more than the container's loopback."""
    from promo.cli import parser

    program, *arguments = service["command"]
    assert program in PROJECT["project"]["scripts"]
    parsed = parser().parse_args(arguments)
    assert parsed.host == "0.0.0.0"
    assert str(parsed.port) == service["ports"][0].split(":")[2]
    assert service["build"] == "."
    assert (ROOT / "Dockerfile").is_file()


def test_no_file_takes_the_token_away():
    """Jupyter's token is never set to nothing, and there is no password instead of it."""
    names = ["Makefile", "Dockerfile", "docker-compose.yml", "tools", "promo", ".ci"]
    files = [path for name in names for path in [ROOT / name, *(ROOT / name).rglob("*")]]
    for path in (path for path in files if path.is_file() and path.suffix != ".pyc"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"""(token|password)\s*=\s*(""|''|$)""", text, re.I | re.M), path.name
        assert "disable_check_xsrf" not in text


def test_an_empty_token_means_a_random_one(monkeypatch):
    """JUPYTER_TOKEN as compose passes it, empty unless set outside, leaves a token in place."""
    from jupyter_server.auth.identity import IdentityProvider

    assert COMPOSE["services"]["lab"]["environment"]["JUPYTER_TOKEN"] == "${JUPYTER_TOKEN:-}"
    monkeypatch.setenv("JUPYTER_TOKEN", "")
    assert len(IdentityProvider().token) >= 32
    monkeypatch.setenv("JUPYTER_TOKEN", "chosen outside")
    assert IdentityProvider().token == "chosen outside"


def test_what_the_image_copies_is_there():
    """Each source of a COPY exists and reaches the build."""
    copies = re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)
    assert copies
    for source in (source for line in copies for source in line.split()[:-1]):
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


def test_the_image_gets_all_of_git_and_nothing_private():
    """.dockerignore leaves out no file in git, but data, secrets and caches."""
    assert [name for name in tracked() if ignored(name)] == []
    private = [".git/config", ".env", ".env.local", "data/main.db", ".venv/bin/python"]
    assert all(map(ignored, [*private, "promo/__pycache__/api.pyc", "promo.egg-info/PKG-INFO"]))


def test_the_image_installs_with_hashes():
    """The image takes the lock with its hashes, and nothing beside it."""
    installs = re.findall(r"pip install ([^&\n]+)", DOCKERFILE)
    assert [line.split() for line in installs] == [
        ["--require-hashes", "-r", "requirements.lock"],
        ["--no-deps", "--no-build-isolation", "-e", "."],
    ]


# --- make, its helpers, and CI ---


def test_no_file_names_a_machine_or_a_registry():
    """Nothing in git knows the machine it was made on, or where packages come from."""
    parts = [("/wo", "rk/"), ("/ro", "ot/.py"), ("/opt/", "wheels"), ("/opt/", "pypi")]
    parts += [("pypi", ".org"), ("python", "hosted"), ("deb.", "debian"), ("registry.", "npmjs")]
    words = ["".join(pair).encode() for pair in parts]
    found = [
        (name, word) for name in tracked() for word in words if word in (ROOT / name).read_bytes()
    ]
    assert found == []


def copy_of_the_setup(folder):
    """Copy what `make` needs to begin with; give the folder."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def fake_python(path, version):
    """Write a program that answers like a Python of this version."""
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def bare(folder, *names):
    """Make a PATH with these few programs and nothing else."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    return folder


def said(command, folder, **variables):
    """Run a command that must fail; give its lines that make itself did not write."""
    clean = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON"}
    environment = {name: value for name, value in os.environ.items() if name not in clean}
    answer = subprocess.run(
        command, cwd=folder, env={**environment, **variables}, capture_output=True, text=True
    )
    assert answer.returncode != 0
    lines = (answer.stdout + answer.stderr).splitlines()
    return [line for line in lines if not line.startswith("make")]


@pytest.mark.parametrize("target", ["lab", "test"])
def test_an_old_python_is_refused_in_one_line(tmp_path, target):
    """Make says which Python it was given, which it needs and how to get one."""
    require("make")
    folder = copy_of_the_setup(tmp_path)
    old = fake_python(tmp_path / "python3.10", "3.10.4")
    (line,) = said(["make", target, f"PYTHON={old}"], folder)
    assert "is Python 3.10.4, promo needs 3.11 to 3.13" in line
    assert "apt install python3" in line
    assert not (folder / ".venv").exists()


def test_a_python_that_does_not_run_is_said_in_one_line(tmp_path):
    """A PYTHON that is not there is named."""
    require("make")
    (line,) = said(["make", "lab", "PYTHON=/no/such/python"], copy_of_the_setup(tmp_path))
    assert "PYTHON=/no/such/python is no Python that runs" in line


def test_no_python_is_said_in_one_line(tmp_path):
    """With none that fits on PATH, the ones seen are listed, and a shim that fails is passed by."""
    folder = copy_of_the_setup(tmp_path)
    path = bare(tmp_path / "bin", "sh", "dirname")
    fake_python(path / "python3", "3.14.1")
    shim = fake_python(path / "python3.13", "")
    shim.write_text("#!/bin/sh\nexit 127\n")
    (line,) = said([shutil.which("sh"), "tools/setup.sh"], folder, PATH=str(path))
    assert "found no Python 3.11, 3.12 or 3.13, python3 is 3.14.1; get one" in line


@pytest.fixture
def bootstrap(tmp_path):
    """Load the helper, to work on a copy of the set-up."""
    source = copy_of_the_setup(tmp_path) / "tools" / "bootstrap.py"
    spec = importlib.util.spec_from_file_location("bootstrap_copy", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_python_without_venv_is_said_in_one_line(bootstrap, tmp_path, monkeypatch, capsys):
    """Debian's Python lacks ensurepip until its venv package is there: say so, leave nothing."""
    without = fake_python(tmp_path / "python", "")
    without.write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(bootstrap, "base_python", lambda: str(without))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    minor = sys.version_info[1]
    assert f"no venv module: get it (Debian, Ubuntu: apt install python3.{minor}-venv)" in line
    assert not bootstrap.VENV.exists()


def made(bootstrap):
    """Make what looks like a finished .venv around this very Python."""
    bootstrap.PYTHON.parent.mkdir(parents=True)
    bootstrap.PYTHON.symlink_to(sys.executable)
    (bootstrap.VENV / "pyvenv.cfg").touch()
    bootstrap.STAMP.write_text(bootstrap.wanted())


def test_an_up_to_date_venv_is_left_alone(bootstrap, monkeypatch):
    """A second run installs nothing; a changed lock makes it install."""
    made(bootstrap)
    installs = []
    monkeypatch.setattr(bootstrap, "install", lambda: installs.append(1))
    bootstrap.set_up("")
    assert installs == []
    (bootstrap.ROOT / "requirements.lock").write_text("six==1.17.0\n")
    bootstrap.set_up("")
    bootstrap.set_up("")
    assert installs == [1]
    assert bootstrap.PYTHON.exists()


def test_the_locks_own_pip_comes_first(bootstrap, monkeypatch):
    """A Python's own may be years old, and need three times as long to look up two hundred pins."""
    runs = []
    monkeypatch.setattr(bootstrap, "run", lambda *command, failed: runs.append(command))
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(bootstrap, "compile_all", lambda: runs.append(("compileall",)))
    bootstrap.VENV.mkdir()
    bootstrap.install()
    own, everything, *_ = runs
    assert "--require-hashes" in own
    assert own[-1] == f"--requirement={bootstrap.VENV / 'pip.txt'}"
    assert everything[-1].endswith("requirements.lock")
    pin = (bootstrap.VENV / "pip.txt").read_text()
    assert re.fullmatch(r"pip==[\d.]+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", pin)


@pytest.mark.parametrize("harm", ["cut off", "moved", "python gone", "another python asked for"])
def test_a_venv_that_cannot_be_completed_is_made_anew(bootstrap, harm):
    """Whatever became of the last one, it does not stand in the way of the next run."""
    made(bootstrap)
    exactly = ""
    if harm == "cut off":
        bootstrap.UNFINISHED.touch()
    elif harm == "moved":
        bootstrap.STAMP.write_text("/elsewhere\n0\n")
    elif harm == "python gone":
        bootstrap.PYTHON.unlink()
    else:
        exactly = "3.11.99"
    bootstrap.remove_unusable(exactly)
    assert not bootstrap.VENV.exists()


def test_what_is_no_venv_is_not_removed(bootstrap):
    """A directory that someone else made under that name stays, and is named."""
    bootstrap.VENV.mkdir()
    (bootstrap.VENV / "mine").touch()
    with pytest.raises(bootstrap.CannotSetUp, match=r"\.venv is no virtual environment.*move it"):
        bootstrap.set_up("")
    assert (bootstrap.VENV / "mine").exists()


def test_pips_failure_is_one_line(bootstrap, capsys, monkeypatch):
    """Pip's last error comes with the place of the rest; the next run starts anew."""
    (bootstrap.ROOT / "requirements.lock").write_text("no-such==1 --hash=sha256:" + "0" * 64)
    for name, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
    }.items():
        monkeypatch.setenv(name, value)
    # This Python's own pip, which fails before it installs anything.
    monkeypatch.setattr(bootstrap, "make_venv", bootstrap.VENV.mkdir)
    monkeypatch.setattr(bootstrap, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(sys, "argv", ["bootstrap.py"])
    assert bootstrap.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip could not install requirements.lock" in line
    assert "no-such==1" in line
    assert ".venv/setup.log" in line
    assert bootstrap.UNFINISHED.exists()
    assert not bootstrap.STAMP.exists()


def test_help_names_every_target():
    """`make` alone lists what there is."""
    require("make")
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.search(r"^\.PHONY: (.+)$", text, re.MULTILINE)[1].split()) - {"setup"}
    shown = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^  make (\S+) +\S", shown.stdout, re.MULTILINE)) == targets
    named = {"help", "lab", "app", "test", "check", "soak", "audit", "notebooks", "pictures"}
    assert targets == named | {"bench", "lock", "clean"}


@pytest.mark.parametrize("script", ["tools/setup.sh", ".ci/run"])
def test_scripts_are_executable_and_parse(script):
    """Each script is one that its shell can read."""
    path = ROOT / script
    assert os.access(path, os.X_OK)
    shell = path.read_text(encoding="utf-8").splitlines()[0].split("/")[-1].split()[-1]
    subprocess.run([shutil.which(shell), "-n", path], check=True)


def test_ci_ends_with_make_test():
    """CI runs what a user runs, and its exit code is that command's."""
    assert (ROOT / ".ci" / "run").read_text(encoding="utf-8").rstrip().splitlines()[
        -1
    ] == "make test"


# --- browser ---


def test_a_named_chromium_must_start(monkeypatch, tmp_path):
    """PROMO_CHROMIUM is believed only when it runs and says what it is."""
    monkeypatch.setenv("PROMO_CHROMIUM", str(fake_python(tmp_path / "good", "Chromium 1.2.3")))
    assert chromium.find() == str(tmp_path / "good")
    monkeypatch.setenv("PROMO_CHROMIUM", str(fake_python(tmp_path / "bad", "not a browser")))
    with pytest.raises(chromium.NoChromium, match=r"bad is no Chromium that starts"):
        chromium.find()


@pytest.mark.parametrize(("require", "outcome"), [("", "1 skipped"), ("1", "1 error")])
def test_browser_tests_skip_unless_required(tmp_path, require, outcome):
    """Without a Chromium a browser test is skipped with a reason; under `make test` it fails."""
    test = tmp_path / "test_it.py"
    test.write_text("def test_it(chromium_path):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-rsE", "-p", "conftest", "-p", "no:cacheprovider"]
    variables = {"PROMO_CHROMIUM": "/no/chromium", "PROMO_REQUIRE_BROWSER": require}
    answer = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "-c", os.devnull, str(test)],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert outcome in answer.stdout
    assert "PROMO_CHROMIUM=/no/chromium is no Chromium that starts" in answer.stdout
