"""The peer: the loop that people write. `python -m benchmarks.plain_loop URL FILE PAGES SIZE`.

A request per page, river row by row on two models, three metrics by progressive validation, and
models and rows committed after every page, all with the defaults of each library.
"""

from __future__ import annotations

import json
import pickle
import sqlite3
import sys
import time

import requests
from river import linear_model, metrics, preprocessing


def main(url: str, path: str, pages: int, size: int) -> float:
    """Return the rows per second from the first page to the last."""
    classifier = preprocessing.StandardScaler() | linear_model.LogisticRegression()
    regression = preprocessing.StandardScaler() | linear_model.LinearRegression()
    log_loss, roc_auc, accuracy = metrics.LogLoss(), metrics.ROCAUC(), metrics.Accuracy()
    database = sqlite3.connect(path)
    database.execute(
        "CREATE TABLE data (id INTEGER PRIMARY KEY, network_ability, competence, promoted)"
    )
    database.execute("CREATE TABLE model (name TEXT PRIMARY KEY, state BLOB)")
    asked = {"size": size} if size != 10 else {}  # as the contract has it
    began = time.perf_counter()
    for page in range(pages):
        rows = requests.get(f"{url}/api/v1/data", params=asked | {"page": page}, timeout=10).json()
        for row in rows:
            promoted = row["promoted"]
            x = {"competence": row["competence"], "network_ability": row["network_ability"]}
            p = classifier.predict_proba_one(x)
            log_loss.update(promoted, p)
            roc_auc.update(promoted, p)
            accuracy.update(promoted, p.get(True, 0.0) > 0.5)
            classifier.learn_one(x, promoted)
            y = {"competence": row["competence"], "promoted": promoted}
            regression.learn_one(y, row["network_ability"])
        database.executemany(
            "INSERT INTO data VALUES (:id, :network_ability, :competence, :promoted)", rows
        )
        for name, model in (("classifier", classifier), ("regression", regression)):
            state = pickle.dumps(model)
            database.execute("INSERT OR REPLACE INTO model VALUES (?, ?)", (name, state))
        database.commit()
    return pages * size / (time.perf_counter() - began)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))))
