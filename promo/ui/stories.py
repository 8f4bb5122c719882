"""Which causal story survives: the classes of diagrams, drawn, with their share of belief."""

from __future__ import annotations

from html import escape
from math import exp, isfinite

import ipywidgets as widgets
import numpy as np

from promo.models.graphs import INDEPENDENCIES, Independence, Story, implied, stories
from promo.models.results import Coefficient
from promo.models.stories import Stories
from promo.report.dag import diagram
from promo.report.figures import caveat_of_change, readable
from promo.snapshot import Snapshot
from promo.ui.common import html, sheet
from promo.ui.style import BLUE, headed, table
from promo.words import of_rows, percent

_POINTS = 60  # of a share's path
_DEAD = 0.001  # share below which a card fades


class StoriesFigure:
    """All stories as cards: diagrams that data cannot tell apart stand on one card.

    A card says the share of belief in its story, and draws how it rose and fell. The story chosen
    below is opened: what it implies, what was found, and by how much an implication fails.
    """

    rest_s = 1.0

    def __init__(self) -> None:
        self.shares = [html() for _ in stories()]
        self.open = widgets.Dropdown(
            options=[(readable(story), at) for at, story in enumerate(stories())],
            value=next(at for at, story in enumerate(stories()) if "->" in story.name),
            description="Open a story",
            style={"description_width": "initial"},
            layout=widgets.Layout(width="auto", max_width="460px"),
        )
        self.opened, self.note = html(), html()
        cards = [_card(story, share) for story, share in zip(stories(), self.shares, strict=True)]
        head = headed(
            "Which causal story survives?",
            "N network ability, C competence, P promoted. On one card stands what no data of this "
            "kind can tell apart; the line is the story's share over pages",
        )
        grid = widgets.Box(cards)
        grid.add_class("promo-stories")
        self.cards = widgets.VBox([sheet(), html(head), grid, self.note])
        self.findings = widgets.VBox([self.open, self.opened])
        self.widget = widgets.VBox([self.cards, self.findings])
        for box in (self.widget, self.cards, self.findings):
            box.add_class("promo")

    @property
    def choice(self) -> int:
        """Which story is opened."""
        return int(self.open.value)

    def update(self, snapshot: Snapshot) -> None:
        """Show the shares at a snapshot, and what the open story stands or falls by."""
        history = snapshot.history.thinned(_POINTS)
        shares = [snapshot.metric(Stories.name, f"share of {s.name}") for s in stories()]
        best = int(np.argmax(shares))
        for at, story in enumerate(stories()):
            path = history[Stories.name, f"share of {story.name}"]
            leads = at == best and len(path) > 0 and max(shares) > min(shares)
            self.shares[at].value = _share(shares[at], path, leads=leads)
        if not snapshot.rows:
            self.note.value = _note("Before the first row, every card is as likely as any other.")
        elif max(shares) == min(shares):
            self.note.value = _note("A variable has not varied: of it nothing can be said.")
        else:
            self.note.value = _note(
                f"After {of_rows(snapshot.rows)} the share is largest for <b>"
                f"{escape(readable(stories()[best]))}</b>: {escape(percent(shares[best]))}. "
                "Assumed: no hidden common cause, straight lines, all stories equally likely at "
                f"first.{caveat_of_change(snapshot)}"
            )
        self.opened.value = _opened(stories()[self.choice], snapshot)


def _note(text: str) -> str:
    return f'<div class="promo-note">{text}</div>'


def _card(story: Story, share: widgets.HTML) -> widgets.VBox:
    drawings = "".join(diagram(graph) for graph in story.graphs)
    title = f'<div class="promo-card-title">{escape(readable(story))}</div>'
    text = f'{title}<div class="promo-card-drawings">{drawings}</div>'
    card = widgets.VBox([html(text), share])
    card.add_class("promo-card")
    if len(story.graphs) > 3:
        card.add_class("promo-card-wide")
    return card


def _share(share: float, path: np.ndarray, *, leads: bool) -> str:
    """Return a card's lower half: its share as a bar and a number, and the way it came."""
    kind = "leads" if leads else "dead" if share < _DEAD else "lives"
    line = ""
    if len(path) > 1:
        xs = np.linspace(1, 119, len(path))
        points = " ".join(f"{x:.0f},{23 - 22 * y:.1f}" for x, y in zip(xs, path, strict=True))
        line = f'<polyline points="{points}" fill="none" stroke="{BLUE}" stroke-width="1.5"/>'
    return (
        f'<div class="promo-share {kind}"><div class="promo-bar">'
        f'<div style="width: {100 * share:.1f}%"></div></div><b>{escape(percent(share))}</b>'
        f'<svg viewBox="0 0 120 24" width="100%" height="24" preserveAspectRatio="none" '
        f'aria-hidden="true">{line}</svg></div>'
    )


def _opened(story: Story, snapshot: Snapshot) -> str:
    """Return what a story implies, and what was found, as HTML."""
    evidence = {
        s.name: snapshot.metric(Stories.name, f"log evidence of {s.name}") for s in stories()
    }
    behind = max(evidence.values()) - evidence[story.name]
    if not snapshot.rows:
        standing = "Nothing is known yet."
    elif max(evidence.values()) == min(evidence.values()):
        standing = "Nothing is known that tells stories apart."
    elif behind == 0:
        standing = "No other story has as much evidence."
    else:
        odds = (
            f"one to {exp(behind):,.{1 if behind < 3 else 0}f}"
            if behind < 30
            else f"less than one to 10^{behind / 2.303:,.0f}"
        )
        standing = f"It is {behind:,.1f} nats behind the best: the odds are {odds}."
    says = implied(story.graphs[0])
    lines = "".join(
        f'<tr><th scope="row">{escape(plain(each))}</th>'
        f"<td>{'yes' if each in says else 'no'}</td>"
        f"{_found(snapshot.coefficient(Stories.name, str(each)), each in says)}</tr>"
        for each in INDEPENDENCIES
    )
    return f'<div class="promo-note"><b>{escape(readable(story))}.</b> {standing}</div>' + table(
        "What the story implies, and what was found",
        ("independence", "implied", "correlation", (f"{snapshot.level} at any time", 2), "verdict"),
        f"<tbody>{lines}</tbody>",
        "promo-findings",
    )


def plain(independence: Independence) -> str:
    """Return an independence for people."""
    return str(independence).replace("_||_", "⊥").replace("network_ability", "network ability")


def _found(r: Coefficient, is_implied: bool) -> str:
    if not isfinite(r.av_low):
        return "<td></td><td></td><td></td><td>not known yet</td>"
    gone = not r.av_low <= 0 <= r.av_high
    far = max(-r.av_low, r.av_high)
    if is_implied:
        so = (
            f'<b class="failed">fails by {abs(r.estimate):.3f}</b>'
            if gone
            else f"none beyond {far:.3f}"
        )
    else:
        so = "dependent, as it allows" if gone else "none seen"
    return (
        f"<td>{r.estimate:+.3f}</td><td>{r.av_low:+.3f}</td><td>{r.av_high:+.3f}</td><td>{so}</td>"
    )
