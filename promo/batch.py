"""One page of the API as arrays: strict decoding, and row-by-row rejection of what is bad.

`decode_page` turns a response body into a `Page`; a `Batch` is the part of a page that has
not been handed out before. Pure functions of bytes, no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_ID = 2**63 - 1
MAX_ABS = 1e100  # squares of larger numbers would overflow
_RAW_LIMIT = 2000  # characters of a bad row that are kept


class BadPage(ValueError):
    """A body that is not a JSON array: nothing in it can be told row by row."""


class Rejected(NamedTuple):
    """A row that is not an employee: where it stood in its page, why, and its text."""

    position: int
    reason: str
    raw: str


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The rows of one page, validated, in the order of the page.

    Attributes
    ----------
    page
        0-based page number.
    ids
        int64, shape (n,), each in 0..2^63-1; as served, so neither sorted nor unique for sure.
    network_ability, competence
        float64, shape (n,), within ±1e100.
    promoted
        bool, shape (n,).
    positions
        int64, shape (n,): where each row stood in its page, counted from 0.
    rejected
        The rows of the page that are not employees.
    digest
        Hash of the whole decoded page, the same however the server writes its JSON.
    before
        The digest of those rows of the page that were passed over, empty if none were.
    """

    page: int
    ids: NDArray[np.int64]
    network_ability: NDArray[np.float64]
    competence: NDArray[np.float64]
    promoted: NDArray[np.bool_]
    positions: NDArray[np.int64]
    rejected: tuple[Rejected, ...]
    digest: str
    before: str = ""

    @classmethod
    def of(
        cls,
        network_ability: ArrayLike,
        competence: ArrayLike,
        promoted: ArrayLike,
        *,
        page: int = 0,
        ids: ArrayLike | None = None,
    ) -> Batch:
        """Make a batch of rows known to be good, columns of shape (n,); ids 0..n-1 unless given.

        Examples
        --------
        >>> Batch.of([0.5, -1], [1, 2], [True, False]).promoted
        array([ True, False])
        """
        columns = (
            np.asarray(network_ability, np.float64),
            np.asarray(competence, np.float64),
            np.asarray(promoted, np.bool_),
        )
        positions = np.arange(len(columns[0]))
        known = positions if ids is None else np.asarray(ids, np.int64)
        return cls(page, known, *columns, positions, (), _digest(known, *columns))

    def __reduce__(self) -> tuple[type[Batch], tuple[object, ...]]:
        """Be pickled by the constructor; what dataclasses do by default takes thrice the time."""
        columns = (self.network_ability, self.competence, self.promoted)
        rest = (self.positions, self.rejected, self.digest, self.before)
        return Batch, (self.page, self.ids, *columns, *rest)

    @property
    def received(self) -> int:
        """Rows that the page brought, good and rejected."""
        return len(self.ids) + len(self.rejected)

    def head(self, length: int) -> Batch:
        """Return the first `length` rows, good and bad, of a whole page, as if there were no more.

        Examples
        --------
        >>> whole, half = Batch.of([1, 2], [3, 4], [True, False]), Batch.of([1], [3], [True])
        >>> whole.head(1).digest == half.digest
        True
        """
        part = self.take(self.positions < length)
        rejected = tuple(bad for bad in self.rejected if bad.position < length)
        columns = part.ids, part.network_ability, part.competence, part.promoted
        return replace(part, rejected=rejected, digest=_digest(*columns, rejected=rejected))

    def take(self, rows: NDArray[np.bool_]) -> Batch:
        """Return the batch with only the good rows where `rows`, bool of shape (n,), is true."""
        return replace(
            self,
            ids=self.ids[rows],
            network_ability=self.network_ability[rows],
            competence=self.competence[rows],
            promoted=self.promoted[rows],
            positions=self.positions[rows],
        )

    def bare(self) -> Batch:
        """Return the batch without its good rows; rejected rows and digest stay."""
        none = _NONE  # shared: a chunk of pages sends no rows once
        return replace(
            self,
            ids=none.ids,
            network_ability=none.network_ability,
            competence=none.competence,
            promoted=none.promoted,
            positions=none.positions,
        )


Number = Annotated[float, msgspec.Meta(ge=-MAX_ABS, le=MAX_ABS)]


class _Row(msgspec.Struct, gc=False):
    id: Annotated[int, msgspec.Meta(ge=0, le=MAX_ID)]
    competence: Number
    network_ability: Number
    promoted: bool | Literal[0, 1]


_decode_rows = msgspec.json.Decoder(list[_Row]).decode


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A decoded page whose number is not known here: `length` rows in all, good and bad."""

    length: int
    whole: Batch

    def batch(self, number: int, position: int = 0) -> Batch:
        """Return the rows from `position` on as the batch of page `number`."""
        w = self.whole
        columns = w.ids, w.network_ability, w.competence, w.promoted, w.positions
        batch = Batch(number, *columns, w.rejected, w.digest)
        if not position:
            return batch
        rejected = tuple(r for r in batch.rejected if r.position >= position)
        before = batch.head(position).digest
        return replace(batch.take(batch.positions >= position), rejected=rejected, before=before)


def _page(rows: list[_Row], positions: ArrayLike, rejected: tuple[Rejected, ...] = ()) -> Page:
    columns = (  # adding 0.0 takes the sign off a zero, which SQLite does not keep either
        np.array([r.id for r in rows], np.int64),
        np.array([r.network_ability for r in rows], np.float64) + 0.0,
        np.array([r.competence for r in rows], np.float64) + 0.0,
        np.array([r.promoted for r in rows], np.bool_),
    )
    where = np.asarray(positions, np.int64)
    whole = Batch(-1, *columns, where, rejected, _digest(*columns, rejected=rejected))
    return Page(len(rows) + len(rejected), whole)


def _digest(*columns: NDArray[np.generic], rejected: tuple[Rejected, ...] = ()) -> str:
    state = blake2b(b"".join([column.tobytes() for column in columns]), digest_size=16)
    for bad in rejected:  # without the reason, which is worded by today's msgspec
        state.update(f"{bad.position} {_canonical(bad.raw)}".encode())
    return state.hexdigest()


def _canonical(raw: str) -> str:
    """Return the text of a JSON value without what is a matter of taste; other text as it is."""
    try:
        return json.dumps(_decode_value(raw)[0], sort_keys=True)
    except (ValueError, RecursionError):
        return raw


def decode_page(body: bytes, page_size: int) -> Page:
    """Decode and validate the body of one page.

    A row is rejected, alone and with its raw text, if a field is missing or has another type, if
    a number is not finite or beyond ±1e100, if its id lies outside 0..2^63-1, or if it stands
    beyond the page size.

    Raises
    ------
    BadPage
        The body is not a JSON array.

    Examples
    --------
    >>> row = b'{"id": 7, "competence": 0.5, "network_ability": -1, "promoted": true}'
    >>> decode_page(b"[" + row + b", null]", page_size=10).whole.rejected
    (Rejected(position=1, reason='Expected `object`, got `null`', raw='null'),)
    """
    try:
        rows = _decode_rows(body)
    except (msgspec.MsgspecError, RecursionError):
        pass  # find out which rows are bad, one by one
    else:
        if len(rows) <= page_size:
            return _page(rows, np.arange(len(rows)))
    return _sift(body, page_size)


def _sift(body: bytes, page_size: int) -> Page:
    good: list[_Row] = []
    positions: list[int] = []
    rejected: list[Rejected] = []
    for position, (value, raw) in enumerate(_elements(body)):
        try:
            if position >= page_size:
                raise ValueError(f"beyond the page size of {page_size}")
            row = msgspec.convert(value, _Row)
            if not max(abs(row.competence), abs(row.network_ability)) <= MAX_ABS:  # or NaN
                raise ValueError(f"not a number within ±{MAX_ABS:g}")
        except ValueError as error:  # msgspec.ValidationError is one
            rejected.append(Rejected(position, str(error), raw[:_RAW_LIMIT]))
        else:
            good.append(row)
            positions.append(position)
    return _page(good, positions, tuple(rejected))


def _elements(body: bytes) -> Iterator[tuple[Any, str]]:
    """Yield each element of a JSON array with its raw text.

    The standard library's decoder is slow but takes the NaN and Infinity that some servers write.
    """
    text = body.decode(errors="replace")  # a wrong byte in one row is not the page's fault
    at = _skip_space(text, 0)
    if text[at : at + 1] != "[":
        raise BadPage(f"expected a JSON array, got {text[at : at + 20]!r}")
    at = _skip_space(text, at + 1)
    more = text[at : at + 1] != "]"
    while more:
        try:
            value, end = _decode_value(text, at)
        except (json.JSONDecodeError, RecursionError) as error:
            raise BadPage(f"invalid JSON: {error}") from error
        yield value, text[at:end]
        at = _skip_space(text, end)
        if text[at : at + 1] not in ("]", ","):
            raise BadPage(f"invalid JSON: expected ',' or ']' at character {at}")
        more = text[at] == ","
        at = _skip_space(text, at + 1) if more else at
    if _skip_space(text, at + 1) < len(text):
        raise BadPage(f"text after the array at character {at + 1}")


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 20 else float(digits)  # int() refuses thousands of digits


_decode_value = json.JSONDecoder(parse_int=_parse_int).raw_decode


def _skip_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\n", "\r"):
        at += 1
    return at


_NONE = Batch.of((), (), ())
