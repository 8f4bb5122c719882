"""Take it with you: the report, tables and figures, saved by the browser."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from tempfile import mkstemp

import ipywidgets as widgets

from promo.report import TABLES, Beside, drawings, report, write_csv
from promo.snapshot import Snapshot
from promo.store import Reader
from promo.trainer import Trainer
from promo.ui.beside import Run
from promo.ui.common import html, sheet
from promo.ui.download import Download
from promo.ui.style import headed, row_layout
from promo.ui.surface import SurfaceFigure

MOST_BYTES = 20_000_000  # that go through the browser; a larger table is written beside the store
_FIGURES = (
    ("Who gets promoted?", "sample"),
    ("How well do we predict?", "loss"),
    ("Does competence move network ability?", "slopes"),
    ("Which causal story survives?", "stories"),
)
_SVG = "image/svg+xml"
_FIXED = {"width": "auto", "flex": "0 0 auto"}


class Exports:
    """Buttons that save the report, a table as CSV, a figure as SVG or PNG.

    Report and tables are those of the store; a figure is that of the snapshot shown. A press hands
    the work to a thread of its own, so that neither kernel nor figures wait for it.

    Parameters
    ----------
    trainer
        Whose store to read.
    beside
        Another run, which figures show as well.
    surface
        The page's figure of the people, where it is not a `SampleFigure`.
    """

    def __init__(
        self, trainer: Trainer, beside: Run | None = None, surface: SurfaceFigure | None = None
    ) -> None:
        self._store, self._snapshot = trainer.store.path, trainer.snapshot
        self._other, self._surface = beside, surface
        self._worker = ThreadPoolExecutor(1, "promo-exports")
        self.report = _button("Report", "Save all that the store holds as one HTML file")
        self.table = _choice("Table", [*TABLES])
        self.csv = _button("CSV", "Save the table for a spreadsheet")
        figures = [
            (title, "surface" if surface and key == "sample" else key) for title, key in _FIGURES
        ]
        self.figure = _choice("Figure", figures)
        self.svg = _button("SVG", "Save the figure as a drawing")
        self.png = _button("PNG", "Save the figure as a picture")
        self.message = html()
        self._say("Nothing is saved yet.")
        self._on(self.report, self._report)
        self._on(self.csv, lambda: self._csv(self.table.value))
        self._on(self.svg, lambda: self._draw(self.figure.value, "svg"))
        self._on(self.png, lambda: self._draw(self.figure.value, "png"))
        self.download = Download(layout=widgets.Layout(display="none"))
        rows = [[self.report], [self.table, self.csv], [self.figure, self.svg, self.png]]
        legend = "Report and tables are of all rows stored, a figure is of the page shown"
        head = headed("Take it with you", legend)
        groups = widgets.HBox([widgets.HBox(row) for row in rows], layout=row_layout())
        self.widget = widgets.VBox([sheet(), html(head), groups, self.message, self.download])
        self.download.within = f"promo-exports-{self.download.model_id}"
        self.widget.add_class("promo").add_class(self.download.within)

    def update(self, snapshot: Snapshot) -> None:
        """Take note of what is shown."""
        self._snapshot = snapshot

    def _on(self, button: widgets.Button, make: Callable[[], str]) -> None:
        button.on_click(lambda _: self._worker.submit(self._made, make))

    def _made(self, make: Callable[[], str]) -> None:
        try:
            self._say(make())
        except Exception as error:  # shown nowhere else
            self.download.refuse()
            self._say(str(error) or repr(error), "promo-problem")

    def _say(self, text: str, kind: str = "promo-note") -> None:
        said = f'<div class="promo-brief {kind}" role="status">{escape(text)}</div>'
        self.message.value = said

    def _report(self) -> str:
        with Reader(self._store) as reader, reader.at_one_commit():
            page, rows = report(reader), reader.rows
        return self._save("report.html", "text/html", page.encode(), rows)

    def _csv(self, table: str) -> str:
        path = self._beside(f"{table}.csv")
        descriptor, name = mkstemp(".part", dir=path.parent)  # as private as the store
        part = Path(name)
        try:
            with (
                open(descriptor, "w", encoding="utf-8", newline="") as file,
                Reader(self._store) as reader,
                reader.at_one_commit(),
            ):
                write_csv(reader, table, file)
                rows = reader.rows
            size = part.stat().st_size
            if size <= MOST_BYTES:
                return self._save(f"{table}.csv", "text/csv", part.read_bytes(), rows)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self.download.refuse()
        return f"{size / 1e6:,.1f} MB are much for a browser, so the table lies at {path}"

    def _draw(self, key: str, ending: str) -> str:
        snapshot, other = self._snapshot, self._other
        run = other.snapshot if other else None
        beside = Beside(other.name, other.since, run) if other and run else None
        drawn = {each.key: each for each in drawings(snapshot, beside)}
        if self._surface and (surface := self._surface.drawing()):
            drawn[surface.key] = surface
        if key not in drawn:
            self.download.refuse()
            return "There is nothing to draw yet."
        return self._save(f"{key}.{ending}", _SVG, drawn[key].alone().encode(), snapshot.rows)

    def _save(self, name: str, kind: str, data: bytes, rows: int) -> str:
        path = self._beside(name)
        self.download.save(path.name, kind, data)
        return f"{path.name}, after {rows:,} rows, is on its way to the browser's downloads."

    def _beside(self, name: str) -> Path:
        return self._store.with_name(f"{self._store.stem}-{name}")


def _button(text: str, tooltip: str) -> widgets.Button:
    return widgets.Button(description=text, tooltip=tooltip, layout=_FIXED)


def _choice(label: str, options: object) -> widgets.Dropdown:
    return widgets.Dropdown(
        options=options,
        description=label,
        style={"description_width": "initial"},
        layout=widgets.Layout(width="auto", min_width="0"),
    )
