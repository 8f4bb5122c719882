"""The SQL of a page's transaction, written out once."""

from promo.models.results import Coefficient

TABLES = ("data", "page", "model", "coefficient", "metric", "checkpoint", "event", "quarantine")
COLUMNS = ("id", "network_ability", "competence", "promoted")
INSERT_DATA = "INSERT INTO data VALUES (?, ?, ?, ?)"
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
UPSERT_MODEL = """
    INSERT INTO model VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (name) DO UPDATE SET
        page = excluded.page,
        rows = excluded.rows,
        state = excluded.state,
        updated_at = excluded.updated_at
"""
# The page stands last, so that the values are a Coefficient or a Metric and one number more.
UPSERT_COEFFICIENT = f"""
    INSERT OR REPLACE INTO coefficient ({", ".join(Coefficient._fields)}, page)
    VALUES ({", ".join("?" * len(Coefficient._fields))}, ?)
"""
UPSERT_METRIC = "INSERT OR REPLACE INTO metric (model, name, value, page) VALUES (?, ?, ?, ?)"
UPSERT_CHECKPOINT = """
    INSERT INTO checkpoint VALUES (?, ?, ?)
    ON CONFLICT (page) DO UPDATE SET rows = excluded.rows, states = excluded.states
"""
UPSERT_QUARANTINE = "INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?, ?)"
