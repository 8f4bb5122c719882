"""What the trainer remembers: results are taken into the history when they are needed there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promo.history import MAX_PAGES, History
from promo.memory import Memory
from promo.models.results import Coefficient, Metric
from promo.store import Store

SHOWN = ("estimate", "std_error", "hc1_std_error")
COLUMNS = [*(("m", "t", name) for name in SHOWN), ("m", "rows")]


def results(page, turn):
    return [Coefficient("m", "t", page, turn, hc1_std_error=-page)], [Metric("m", "rows", turn)]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / "a.db"
    with Store(path, source="memory", page_size=10) as store:
        yield store


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0, 1, 2, 3, MAX_PAGES // 2]), st.booleans()), max_size=40
    ),
    start=st.integers(0, 3 * MAX_PAGES),
)
def test_the_history_is_the_same_whoever_looks_at_it_and_when(steps, start, store):
    """Looked at after every page or never, it has the pages and values of a plain `History`."""
    memory, expected, page = Memory(store, *results(0, 0)), History(COLUMNS), start
    for turn, (step, is_looked_at) in enumerate([(0, True), *steps, (1, True)]):
        page += step
        memory.tell(page, *results(page, turn))
        expected.append(page, [page, turn, -page, turn])
        if is_looked_at:
            assert memory.history.pages.tolist() == expected.pages.tolist()
            for column in COLUMNS:
                assert memory.history[column].tolist() == expected[column].tolist()
