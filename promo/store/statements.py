"""The SQL of a page's transaction, written out once."""

from collections.abc import Sequence
from functools import lru_cache

from promo.models.results import Coefficient

TABLES = ("data", "page", "model", "coefficient", "metric", "checkpoint", "event", "quarantine")
COLUMNS = ("id", "network_ability", "competence", "promoted")
UPSERT_PAGE = """
    INSERT INTO page VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (page) DO UPDATE SET
        received = received + excluded.received,
        inserted = inserted + excluded.inserted,
        duplicate = duplicate + excluded.duplicate,
        conflicting = conflicting + excluded.conflicting,
        rejected = rejected + excluded.rejected,
        first_id = coalesce(first_id, excluded.first_id),
        last_id = coalesce(excluded.last_id, last_id),
        digest = excluded.digest,
        committed_at = excluded.committed_at
"""
MOVE_CHECKPOINT = "UPDATE checkpoint SET page = ?, rows = ?, states = ? WHERE page = ?"
INSERT_CHECKPOINT = "INSERT INTO checkpoint VALUES (?, ?, ?)"
UPSERT_QUARANTINE = "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?)"
AT_ONCE = 100  # rows of one statement: SQLite takes 32,766 values in one, some builds fewer


@lru_cache
def insert_data(rows: int) -> str:
    """Return the statement for so many rows of `data`, its values column by column."""
    return f"INSERT INTO data VALUES {_values([()] * rows, 0, len(COLUMNS))}"


@lru_cache
def upsert_model(*names: str) -> str:
    """Return the statement for these states: the page, the time, all rows, all states."""
    return f"""
        INSERT INTO model (name, page, updated_at, rows, state)
        VALUES {_values([(name,) for name in names], 2, 2)}
        ON CONFLICT (name) DO UPDATE SET
            page = excluded.page,
            rows = excluded.rows,
            state = excluded.state,
            updated_at = excluded.updated_at
    """


@lru_cache
def upsert_coefficient(models: tuple[str, ...], terms: tuple[str, ...]) -> str:
    """Return the statement for these coefficients of a page: the page, then each number of all."""
    _, _, *numbers = Coefficient._fields
    values = _values([*zip(models, terms, strict=True)], 1, len(numbers))
    columns = ", ".join(("model", "term", "page", *numbers))
    return f"INSERT OR REPLACE INTO coefficient ({columns}) VALUES {values}"


@lru_cache
def upsert_metric(models: tuple[str, ...], names: tuple[str, ...]) -> str:
    """Return the statement for these metrics of a page: the page, then all values."""
    values = _values([*zip(models, names, strict=True)], 1, 1)
    return f"INSERT OR REPLACE INTO metric (model, name, page, value) VALUES {values}"


def _values(names: Sequence[tuple[str, ...]], shared: int, own: int) -> str:
    """Write rows: names as they are, then the places of values that rows share, and of their own.

    Names stand in the text, since binding a string costs as much as writing a number. They are
    in the order of the table, which it grows in best. Values of their own are bound column by
    column, each as the names came.

    Examples
    --------
    >>> _values([("a", "rows"), ("a", "it's")], 1, 2)
    "('a', 'it''s', ?1, ?3, ?5), ('a', 'rows', ?1, ?2, ?4)"
    """
    rows = len(names)
    same = [f"?{at}" for at in range(1, shared + 1)]
    lines = []
    quoted = [tuple(map(_quoted, texts)) for texts in names]
    for row, texts in sorted(enumerate(quoted), key=lambda line: line[1]):
        places = [f"?{shared + 1 + column * rows + row}" for column in range(own)]
        lines.append(f"({', '.join((*texts, *same, *places))})")
    return ", ".join(lines)


def _quoted(name: str | None) -> str:
    return "NULL" if name is None else "'" + name.replace("'", "''") + "'"  # which is refused
