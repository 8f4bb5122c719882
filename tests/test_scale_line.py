"""Tests of the algebra of `promo.scale`: chunks of pages, added up, are what one machine learns."""

import pickle
import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.special import expit

from pages import bad, batch, pages_of
from promo.batch import Batch
from promo.errors import PromoError, StoreError
from promo.fork import fork
from promo.history import MAX_PAGES, stride
from promo.line import Line
from promo.models.default import default_models
from promo.models.graphs import parents, stories
from promo.models.logistic import RenewableLogistic
from promo.scale.chunk import Chunk
from promo.scale.line import ScaledLine
from promo.scale.reader import MOST_PAGES, Plan
from promo.scale.rows import name_rows, read_rows, write_rows
from promo.scale.trainer import _pages_of_a_chunk
from promo.store import Store
from promo.world import WORLDS
from tables import dump, exact, pages_told

SOURCE = "world:collider?rows=4000&seed=3"


def opened(path, kind=ScaledLine, size=10, source=SOURCE, **options):
    models, settings = default_models(source=source, merging=True)
    return kind(Store(path, source=source, page_size=size, settings=settings), models, **options)


def pages(rows=1870, size=10):
    """Return pages of which one brings rows seen before, one a contradiction, one a bad row."""
    columns = WORLDS["collider"].sample(rows, seed=3)
    batches = pages_of(columns, size)
    batches[71] = batch(71, *(column[704:714] for column in columns), ids=range(704, 714))
    wrong = [column[300:310].copy() for column in columns]
    wrong[0][3] += 1
    batches[90] = batch(90, *wrong, ids=range(300, 310))
    batches[55] = replace(batches[55], rejected=(bad(10),))
    return batches


def scaled(line, batches, cuts):
    """Learn pages until there is a frame, then chunks that end at `cuts`, as workers make them."""
    at = 0
    while line.frame is None:
        line.learn(batches[at])
        at += 1
    for end in [cut for cut in cuts if cut > at]:
        sent = pickle.dumps((batches[at:end], line.frame))
        line.add(pickle.loads(pickle.dumps(Chunk.of(*pickle.loads(sent)))))
        at = end
    return line


def cuts_of(length, chunk):
    return [*range(chunk + 1, length, chunk), length]


def test_chunks_added_up_are_one_machine_to_the_bit(tmp_path):
    """Whatever the chunks: rows, ledger, quarantine, regressions and independencies are the same.

    So are the states of the moments, and the first pages whose intervals excluded zero.
    """
    batches = pages()
    one = opened(tmp_path / "one.db", Line)
    for each in batches:
        one.learn(each)
    expected = dump(one.store)
    dice = random.Random(5)
    for name, cuts in {
        "16": cuts_of(len(batches), 16),
        "random": [*sorted(dice.sample(range(2, len(batches)), 20)), len(batches)],
        "whole": [len(batches)],
    }.items():
        line = scaled(opened(tmp_path / f"{name}.db"), batches, cuts)
        tables = dump(line.store)
        assert exact(tables) == exact(expected, at=tables)
        assert line.store.states["moments"] == one.store.states["moments"]
        assert pages_told(tables) == {0, *(cut - 1 for cut in cuts if cut > 1)}
        told = [row[:3] for row in expected["metric"] if row[2] in pages_told(tables)]
        assert [row[:3] for row in tables["metric"]] == told
        line.store.close()
    one.store.close()


def test_thinned_tables_are_those_of_one_machine(tmp_path):
    """Past a thousand pages the ends of chunks that are kept are kept by it, too."""
    batches = [batch(p, [p / 7 % 1, -p % 5], [p % 3, p % 2], [p % 2, True]) for p in range(1300)]
    for each in batches:
        object.__setattr__(each, "ids", each.ids + 2 * each.page)
    one = opened(tmp_path / "one.db", Line)
    for each in batches:
        one.learn(each)
    line = scaled(opened(tmp_path / "many.db"), batches, cuts_of(1300, 64))
    tables, expected = dump(line.store), dump(one.store)
    assert exact(tables) == exact(expected, at=tables)
    assert pages_told(tables) == {0, 2, 4, *range(64, 1300, 64), 1299}
    assert pages_told(tables) <= pages_told(expected)
    assert line.memory.history.pages.tolist() == sorted(pages_told(tables))
    assert line.memory.rows == one.memory.rows
    assert (line.memory.sample.columns == one.memory.sample.columns).all()
    line.store.close()
    one.store.close()


def test_left_and_taken_up_by_either(tmp_path):
    """A store goes on with chunks after pages, and with pages after chunks; moments do not care."""
    batches = pages()
    one = opened(tmp_path / "one.db", Line)
    for each in batches:
        one.learn(each)
    expected = dump(one.store)
    one.store.close()
    for each in batches[:50]:
        (line := opened(tmp_path / "both.db", Line)).learn(each)
        line.store.close()
    line = opened(tmp_path / "both.db")
    line.add(Chunk.of(batches[50:100], line.frame))
    line.restore()
    line.add(Chunk.of(batches[100:120], line.frame))
    line.store.close()
    line = opened(tmp_path / "both.db", Line)
    for each in batches[120:]:
        line.learn(each)
    tables = dump(line.store)
    assert exact(tables) == exact(expected, at=tables)
    line.store.close()


def test_a_fork_at_any_checkpoint_has_all_rows(tmp_path):
    """What is kept of a page is of all rows up to it, in every model; gone on with, the same."""
    batches = pages_of(WORLDS["collider"].sample(1870, seed=3), 10)
    cuts = cuts_of(len(batches), 16)
    line = scaled(opened(tmp_path / "promo.db"), batches, cuts)
    whole, states = dump(line.store), line.store.states
    line.store.close()
    with Store.read_only(tmp_path / "promo.db") as source:
        assert source.checkpoints == [0, *(cut - 1 for cut in cuts)]
        for page in source.checkpoints:
            fork(source, page, tmp_path / f"{page}.db")
    for at, cut in enumerate(cuts[:-1]):
        twin = opened(tmp_path / f"{cut - 1}.db")
        assert rows_of(twin) == {10 * cut}
        for begin, end in pairwise(cuts[at:]):
            twin.add(Chunk.of(batches[begin:end], twin.frame))
        assert dump(twin.store)["coefficient"] == whole["coefficient"]
        assert twin.store.states == states
        twin.store.close()
    alone = opened(tmp_path / "0.db", Line)
    for each in batches[1:]:
        alone.learn(each)
    assert rows_of(alone) == {1870}
    alone.store.close()


def rows_of(line):
    """Return how many rows the models know that learn of all of them: one number, if they agree."""
    names = ("moments", "renewable-logistic", "causal-stories")
    states = [state for model in line.models for state in model.states() if state.name in names]
    assert len(states) == 3
    return {state.rows for state in states}


def test_a_chunk_that_fails_leaves_nothing(tmp_path):
    """A chunk is there as a whole or not at all."""
    batches = pages()
    line = scaled(opened(tmp_path / "promo.db"), batches, [30])
    before = dump(line.store)
    [[pages_now]] = line.store.query("PRAGMA page_count")
    line.store.query(f"PRAGMA max_page_count = {pages_now + 2}")
    with pytest.raises(StoreError, match="full"):
        line.add(Chunk.of(batches[30:], line.frame))
    line.store.reopen()
    line.restore()
    assert dump(line.store) == before
    line.add(Chunk.of(batches[30:], line.frame))
    assert line.memory.rows == 1854
    line.store.close()


def test_rows_may_be_elsewhere(tmp_path):
    """Without its rows a chunk teaches the same, and the ledger counts them; ids must ascend."""
    batches = [each for each in pages() if each.page not in (71, 90)]
    cuts = cuts_of(len(batches), 16)
    with_rows = scaled(opened(tmp_path / "with.db"), batches, cuts)
    line = opened(tmp_path / "without.db")
    line.learn(batches[0])
    for start, end in zip([1, *cuts], cuts, strict=False):
        line.add(Chunk.of(batches[start:end], line.frame).without_rows())
    ours, theirs = dump(line.store), dump(with_rows.store)
    for table in ("page", "coefficient", "metric", "model", "checkpoint", "quarantine"):
        assert ours[table] == theirs[table], table
    assert len(ours["data"]) == len(batches[0].ids)
    assert line.memory.rows == with_rows.memory.rows
    line.store.reopen()
    line.restore()
    assert line.memory.rows == with_rows.memory.rows
    with pytest.raises(StoreError, match="do not ascend"):
        line.add(Chunk.of([batch(999, [1], [2], [True], ids=[5])], line.frame).without_rows())
    line.store.close()
    with_rows.store.close()


def test_what_does_not_merge_is_refused(tmp_path):
    """River's models learn row after row: the line says so, and what to take instead."""
    models, settings = default_models()
    store = Store(tmp_path / "promo.db", source=SOURCE, page_size=10, settings=settings)
    with pytest.raises(PromoError, match=r"sgd-logistic does not merge.*merging=True"):
        ScaledLine(store, models)
    store.close()


@pytest.mark.parametrize("in_flight", [1, 3, 8, 64])
def test_shares_keep_the_limit(in_flight):
    """However many workers: chunks under way times the window of each is at most the limit."""
    plan = Plan(16, in_flight, None, 150.0, None)
    for threads in range(300):
        chunks, window = plan.shares(threads)
        assert 0 < chunks * window <= in_flight


@pytest.fixture(scope="module")
def world():
    """Return a hundred thousand rows."""
    return WORLDS["collider"].sample(100_000, seed=11)


def maximum_likelihood(columns):
    """Return estimate and standard errors on all rows at once, by Newton's method."""
    n, c, y = columns
    x = np.stack([np.ones(len(n)), n, c], axis=1)
    beta = np.zeros(3)
    for _ in range(30):
        p = expit(x @ beta)
        information = x.T @ (x * (p * (1 - p))[:, None])
        beta += np.linalg.solve(information, x.T @ (y - p))
    return beta, np.sqrt(np.linalg.inv(information).diagonal())


@pytest.mark.parametrize(
    ("name", "size", "chunk"),
    [
        *((name, 1000, 50) for name in sorted({*WORLDS} - {"threshold", "drift"})),
        *(("collider", 100, 400), ("collider", 10, 400)),
    ],
)
def test_the_logistic_is_near_the_answer_on_all_rows(name, size, chunk, tmp_path):
    """Chunks added up are within 0.02 standard errors of maximum likelihood on 100,000 rows.

    Not in `threshold`, for which see below, nor where the world changes.
    """
    columns = WORLDS[name].sample(100_000, seed=11)
    terms = logistic_by_chunks(tmp_path, name, columns, size, chunk)
    beta, errors = maximum_likelihood(columns)
    away = np.abs(np.array([c.estimate for c in terms]) - beta) / errors
    assert away.max() < 0.02
    assert np.allclose([c.std_error for c in terms], errors, rtol=0.002)


@pytest.mark.parametrize("rows", [4000, 40_000])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_logistic_in_a_steep_world(seed, rows, tmp_path):
    """In `threshold` the prior is up to 0.5 standard errors away from maximum likelihood.

    Chunks of 4,000 rows are within 0.05, and of 40,000 within 0.005, of what is learned, with that
    prior, of all rows at once.
    """
    columns = WORLDS["threshold"].sample(100_000, seed=seed)
    together, scale = Batch.of(*columns), RenewableLogistic()
    scale.learn(together.head(10))  # which fix the scale
    exact = scale.fresh()
    exact.learn(together)
    at_once = {c.term: c for c in exact.coefficients()}
    for c in logistic_by_chunks(tmp_path, "threshold", columns, 100, rows // 100):
        exactly, error = at_once[c.term].estimate, at_once[c.term].std_error
        assert abs(c.estimate - exactly) < (0.05 if rows == 4000 else 0.005) * error


@pytest.mark.parametrize("cut", [1, 4])
def test_what_says_little_is_learned_as_one_machine_does(cut, tmp_path):
    """Rows of small chunks come whole; all that came before the first sum is learned after it."""
    batches = pages_of(WORLDS["collider"].sample(900, seed=6), 10)
    line = scaled(opened(tmp_path / "promo.db"), batches, [])
    few, many = Chunk.of(batches[1:cut], line.frame) if cut > 1 else None, slice(cut, 90)
    one = RenewableLogistic()
    one.learn(batches[0])
    if few:
        assert few.promoted.ids.tolist() == list(range(10, 10 * cut))
        line.add(few)
        one.learn(few.promoted)
    assert line.store.states[one.name] == one.states()[0].state
    line.add(Chunk.of(batches[many], line.frame))
    twin, _ = one.alone(Batch.of(*together(batches[many])))
    twin.learn(Batch.of(*together(batches[:cut])))
    assert line.store.states[one.name] == twin.states()[0].state
    again = [replace(batches[at], page=90 + at) for at in range(2)]  # nothing is learned of them
    line.add(last := Chunk.of(again, line.frame))
    assert last.number == line.store.page == 91
    assert line.store.states[one.name] == twin.states()[0].state
    line.store.close()


@pytest.mark.parametrize("page_size", [1, 10, 90, 1000, 10_000])
@pytest.mark.parametrize("pages_per_s", [None, 0.1, 3.0, 50.0])
def test_a_thinned_history_keeps_the_ends_of_chunks(page_size, pages_per_s):
    """Up to a thousand of them all, and of more every second, fourth, ..."""
    pages = _pages_of_a_chunk(page_size, pages_per_s)
    assert 2 <= pages <= MOST_PAGES
    for chunks in (10, 100, MAX_PAGES - 1):
        assert pages % stride(pages * chunks) == 0
    assert 2 * pages % stride(pages * (MAX_PAGES + 1)) == 0


@pytest.mark.parametrize("small", [6, 20])
def test_the_first_rows_are_learned_once_more_wherever_they_are(small, tmp_path):
    """In Parquet files or in the store: after a short first run in a steep world, all is the same.

    Within 0.05 standard errors of what is learned of all rows at once.
    """
    columns = WORLDS["threshold"].sample(40_000, seed=1)
    batches, folder = pages_of(columns, 10), tmp_path / "rows"
    folder.mkdir()
    with_rows = opened(tmp_path / "with.db")
    line = opened(tmp_path / "without.db", parquet=folder)
    for at, end in pairwise([0, 1, small, *range(401, 4000, 400), 4000]):
        name_rows(folder, write_rows(folder, batches[at:end]), at, 0)
        for each in (with_rows, line):
            if at == 0:
                each.learn(batches[0])
            else:
                chunk = Chunk.of(batches[at:end], each.frame)
                each.add(chunk.without_rows() if each is line else chunk)
        assert line.store.states == with_rows.store.states
    exact = line.frame.logistic
    exact.learn(Batch.of(*columns))
    found = {c.term: c for c in line.memory.coefficients if c.model == exact.name}
    for c in exact.coefficients():
        assert abs(found[c.term].estimate - c.estimate) < 0.05 * c.std_error
    line.store.close()
    with_rows.store.close()


def test_rows_that_are_nowhere_are_not_left_out(tmp_path):
    """Without the first rows at hand the sum counts them as they were learned."""
    batches = pages_of(WORLDS["collider"].sample(900, seed=6), 10)
    line = scaled(opened(tmp_path / "promo.db"), batches, [])
    line.add(Chunk.of(batches[1:4], line.frame).without_rows())
    line.add(Chunk.of(batches[4:], line.frame).without_rows())
    assert rows_of(line) == {900}
    line.store.close()


def test_rows_whose_files_are_gone_are_not_left_out(tmp_path):
    """A folder without files has no rows; the sum counts them as they were learned."""
    batches, folder = pages_of(WORLDS["collider"].sample(900, seed=6), 10), tmp_path / "rows"
    folder.mkdir()
    assert not len(read_rows(folder, 10).ids)
    line = opened(tmp_path / "promo.db", parquet=folder)
    line.learn(batches[0])
    line.add(Chunk.of(batches[1:], line.frame).without_rows())
    assert rows_of(line) == {900}
    line.store.close()


def odd_rows(seed):
    """Return columns with outliers, heavy tails or a rule that turns round, and as steep as any."""
    random, kind = np.random.default_rng(seed), seed % 4
    n, c = random.normal(size=(2, 1500))
    slopes = 10.0 ** random.uniform(-1, 1.5) * random.normal(size=2)
    odds = slopes[0] * n + slopes[1] * c
    if kind == 3:
        odds = odds * np.where(np.arange(len(n)) < 750, 1, -1)
    promoted = random.random(len(n)) < expit(odds)
    wild = random.random(len(n)) < 0.003
    if kind == 1:
        n[wild] = random.choice([1e6, -1e6, 1e3, -1e3, 100, 30], wild.sum())
    if kind == 2:
        n, c = random.standard_t(1.0, len(n)), random.standard_t(1.5, len(n))
    return n, c, promoted


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(16))
def test_what_is_written_of_odd_rows_can_be_opened(seed, tmp_path):
    """After every chunk the store is opened anew, by one machine and by many, and goes on."""
    batches, size = pages_of(odd_rows(seed), 10), (5, 23, 60)[seed % 3]
    line, at = opened(tmp_path / "promo.db"), 0
    while line.frame is None:
        line.learn(batches[at])
        at += 1
    for begin in range(at, len(batches), size):
        line.add(Chunk.of(batches[begin : begin + size], line.frame))
        states = line.store.states
        for kind in (Line, ScaledLine):
            line.store.close()
            line = opened(tmp_path / "promo.db", kind)
            assert line.store.states == states
    line.store.close()


def test_many_rows_that_say_little_are_not_learned_once_more(tmp_path):
    """They would have to be in memory all at once; the sum counts them as it does a chunk."""
    n, c, promoted = WORLDS["collider"].sample(16_000, seed=6)
    promoted[1:12_000] = False
    batches = pages_of((n, c, promoted | (np.arange(16_000) == 0)), 1000)
    line = scaled(opened(tmp_path / "promo.db", size=1000), batches[:12], cuts_of(12, 4))
    before = RenewableLogistic()
    before.restore(line.store.states)
    last = Chunk.of(batches[12:], line.frame)
    line.add(last)
    expected = before + last.promoted.logistic
    assert line.store.states[before.name] == expected.states()[0].state
    line.store.close()


def together(batches):
    return [np.concatenate([getattr(each, name) for each in batches]) for name in COLUMNS]


COLUMNS = ("network_ability", "competence", "promoted")


def logistic_by_chunks(tmp_path, world, columns, size, chunk):
    """Return the renewable logistic's coefficients after rows that were added up by chunks."""
    batches = pages_of(columns, size)
    line = opened(tmp_path / "promo.db", size=size, source=f"world:{world}")
    line = scaled(line, batches, cuts_of(len(batches), chunk))
    found = {c.term: c for c in line.memory.coefficients if c.model == RenewableLogistic().name}
    line.store.close()
    return [found[term] for term in ("intercept", "network_ability", "competence")]


def test_scores_within_chunks_are_near_those_of_one_machine(world, tmp_path):
    """All rows but those of the chunks' first pages are scored, a little worse than by one machine.

    "A little" is under 0.01 nats, at eight pages of 1,000 rows a chunk.
    """
    batches = pages_of([column[:33_000] for column in world], 1000)
    line = scaled(opened(tmp_path / "promo.db", size=1000), batches, cuts_of(33, 8))
    found = {m.name: m.value for m in line.memory.metrics if m.model == "renewable-logistic"}
    assert found["rows"] == 33_000 - 4 * 1000
    assert 0 < found["excess"] < 0.01
    assert found["roc_auc"] > 0.75
    line.store.close()


def test_the_stories_are_those_of_one_machine(world, tmp_path):
    """Evidence by chunks is within a few nats of bets row by row, and the same story leads.

    Where promoted has no causes, all of the evidence is of moments, and the same to 1e-12.
    """
    batches = pages_of([column[:20_000] for column in world], 1000)
    one = opened(tmp_path / "one.db", Line, size=1000)
    for each in batches:
        one.learn(each)
    many = scaled(opened(tmp_path / "many.db", size=1000), batches, cuts_of(20, 8))
    shares = [
        {m.name: m.value for m in line.memory.metrics if m.model == "causal-stories"}
        for line in (one, many)
    ]
    for name, value in shares[0].items():
        assert abs(shares[1][name] - value) < (0.01 if name.startswith("share") else 3)
    gaussian = [
        story.name
        for story in stories()
        if not any(parents(graph, "promoted") for graph in story.graphs)
    ]
    assert len(gaussian) > 1
    for name in gaussian:
        evidence = shares[0][f"log evidence of {name}"]
        assert shares[1][f"log evidence of {name}"] == pytest.approx(evidence, rel=1e-12, abs=0)
    one.store.close()
    many.store.close()
