"""Tests of `promo.history`: bounded series and samples that follow from page numbers and rows."""

import sqlite3
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promo.history import History, Sample, stride

# Gaps at the start and anywhere, and the newest page again, as when a short page has grown.
pages = st.lists(st.integers(0, 40), min_size=1, max_size=60).map(np.cumsum).map(np.ndarray.tolist)


@given(st.integers(0, 10**12), st.integers(1, 1000))
def test_stride_is_the_least_power_of_two_that_serves(page, most):
    """It keeps at most `most` of the pages up to `page`; half of it would keep more."""
    step = stride(page, most)
    assert step & (step - 1) == 0
    assert page // step + 1 <= most
    assert step == 1 or page // (step // 2) + 1 > most
    assert stride(page + 1, most) >= step


@given(pages, st.integers(1, 20), st.integers(0, 10**6))
def test_it_keeps_the_evenly_thinned_pages_and_the_newest(pages, most, start):
    """After every page it holds the multiples of `stride` among those seen, and the last one."""
    history = History(["page", "twice"], most)
    seen = []
    for at, page in enumerate(start + page for page in pages):
        history.append(page, [page + at / 1e3, 2 * page])
        seen = [(p, v) for p, v in seen if p != page] + [(page, page + at / 1e3)]
        step = stride(page, most)
        expected = [(p, v) for p, v in seen if p % step == 0 or p == page]
        assert history.pages.tolist() == [p for p, _ in expected]
        assert history["page"].tolist() == [v for _, v in expected]
        assert history["twice"].tolist() == [2 * p for p, _ in expected]
        assert len(history) == len(expected) <= most + 1


@given(pages, st.integers(1, 20), st.integers(1, 20))
def test_thinned_is_what_a_lower_bound_would_have_kept(pages, most, fewer):
    """Thinning later comes to the same as thinning from the start, and the newest page stays."""
    history, expected = History(["x"], max(most, fewer)), History(["x"], min(most, fewer))
    for at, page in enumerate(pages):
        history.append(page, [at])
        expected.append(page, [at])
    thinned = history.thinned(min(most, fewer))
    assert thinned.pages.tolist() == expected.pages.tolist()
    assert thinned["x"].tolist() == expected["x"].tolist()


def test_ten_million_pages_cost_what_ten_do():
    """However long, it stays within its bound and spreads over the whole."""
    history = History(["x"], 100)
    for page in range(0, 10_000_000, 997):
        history.append(page, [page])
    assert len(history) <= 101
    history = History(["x"])
    for page in range(50_000):
        history.append(page, [page])
    gaps = {after - before for before, after in pairwise(history.pages.tolist()[:-1])}
    assert gaps == {stride(49_999)}
    assert 500 <= len(history) <= 1001


@given(pages, st.integers(1, 20), st.data())
def test_copies_go_their_own_ways(pages, most, data):
    """Whichever of two goes on, however often, the other stays what it was; also its columns."""
    histories, expected = [History(["page", "value"], most)], [[]]
    for number, page in enumerate(pages):
        at = data.draw(st.integers(0, len(histories) - 1))
        if data.draw(st.booleans()):
            histories.append(histories[at].copy())
            expected.append(expected[at])
        at = data.draw(st.integers(0, len(histories) - 1))
        expected[at] = [*expected[at], (page, number)]
        histories[at].append(page, [page, number])
        histories[at].pages[:] = histories[at]["value"][:] = -1
    for history, seen in zip(histories, expected, strict=True):
        alone = History(["page", "value"], most)
        for page, number in seen:
            alone.append(page, [page, number])
        assert history.pages.tolist() == history["page"].tolist() == alone.pages.tolist()
        assert history["value"].tolist() == alone["value"].tolist()


@given(pages, st.integers(1, 20), st.data())
def test_until_is_what_it_was_as_far_as_it_is_kept(pages, most, data):
    """Of the pages before, those that are kept now; the page itself; and then on from there."""
    history = History(["page"], most)
    for page in pages:
        history.append(page, [page])
    page = data.draw(st.integers(0, pages[-1]))
    now, was = history.pages.tolist(), history.until(page, [page])
    step = stride(page, most)
    assert was.pages.tolist() == [p for p in now if p < page and p % step == 0] + [page]
    assert was["page"].tolist() == was.pages.tolist()
    assert history.pages.tolist() == now
    for later in range(page, pages[-1] + 1):
        was.append(later, [later])
    kept = [p for p in now if p < page] + [*range(page, pages[-1] + 1)]
    step = stride(pages[-1], most)
    assert was["page"].tolist() == [p for p in kept[:-1] if p % step == 0] + kept[-1:]
    with pytest.raises(ValueError, match="broadcast"):
        was.append(pages[-1], [1, 2])


def rows(count):
    """Return three columns in which every row can be told from every other."""
    return np.array([np.arange(count), -np.arange(count), np.arange(count) % 2], float)


def sampled(count, cuts=(), capacity=50):
    sample = Sample(capacity)
    for part in np.split(rows(count), sorted(cuts), axis=1):
        sample.extend(*part)
    return sample


@given(st.integers(0, 700), st.lists(st.integers(0, 700), max_size=8), st.integers(1, 60))
def test_a_sample_does_not_depend_on_the_batches(count, cuts, capacity):
    """Any split of the rows into batches gives the same sample, in order of arrival."""
    whole = sampled(count, (), capacity)
    parts = sampled(count, [min(cut, count) for cut in cuts], capacity)
    assert (parts.columns == whole.columns).all()
    assert parts.rows == whole.rows == count
    arrived = whole.columns[0]
    assert (np.diff(arrived) > 0).all()
    assert (whole.columns == rows(count)[:, arrived.astype(int)]).all()


@given(st.integers(0, 700), st.integers(0, 700), st.integers(1, 60))
@example(stop=289, more=1, capacity=9)  # nothing read back is dropped, and the rows are thinned
def test_a_sample_restored_from_sql_goes_on_as_if_never_stopped(stop, more, capacity):
    """Read back by `where` and extended, it is the sample of one run, whatever was kept."""
    with closing(sqlite3.connect(":memory:")) as store:
        store.execute("CREATE TABLE data (id INT PRIMARY KEY NOT NULL, a REAL, b REAL, c REAL)")
        ids = range(3 * stop, 2 * stop, -1)  # rowid counts arrivals, whatever the ids are
        values = zip(ids, *rows(stop).tolist(), strict=True)
        store.executemany("INSERT INTO data VALUES (?, ?, ?, ?)", values)
        where = Sample.where(stop, capacity)
        sql = f"SELECT rowid, a, b, c FROM data WHERE {where} ORDER BY rowid"
        kept = store.execute(sql).fetchall()
    columns = np.array(kept).reshape(-1, 4).T
    resumed = Sample(capacity)
    resumed.restore(stop, columns[0].astype(np.int64), *columns[1:])
    assert (resumed.columns == sampled(stop, (), capacity).columns).all()
    resumed.extend(*rows(stop + more)[:, stop:])
    assert (resumed.columns == sampled(stop + more, (), capacity).columns).all()


@given(st.integers(0, 20_000), st.integers(10, 200))
def test_a_sample_is_bounded_and_never_thin(count, capacity):
    """It holds all rows while they fit, then between half and all of its capacity, roughly."""
    size = sampled(count, (), capacity).columns.shape[1]
    if count <= capacity:
        assert size == count
    else:
        assert capacity / 2 - 5 <= size <= capacity


@pytest.mark.parametrize("count", [10_000, 77_777])
def test_every_row_is_as_likely_as_any_other(count):
    """Early and late, and of every remainder, rows have about the same share in the sample."""
    sample = sampled(count, (), 1000).columns[0]
    size = len(sample)
    for part in range(10):
        share = ((sample >= count * part / 10) & (sample < count * (part + 1) / 10)).mean()
        assert abs(share - 0.1) < 0.01
    for divisor in (2, 3, 7, 10):
        shares = np.bincount(sample.astype(int) % divisor, minlength=divisor) / size
        assert abs(shares - 1 / divisor).max() < 0.05


def test_what_a_sample_hands_out_stays_as_it_is():
    """Later rows do not show in it, and nobody can write to it."""
    sample = sampled(40)
    before, copy = sample.columns, sample.columns.copy()
    with pytest.raises(ValueError, match="read-only"):
        before[0, 0] = 7
    sample.extend(*rows(500))
    assert (before == copy).all()
