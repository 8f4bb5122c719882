"""Tests of `promo.batch`: every row of every page is either good or rejected, whatever it is."""

import json
import math
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from promo.batch import MAX_ABS, MAX_ID, BadPage, decode_page

SIZE = 10
FIELDS = ("id", "competence", "network_ability", "promoted")

numbers = st.floats(-MAX_ABS, MAX_ABS) | st.integers(-(10**30), 10**30)
employee = st.fixed_dictionaries(
    {
        "id": st.integers(0, MAX_ID),
        "competence": numbers,
        "network_ability": numbers,
        "promoted": st.booleans() | st.integers(0, 1),
    }
)
text = st.text(st.characters())  # lone surrogates too: JSON can say them, UTF-8 cannot
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
spoilt = st.builds(
    lambda row, name, value: row | {name: value}, employee, st.sampled_from(FIELDS), junk
)
lacking = st.builds(
    lambda row, name: {k: v for k, v in row.items() if k != name}, employee, st.sampled_from(FIELDS)
)
talkative = st.builds(
    lambda row, more: more | row, employee, st.dictionaries(text, junk, max_size=2)
)
anything = employee | talkative | spoilt | lacking | junk
pages = st.lists(anything, max_size=SIZE + 3)


def encode(value, **style):
    return json.dumps(value, **style).encode()


def decode(body):
    return decode_page(body, SIZE).whole


def is_number(value):
    return type(value) in (int, float) and abs(value) <= MAX_ABS  # NaN is not


def is_good(row):
    """Say in plain Python what an employee is."""
    return (
        isinstance(row, dict)
        and set(row) >= set(FIELDS)
        and not any("\ud800" <= letter <= "\udfff" for letter in "".join(row))
        and type(row["id"]) is int
        and 0 <= row["id"] <= MAX_ID
        and is_number(row["competence"])
        and is_number(row["network_ability"])
        and type(row["promoted"]) in (bool, int)
        and row["promoted"] in (0, 1)
    )


def rows_of(batch):
    columns = (batch.ids, batch.competence, batch.network_ability, batch.promoted)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@given(pages)
def test_every_row_is_good_or_rejected(rows):
    """A row is good, to the last bit, if it is an employee; else it is told with its place."""
    batch = decode(encode(rows))
    good = [n for n, row in enumerate(rows) if n < SIZE and is_good(row)]
    assert batch.positions.tolist() == good
    kinds = (int, float, float, bool)
    assert rows_of(batch) == [
        tuple(kind(rows[n][name]) for kind, name in zip(kinds, FIELDS, strict=True)) for n in good
    ]
    assert [r.position for r in batch.rejected] == [n for n in range(len(rows)) if n not in good]
    assert batch.received == len(rows) == decode_page(encode(rows), SIZE).length


@given(st.lists(employee, max_size=SIZE))
def test_columns_have_the_types_promised(rows):
    """Columns have one type each, one length, and floats keep every bit but the sign of zero."""
    batch = decode(encode(rows))
    names = ("ids", "network_ability", "competence", "promoted", "positions")
    columns = [getattr(batch, name) for name in names]
    assert [str(c.dtype) for c in columns] == ["int64", "float64", "float64", "bool", "int64"]
    assert {c.shape for c in columns} == {(len(rows),)}
    expected = np.array([row["competence"] for row in rows], float) + 0.0
    assert batch.competence.tobytes() == expected.tobytes()


@given(anything, st.lists(anything, max_size=3), st.lists(anything, max_size=3))
def test_a_row_is_judged_alone(row, before, after):
    """Neighbours, good or bad, change neither a row's fate nor its values nor its reason."""
    alone, among = decode(encode([row])), decode(encode([*before, row, *after]))
    place = len(before)
    assert [r[1:] for r in alone.rejected] == [r[1:] for r in among.rejected if r.position == place]
    assert rows_of(alone) == rows_of(among.take(among.positions == place))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((f, v) for f in FIELDS for v in ("null", '"1"', "[]", "{}", "NaN", "-Infinity", "1e400")),
        *(("id", v) for v in ("-1", str(MAX_ID + 1), "1" * 5000, "7.0", "true")),
        *(("promoted", v) for v in ("2", "-1", "1.0", "0.5", '"true"')),
        *(("competence", v) for v in ("true", "1.1e100", "-" + "9" * 101, "9" * 5000)),
    ],
)
def test_a_bad_value_costs_its_row_only(field, value):
    """Each kind of bad value rejects its row, with its raw text, and no other."""
    row = dict.fromkeys(FIELDS, "1")
    texts = [
        "{" + ", ".join(f'"{k}": {v}' for k, v in r.items()) + "}"
        for r in (row, row | {field: value})
    ]
    batch = decode(f"[{texts[0]}, {texts[1]} ,\n{texts[0]}]".encode())
    assert rows_of(batch) == [(1, 1.0, 1.0, True)] * 2
    assert [(r.position, r.raw) for r in batch.rejected] == [(1, texts[1][:2000])]
    assert "\n" not in batch.rejected[0].reason


def test_the_last_of_equal_keys_counts():
    """Of a key said twice the last value holds, in a page of good rows as beside bad ones."""
    row = (
        '{"id": null, "id": 1, "competence": 2, "network_ability": 3, "promoted": 0, "promoted": 1}'
    )
    assert rows_of(decode(f"[{row}]".encode())) == [(1, 2.0, 3.0, True)]
    assert rows_of(decode(f"[{row}, null]".encode())) == [(1, 2.0, 3.0, True)]


def test_what_is_kept_of_bad_rows_is_bounded():
    """However long a bad row, at most 2,000 characters of it and a short reason are kept."""
    (rejected,) = decode(encode([{"id": "x" * 1_000_000}])).rejected
    assert len(rejected.raw) == 2000
    assert len(rejected.reason) < 200


@given(st.lists(employee, min_size=1, max_size=SIZE), st.randoms())
def test_the_digest_is_of_the_values(rows, chance):
    """The digest does not see 0/1 for false/true, white space, the order of keys, or escapes."""
    others = []
    for row in rows:
        items = [("promoted", int(row["promoted"])), *((k, row[k]) for k in FIELDS[:3])]
        chance.shuffle(items)
        others.append(dict(items) | {"naïve": "é"})
    assert decode(encode(rows)).digest == decode(b" \n" + encode(others, indent=3) + b"\t").digest


@given(st.lists(employee, min_size=1, max_size=SIZE), st.data())
def test_the_digest_tells_values_apart(rows, data):
    """The digest changes with any one value, with the number of rows and with their order."""
    digest = decode(encode(rows)).digest
    place, name = data.draw(st.sampled_from(range(len(rows)))), data.draw(st.sampled_from(FIELDS))
    old, new = rows[place][name], data.draw(employee)[name]
    changed = [*rows[:place], rows[place] | {name: new}, *rows[place + 1 :]]
    same = old == new and math.copysign(1, old) == math.copysign(1, new)
    same |= name not in ("id", "promoted") and str(float(old)) == str(float(new))
    assert (decode(encode(changed)).digest == digest) == same
    assert decode(encode(rows[:-1])).digest != digest
    assert (decode(encode(rows[::-1])).digest == digest) == (
        rows_of(decode(encode(rows[::-1]))) == rows_of(decode(encode(rows)))
    )


def test_the_digest_is_that_of_bad_rows_however_they_are_written():
    """A row that is none counts by its value: spaces, order and escapes are the server's taste."""
    one = rb'[{"id": 3, "competence": "h\u00f6h"}, 1.50, NaN]'
    other = '[ {"competence":"höh" ,"id":3},1.5,NaN ]'.encode()
    assert decode_page(one, 10).whole.digest == decode_page(other, 10).whole.digest
    worse = other.replace(b"3", b"4")
    assert decode_page(worse, 10).whole.digest != decode_page(other, 10).whole.digest


def test_the_digest_tells_bad_rows_apart():
    """The digest sees the text of bad rows and where they stand, not the words of the reason."""
    good = dict.fromkeys(FIELDS, 1)
    bodies = [[good, None], [None, good], [good, "a"], [good, None, None], [good]]
    assert len({decode(encode(rows)).digest for rows in bodies}) == len(bodies)
    first, second = (decode_page(encode([good, None]), size).whole for size in (1, 10))
    assert first.rejected[0].reason != second.rejected[0].reason
    assert first.digest == second.digest


@given(pages, st.lists(st.integers(0, SIZE + 3), max_size=3), st.integers(0, 2**40))
def test_positions_part_a_page(rows, cuts, number):
    """However a page grows between readings, its batches bring each row once."""
    edges = sorted({0, *cuts, len(rows)})
    page = decode_page(encode(rows), SIZE)
    batches = [page.batch(number, edge) for edge in edges]
    for (low, high), batch in zip(pairwise([*edges, math.inf]), batches, strict=True):
        places = [*batch.positions, *(r.position for r in batch.rejected)]
        assert sorted(places) == list(range(low, len(rows)))
        assert (batch.page, batch.digest) == (number, page.whole.digest)
        assert high >= low
    parts = [
        decode_page(encode(rows[:high]), SIZE).batch(number, low) for low, high in pairwise(edges)
    ]
    assert [*chain(*map(rows_of, parts))] == rows_of(page.whole)
    assert (*chain(*(part.rejected for part in parts)),) == page.whole.rejected


def mutated(body, places, byte):
    for place in places:
        body = body[: place % (len(body) + 1)] + byte + body[place % (len(body) + 1) + 1 :]
    return body


bodies = st.binary(max_size=200) | st.builds(
    mutated,
    st.lists(anything, max_size=3).map(encode),
    st.lists(st.integers(0, 10_000), max_size=3),
    st.binary(max_size=2)
    | st.sampled_from([b"[", b"]", b",", b"{", b'"', b"\\u", b"-", b"\xed\xa0"]),
)


@given(bodies)
@example(b"")
@example(b"[]<h1>it works</h1>")
@example(b"[" * 100_000)
@example(b'[{"deep": ' + b"[" * 5000 + b"]" * 5000 + b"}]")
@example(b'[{"competence": ' + b"[" * 5000)
@example(b'[{"a": "\xff"}]')
@example(b'[{"id": 1, "competence": 1, "network_ability": 1, "promoted": 1, "a": "\xff"}]')
@example("[]\N{NO-BREAK SPACE}".encode())
@example(b'["\\ud800"]')
def test_bytes_are_an_array_or_a_bad_page(body):
    """Whatever bytes arrive, they are rows if they are a JSON array, else BadPage."""
    try:
        expected = json.loads(body.decode(errors="replace"), parse_int=float)
    except (ValueError, RecursionError):
        expected = None
    if isinstance(expected, list):
        assert decode_page(body, SIZE).length == len(expected)
    else:
        with pytest.raises(BadPage) as caught:
            decode_page(body, SIZE)
        assert len(str(caught.value)) < 200
        assert "\n" not in str(caught.value)


@given(st.lists(employee, max_size=SIZE), st.data())
def test_a_cut_body_is_a_bad_page(rows, data):
    """A body that ends early is never taken for a shorter page."""
    body = encode(rows)
    with pytest.raises(BadPage):
        decode_page(body[: data.draw(st.integers(0, len(body) - 1))], SIZE)


@given(st.lists(employee, max_size=30), st.integers(1, 20))
def test_rows_beyond_the_page_size_are_rejected(rows, size):
    """A page of n rows where s were due has min(n, s) good rows; the others say why not."""
    batch = decode_page(encode(rows), size).whole
    assert batch.positions.tolist() == list(range(min(len(rows), size)))
    assert {r.reason for r in batch.rejected} <= {f"beyond the page size of {size}"}
    assert batch.received == len(rows)
