"""A world's employees in one SQLite file: made once, whole or not at all, then read by pages.

On the line from page to figure this stands between `promo.world`, which makes employees, and
`promo.api`, which serves them. The file is made under a temporary name, synced and renamed,
so an interrupted generation is never served. Ids are dense from 0, so that a page is a range
of keys and the last page costs what the first does. Not to be confused with `promo.store`,
which keeps what the client of the API received and learned.
"""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

from filelock import FileLock

from promo.errors import ServiceError
from promo.paths import make_private, sync

# Of the worlds in `promo.world`, in its order: asking that would take an import of numpy.
WORLD_NAMES = (
    "collider", "threshold", "mentoring", "chain", "fork", "confounded", "drift", "interaction",
)  # fmt: skip
DATA_VERSION = 1  # raised whenever the same world, rows and seed would give other employees
BUSY_TIMEOUT_S = 1.0  # an appending writer holds the file for milliseconds
MAX_INTEGER = 2**63 - 1  # SQLite's

_SCHEMA = """
CREATE TABLE recipe (world TEXT NOT NULL, rows INTEGER NOT NULL, seed INTEGER NOT NULL) STRICT;
CREATE TABLE employee (
    id INTEGER PRIMARY KEY CHECK (id >= 0),
    competence REAL NOT NULL,
    network_ability REAL NOT NULL,
    promoted INTEGER NOT NULL CHECK (promoted IN (0, 1))
) STRICT;
"""

# Created after the first rows are in: it would make generating slow, and they are dense.
_DENSE = """
CREATE TRIGGER dense BEFORE INSERT ON employee
WHEN NEW.id <> (SELECT coalesce(max(id) + 1, 0) FROM employee)
BEGIN SELECT RAISE(ABORT, 'ids of employees are dense: the next is max(id) + 1'); END;
"""


_SOURCE = re.compile(r"world:([^?]+)\?rows=([0-9]{1,19})&seed=([0-9]{1,19})")
TOTAL_QUERY = "SELECT coalesce(max(id) + 1, 0) FROM employee"
PAGE_QUERY = """
SELECT id, competence, network_ability, promoted FROM employee
WHERE id >= ? AND id < ? ORDER BY id
"""


class Recipe(NamedTuple):
    """All that decides the content of a data set."""

    world: str = "collider"
    rows: int = 100_000
    seed: int = 2021

    @property
    def source(self) -> str:
        """The data's stable name, whatever the port it is served on.

        Examples
        --------
        >>> Recipe("collider", rows=100, seed=7).source
        'world:collider?rows=100&seed=7'
        """
        return f"world:{self.world}?rows={self.rows}&seed={self.seed}"

    @classmethod
    def of(cls, source: str) -> Self | None:
        """Return the recipe of a world that we make, given its `source`; None for another one's.

        Examples
        --------
        >>> Recipe.of("world:collider?rows=100&seed=7")
        Recipe(world='collider', rows=100, seed=7)
        """
        found = _SOURCE.fullmatch(source)
        if found is None or found[1] not in WORLD_NAMES:
            return None
        return cls(found[1], int(found[2]), int(found[3]))

    def check(self) -> Self:
        """Return the recipe itself; raise `ServiceError` when no data set can be made of it."""
        if self.world not in WORLD_NAMES:
            known = ", ".join(WORLD_NAMES)
            raise ServiceError(f"there is no world called {self.world!r}; choose one of {known}")
        for name, value in (("rows", self.rows), ("seed", self.seed)):
            if not 0 <= value <= MAX_INTEGER:
                raise ServiceError(f"{name} is {value}; give a whole number from 0 to 2^63 - 1")
        return self


@dataclass(slots=True)
class Employee:
    """One employee of the company: two abilities, and whether promotion came."""

    id: int
    competence: float
    network_ability: float
    promoted: bool


def ensure_data(path: str | Path, recipe: Recipe) -> None:
    """Make the data set at `path` unless it is there already.

    Content follows from the recipe alone. Processes may race for one path: one makes the
    file, the others wait for it. The file is private to its owner (mode 0600).

    Raises
    ------
    ServiceError
        When the recipe makes no sense, the file cannot be written, or `path` holds something
        else: another recipe's data, or no data set at all.
    """
    path = Path(path)
    recipe.check()
    try:
        if not path.exists():
            make_private(path.parent)
            with FileLock(path.with_name(f".{path.name}.lock"), mode=0o600):
                if not path.exists():
                    _generate(path, recipe)
    except (OSError, sqlite3.Error) as error:
        raise ServiceError(f"cannot write {path}: {error}; free or choose another place") from error
    found = read_recipe(path)
    if found != recipe:
        raise ServiceError(
            f"{path} holds {found.source}, not {recipe.source}; ask for what it holds, "
            "choose another file (promo api --data FILE), or delete this one"
        )


def read_recipe(path: str | Path) -> Recipe:
    """Return what the data set at `path` was made from.

    Raises
    ------
    ServiceError
        When there is no data set of this version at `path`.
    """
    try:
        with closing(_open_to_read(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (found,) = connection.execute("SELECT world, rows, seed FROM recipe")
    except (sqlite3.Error, ValueError) as error:
        raise ServiceError(
            f"{path} is no data set of promo ({error}); choose another file"
        ) from error
    if version != DATA_VERSION:
        raise ServiceError(
            f"{path} was made by another version of promo (data version {version}, "
            f"expected {DATA_VERSION}); choose another file, or delete this one"
        )
    return Recipe(*found)


class Dataset:
    """A data set, open to be read while others may append to it.

    Not to be used by two threads at once.

    Raises
    ------
    ServiceError
        From every method, when the file cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.recipe = read_recipe(path)
        self._path = path
        self._connection = _open_to_read(path)

    def page(self, page: int, size: int) -> tuple[list[Employee], int]:
        """Return the employees of a 0-based page, in order of id, and how many there are in all.

        Both come from one snapshot. Any page costs the same: a search for its first key.
        """
        first = page * size
        try:
            with self._connection as connection:  # ends the transaction, come what may
                connection.execute("BEGIN")
                (total,) = connection.execute(TOTAL_QUERY).fetchone()
                if first >= total:  # also keeps keys beyond 64 bits away from SQLite
                    return [], total
                rows = connection.execute(PAGE_QUERY, (first, first + size)).fetchall()
        except sqlite3.Error as error:
            raise ServiceError(f"cannot read {self._path}: {error}") from error
        employees = [
            Employee(key, competence, network_ability, promoted == 1)
            for key, competence, network_ability, promoted in rows
        ]
        return employees, total

    def close(self) -> None:
        """Close the file; closing twice is fine."""
        self._connection.close()


def _open_to_read(path: str | Path) -> sqlite3.Connection:
    """Open read-only; the caller sees to it that one thread uses the connection at a time."""
    return sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _generate(path: Path, recipe: Recipe) -> None:
    """Write the data set under a temporary name beside `path`, sync it, and rename it."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)  # a killed process left it
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode=0o600))
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            _fill(connection, recipe)
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, recipe: Recipe) -> None:
    # Neither a journal nor syncing: until the rename, the file is worth nothing to anyone.
    connection.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_SCHEMA}")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO recipe VALUES (?, ?, ?)", recipe)
    connection.executemany(
        "INSERT INTO employee VALUES (?, ?, ?, ?)",
        ((key, *row) for key, row in enumerate(_rows(recipe))),
    )
    connection.execute("COMMIT")
    connection.executescript(f"{_DENSE} PRAGMA user_version = {DATA_VERSION};")


def _rows(recipe: Recipe) -> Iterator[tuple[Any, ...]]:
    """Yield competence, network ability and promoted (0/1), employee by employee."""
    from promo.world import WORLDS  # and numpy, which who serves what is there can do without

    for block in WORLDS[recipe.world].blocks(recipe.rows, recipe.seed):
        columns = (block.competence, block.network_ability, block.promoted)
        yield from zip(*(column.tolist() for column in columns), strict=True)
