"""The store: one SQLite file per stream, one transaction per page.

Third stop on the line. `Store.sift` says which rows of a batch are new, the models learn those,
and `Store.commit` writes the rows, the page, the models' states, the coefficients and the metrics
together or not at all. `Reader` reads the same file, also while it is being written.
"""

from promo.store.ledger import check_ledger
from promo.store.new import new_store
from promo.store.reader import Cursor, Event, Reader
from promo.store.sifted import Elsewhere, Sifted
from promo.store.writer import Store

__all__ = ["Cursor", "Elsewhere", "Event", "Reader", "Sifted", "Store", "check_ledger", "new_store"]
