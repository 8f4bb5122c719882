"""Tests of `promo.dataset`."""

import os
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

import promo.dataset
from promo.dataset import (
    PAGE_QUERY,
    TOTAL_QUERY,
    WORLD_NAMES,
    Dataset,
    Recipe,
    ensure_data,
    read_recipe,
)
from promo.errors import ServiceError
from promo.world import WORLDS

RECIPE = Recipe("collider", rows=257, seed=4)
MAKE = "import sys; from promo.dataset import *; ensure_data(sys.argv[1], Recipe(rows={}))"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "made once?.db"
    ensure_data(path, RECIPE)
    return path


@pytest.fixture
def dataset(path):
    with closing(Dataset(path)) as dataset:
        yield dataset


def make_in_child(path, rows):
    return subprocess.Popen([sys.executable, "-c", MAKE.format(rows), str(path)])


def others(path):
    """Return what lies beside the data set, its lock aside."""
    return {entry.name for entry in path.parent.iterdir()} - {path.name, f".{path.name}.lock"}


def test_employees_are_the_worlds_to_the_bit(dataset):
    """The file holds the world's sample, exactly, under ids 0, 1, 2, ..."""
    sample = WORLDS[RECIPE.world].sample(RECIPE.rows, RECIPE.seed)
    employees, total = dataset.page(0, 10_000)
    assert total == RECIPE.rows
    assert [employee.id for employee in employees] == list(range(RECIPE.rows))
    for name in sample._fields:
        assert [getattr(employee, name) for employee in employees] == getattr(sample, name).tolist()
    assert {type(employee.promoted) for employee in employees} == {bool}


@pytest.mark.parametrize("size", [1, 2, 10, 256, 257, 258, 10_000])
def test_pages_joined_are_the_data(dataset, size):
    """Pages of any size, one after the other, are the rows in order, and then nothing."""
    pages = [dataset.page(page, size)[0] for page in range(-(-RECIPE.rows // size) + 2)]
    assert [employee.id for page in pages for employee in page] == list(range(RECIPE.rows))
    assert pages[-2:] == [[], []]


@given(page=st.integers(0, 2**200), size=st.integers(1, 10_000))
def test_any_page_is_a_slice(path, page, size):
    """Page p of size s holds the ids from p*s to p*s + s - 1 that exist, however huge p is."""
    with closing(Dataset(path)) as dataset:
        employees, total = dataset.page(page, size)
    first = min(page * size, RECIPE.rows)
    assert [employee.id for employee in employees] == list(
        range(first, min(first + size, RECIPE.rows))
    )
    assert total == RECIPE.rows


@pytest.mark.parametrize(("query", "values"), [(PAGE_QUERY, (10, 20)), (TOTAL_QUERY, ())])
def test_reads_are_searches(path, query, values):
    """SQLite seeks the keys of a page and the highest id: it scans and sorts nothing."""
    with closing(sqlite3.connect(path)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    assert plan
    assert all(step.startswith("SEARCH employee") for step in plan), plan


def test_a_page_costs_the_same_anywhere(tmp_path):
    """SQLite takes at most twice the steps for the last page of 50,000 rows as for the first."""
    ensure_data(tmp_path / "data.db", Recipe(rows=50_000))
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection:

        def steps(first):
            count = 0

            def step():
                nonlocal count
                count += 1

            connection.set_progress_handler(step, 1)
            connection.execute(PAGE_QUERY, (first, first + 10)).fetchall()
            return count

        assert 0 < steps(49_990) < 2 * steps(0)


def test_same_recipe_same_bytes(path, tmp_path):
    """The file's bytes follow from the recipe."""
    ensure_data(tmp_path / "again.db", RECIPE)
    assert (tmp_path / "again.db").read_bytes() == path.read_bytes()


def test_making_again_touches_nothing(path):
    """A data set that is there is left as it is."""
    before = path.stat()
    ensure_data(path, RECIPE)
    assert path.stat() == before


def test_the_file_is_private(path):
    """Only its owner can read or write the file, its lock and their folder, whatever the umask."""
    path = path.parent / "new folder" / "data.db"
    before = os.umask(0)
    try:
        ensure_data(path, RECIPE)
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"data.db": 0o600, ".data.db.lock": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "other",
    [RECIPE._replace(world="threshold"), RECIPE._replace(rows=258), RECIPE._replace(seed=5)],
)
def test_other_data_are_refused(path, other):
    """A file made from another recipe is named for what it is, and not replaced."""
    with pytest.raises(ServiceError, match=r"rows=257&seed=4, not world:.* delete this one"):
        ensure_data(path, other)
    assert read_recipe(path) == RECIPE


def test_what_is_no_data_set_is_refused(tmp_path):
    """Text, another database, an empty file and a directory give one clear line each."""
    (tmp_path / "text").write_text("id,competence\n" * 1000)
    (tmp_path / "empty").touch()
    (tmp_path / "directory").mkdir()
    with closing(sqlite3.connect(tmp_path / "database")) as connection:
        connection.execute("CREATE TABLE t (x)")
    for name in ("text", "empty", "directory", "database"):
        with pytest.raises(ServiceError, match="is no data set of promo"):
            ensure_data(tmp_path / name, RECIPE)
    with pytest.raises(ServiceError, match="is no data set of promo"):
        Dataset(tmp_path / "missing")


def test_another_version_is_refused(tmp_path):
    """A data set of another version of promo is not served as if it were this one's."""
    ensure_data(tmp_path / "data.db", RECIPE)
    with closing(sqlite3.connect(tmp_path / "data.db")) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ServiceError, match=r"data version 99, expected 1"):
        ensure_data(tmp_path / "data.db", RECIPE)


def test_every_world_can_be_asked_for():
    """The names that are known without numpy are those of the worlds, in their order."""
    assert tuple(WORLDS) == WORLD_NAMES


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe("utopia"), "no world called 'utopia'; choose one of collider, threshold"),
        (Recipe(rows=-1), "rows is -1; give a whole number"),
        (Recipe(seed=-1), "seed is -1; give a whole number"),
        (Recipe(seed=2**63), "seed is 9223372036854775808; give a whole number"),
    ],
)
def test_senseless_recipes_are_refused(tmp_path, recipe, message):
    """A recipe that no data can be made of is refused before anything is written."""
    with pytest.raises(ServiceError, match=message):
        ensure_data(tmp_path / "data.db", recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    """A path below a file is refused with the path and the reason."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match=r"cannot write .*file/data\.db.*choose another place"):
        ensure_data(tmp_path / "file" / "data.db", RECIPE)


def test_a_failure_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    """When writing fails, neither the data set nor its beginning stays behind."""

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(promo.dataset, "sync", full)
    with pytest.raises(ServiceError, match="No space left on device"):
        ensure_data(tmp_path / "data.db", RECIPE)
    assert not (tmp_path / "data.db").exists()
    assert others(tmp_path / "data.db") == set()


def test_an_interrupted_generation_is_never_served(tmp_path):
    """Killed while it writes, the next start makes the whole data set and leaves no rest."""
    path, rows = tmp_path / "data.db", 200_000
    partial = tmp_path / ".data.db.partial"
    child = make_in_child(path, rows)
    deadline = time.monotonic() + 30
    while not (partial.exists() and partial.stat().st_size > 500_000):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.001)
    child.kill()
    child.wait()
    assert partial.exists()
    assert not path.exists()

    ensure_data(path, Recipe(rows=rows))
    with closing(Dataset(path)) as dataset:
        assert dataset.page(rows // 10 - 1, 10)[0][-1].id == rows - 1
    assert others(path) == set()


def test_processes_may_race(tmp_path):
    """Two processes that want one data set both find it whole."""
    path = tmp_path / "data.db"
    children = [make_in_child(path, 20_000) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert read_recipe(path) == Recipe(rows=20_000)
    assert others(path) == set()


def test_threads_may_race(tmp_path):
    """So do two threads of one process."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ensure_data, [tmp_path / "data.db"] * 2, [RECIPE] * 2))
    assert read_recipe(tmp_path / "data.db") == RECIPE


def test_growth_shows_at_once(tmp_path):
    """Rows that another connection appends are in the next page read, and counted."""
    ensure_data(tmp_path / "data.db", RECIPE._replace(rows=9))
    with closing(Dataset(tmp_path / "data.db")) as dataset:
        assert len(dataset.page(0, 10)[0]) == 9
        with closing(sqlite3.connect(tmp_path / "data.db", isolation_level=None)) as writer:
            writer.execute("INSERT INTO employee VALUES (9, 0.5, -0.5, 1), (10, 0.25, 0, 0)")
        employees, total = dataset.page(0, 10)
        assert (employees[-1].id, employees[-1].competence, total) == (9, 0.5, 11)
        assert [employee.id for employee in dataset.page(1, 10)[0]] == [10]


@pytest.mark.parametrize(
    "row",
    [
        (11, 0.0, 0.0, 0),
        (-1, 0.0, 0.0, 0),
        (10, None, 0.0, 0),
        (10, 0.0, "x", 0),
        (10, 0.0, 0.0, 2),
    ],
)
def test_growth_keeps_the_rules(tmp_path, row):
    """A row that would break dense ids or types is refused by the file itself."""
    ensure_data(tmp_path / "data.db", RECIPE._replace(rows=10))
    with (
        closing(sqlite3.connect(tmp_path / "data.db", isolation_level=None)) as writer,
        pytest.raises(sqlite3.IntegrityError),
    ):
        writer.execute("INSERT INTO employee VALUES (?, ?, ?, ?)", row)


def test_no_rows_are_data_too(tmp_path):
    """A data set of no employees can be made, read and grown."""
    ensure_data(tmp_path / "data.db", RECIPE._replace(rows=0))
    with closing(Dataset(tmp_path / "data.db")) as dataset:
        assert dataset.page(0, 10) == ([], 0)


def test_a_locked_file_is_an_error_and_heals(tmp_path):
    """While a writer holds the file reads fail plainly; afterwards they work again."""
    ensure_data(tmp_path / "data.db", RECIPE)
    with closing(Dataset(tmp_path / "data.db")) as dataset:
        with closing(sqlite3.connect(tmp_path / "data.db", isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            with pytest.raises(ServiceError, match=r"cannot read .*locked"):
                dataset.page(0, 10)
        assert len(dataset.page(0, 10)[0]) == 10


def test_default_data_set_is_quick(tmp_path):
    """100,000 employees are made in a couple of seconds of processor time."""
    started = time.process_time()
    ensure_data(tmp_path / "data.db", Recipe())
    assert time.process_time() - started < 2
    assert os.path.getsize(tmp_path / "data.db") < 4_000_000
