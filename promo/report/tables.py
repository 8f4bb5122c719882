"""Tables as HTML, for those who read numbers and for programs that do.

A number is written for people, and beside it, in the `value` of its ``data`` element, with every
digit that the store has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from itertools import groupby
from math import isfinite, isnan
from operator import attrgetter
from typing import Any

from promo.errors import printable
from promo.models.results import Coefficient, Metric

MOST_ROWS = 400  # of a table: what a store of ours never reaches

_LOSSES = (
    ("rows", "rows", ",.0f"), ("log_loss", "log loss", ".4f"),
    ("recent_log_loss", "lately", ".4f"), ("brier", "Brier", ".4f"),
    ("accuracy", "accuracy", ".1%"), ("roc_auc", "ROC AUC", ".3f"),
    ("behind", "behind", ".4f"), ("behind_low", "at least", ".4f"), ("drifts", "drifts", ",.0f"),
)  # fmt: skip
_COEFFICIENTS = (
    ("estimate", "estimate", "+.4f"), ("std_error", "SE", ".4f"),
    ("hc1_std_error", "HC1 SE", ".4f"), ("statistic", "t or z", "+.2f"), ("p_value", "p", "p"),
    ("ci_low", "low", "+.4f"), ("ci_high", "high", "+.4f"),
    ("av_p_value", "p at any time", "p"), ("av_low", "any time low", "+.4f"),
    ("av_high", "any time high", "+.4f"),
)  # fmt: skip


def number(value: float, form: str) -> str:
    """Return a number for people and for programs; nothing where there is none.

    Examples
    --------
    >>> number(0.12345, ".2f"), number(0.0004, "p"), number(float("nan"), ".2f")
    ('<data value="0.12345">0.12</data>', '<data value="0.0004">&lt;0.001</data>', '')
    """
    if isnan(value):
        return ""
    if not isfinite(value):
        text = "∞" if value > 0 else "-∞"
    elif form == "p":
        text = "&lt;0.001" if value < 0.001 else f"{value:.3f}"
    else:
        text = f"{value:{form}}"
    return f'<data value="{value!r}">{text}</data>'


def table(
    caption: str, head: Sequence[str], body: str, *, key: str, more: int = 0, texts: int = 0
) -> str:
    """Return a table that scrolls, by the keyboard too, where there is no room for its width."""
    left = f" {more:,} row{'s'[: more > 1]} more in the store." if more > 0 else ""
    kinds = [""] * (len(head) - texts) + [' class="text"'] * texts  # the last columns are texts
    titles = "".join(
        f'<th scope="col"{kind}>{escape(title)}</th>'
        for kind, title in zip(kinds, head, strict=True)
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-labelledby="{key}-caption">'
        f'<table id="{key}"><caption id="{key}-caption">{escape(caption)}{left}</caption>'
        f"<thead><tr>{titles}</tr></thead>{body}</table></div>"
    )


def row(name: str, cells: Iterable[str], texts: Iterable[str] = ()) -> str:
    """Return a row: its name, cells that are HTML, and texts."""
    numbers = "".join(f"<td>{cell}</td>" for cell in cells)
    told = "".join(f'<td class="text">{escape(printable(text))}</td>' for text in texts)
    return f'<tr><th scope="row">{escape(printable(name))}</th>{numbers}{told}</tr>'


def leaderboard(metrics: Sequence[Metric], level: str) -> str:
    """Return the scores of all that predict, the best first; nothing if there are none."""
    scores: dict[str, dict[str, float]] = {}
    for m in metrics[: 100 * MOST_ROWS]:
        scores.setdefault(m.model, {})[m.name] = m.value
    scores = {model: its for model, its in scores.items() if not isnan(_loss(its))}
    if not scores:
        return ""
    ranked = sorted(scores, key=lambda model: _loss(scores[model]))
    kept = [each for each in _LOSSES if any(each[0] in its for its in scores.values())]
    lines = [
        row(model, (number(scores[model].get(n, float("nan")), form) for n, _, form in kept))
        for model in ranked[:MOST_ROWS]
    ]
    caption = (
        "Scores by progressive validation: each row is predicted before it is learned. Losses are "
        "in nats a row; lately: the last 1,000 to 2,000 rows, by whole pages; behind: nats a row "
        f"to the leader, at least so many with {level} at any time; ROC AUC: two in one of 64 bins "
        "(sgd-logistic: 128) count as tied."
    )
    head = ("model", *(title for _, title, _ in kept))
    body = f"<tbody>{''.join(lines)}</tbody>"
    return table(caption, head, body, key="leaderboard", more=len(ranked) - MOST_ROWS)


def coefficients(found: Sequence[Coefficient], level: str) -> str:
    """Return every coefficient with all that is known of it."""
    body = _grouped(
        found[:MOST_ROWS],
        len(_COEFFICIENTS),
        lambda c: row(c.term, (number(getattr(c, n), form) for n, _, form in _COEFFICIENTS)),
    )
    caption = (
        f"Coefficients on the scale of the data. p and the {level} interval hold for one look at a "
        "number of rows chosen beforehand; those at any time hold however often one looks."
    )
    head = ("term", *(title for _, title, _ in _COEFFICIENTS))
    return table(caption, head, body, key="coefficients", more=len(found) - MOST_ROWS)


def metrics(found: Sequence[Metric]) -> str:
    """Return every metric."""
    body = _grouped(found[:MOST_ROWS], 1, lambda m: row(m.name, [number(m.value, ",.6g")]))
    caption = "All metrics of all models."
    return table(caption, ("metric", "value"), body, key="metrics", more=len(found) - MOST_ROWS)


def _grouped(found: Sequence[Any], cells: int, line: Callable[[Any], str]) -> str:
    return "".join(
        f'<tbody><tr><th scope="rowgroup" colspan="{cells + 1}">{escape(printable(model))}</th>'
        f"</tr>{''.join(map(line, group))}</tbody>"
        for model, group in groupby(found, key=attrgetter("model"))
    )


def _loss(scores: dict[str, float]) -> float:
    return scores.get("log_loss", float("nan"))
