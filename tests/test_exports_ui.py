"""Tests of exports, the log of events and the quality of the data, by comms that write down."""

import csv
import io
import re
import threading
from xml.etree import ElementTree

import numpy as np
import pytest

from clocks import wait_for
from comms import Comm, text_of
from promo import ui
from promo.fork import fork
from promo.models.default import USUAL
from promo.opening import open_stream
from promo.report import report
from promo.store import Reader
from promo.ui import exports as exports_module
from servers import contract_server, employees

ROWS = 3000
EVIL = "<img src=x onerror=alert(1)>"
pytestmark = pytest.mark.usefixtures("comms")


@pytest.fixture
def trainer(api, tmp_path):
    with open_stream(api.url, api.source, tmp_path / "my stream.db", USUAL) as trainer:
        yield trainer


@pytest.fixture
def faulty(tmp_path):
    """Return a trainer of a stream with a duplicate, a conflict and two rows that are none."""
    rows = employees(60)
    rows[21] = dict(rows[3])
    rows[22] = rows[4] | {"competence": 99.0}
    rows[35] = rows[35] | {"competence": EVIL}
    rows[36] = rows[36] | {"promoted": "maybe"}
    with (
        contract_server(rows) as url,
        open_stream(url, "rows", tmp_path / "promo.db", USUAL) as trainer,
    ):
        yield trainer


def files():
    """Return what was sent to be saved so far: name, media type, bytes."""
    sent = [(data["content"], buffers) for _, _, data, buffers in Comm.sent
            if data.get("method") == "custom"]  # fmt: skip
    return [(content["name"], content["type"], buffers[0]) for content, buffers in sent if content]


def press(button):
    """Press a button, which must return before the work is done; return the file sent for it."""
    before = len(files())
    button.click()
    wait_for(lambda: len(files()) > before)
    return files()[before]


# -- exports -----------------------------------------------------------------------------------


def test_the_report_is_that_of_the_store(trainer):
    """The file is the report, named after the store."""
    trainer.run(20)
    exports = ui.Exports(trainer)
    name, kind, data = press(exports.report)
    assert (name, kind) == ("my stream-report.html", "text/html")
    with Reader(trainer.store.path) as reader:
        now = report(reader)
    cut = slice(now.index("</header>"), None)  # before that stands when it was made
    assert data.decode()[data.decode().index("</header>") :] == now[cut]
    wait_for(lambda: "my stream-report.html, after 200 rows, is on its" in exports.message.value)


def test_what_is_said_of_a_report_is_of_that_report(trainer, monkeypatch):
    """Also if a page is committed while it is written."""

    def slow(reader):
        written = report(reader)
        trainer.run(1)
        return written

    monkeypatch.setattr(exports_module, "report", slow)
    trainer.run(20)
    exports = ui.Exports(trainer)
    press(exports.report)
    wait_for(lambda: "my stream-report.html, after 200 rows, is on its" in exports.message.value)


@pytest.mark.parametrize("table", ["coefficient", "metric", "page", "event", "data"])
def test_a_table_goes_to_the_browser(trainer, table):
    """The file has a line for each row, and nothing of it is left beside the store."""
    trainer.run(20)
    exports = ui.Exports(trainer)
    exports.table.value = table
    name, kind, data = press(exports.csv)
    assert (name, kind) == (f"my stream-{table}.csv", "text/csv")
    with Reader(trainer.store.path) as reader:
        [[count]] = reader.query(f"SELECT count(*) FROM {table}")
    assert len([*csv.reader(io.StringIO(data.decode()))]) == count + 1
    wait_for(lambda: not [*trainer.store.path.parent.glob("*.part")])
    assert [*trainer.store.path.parent.glob("*.csv")] == []


def test_a_large_table_is_written_beside_the_store(trainer, monkeypatch):
    """What a browser should not be burdened with becomes a file, and the reader is told where."""
    monkeypatch.setattr(exports_module, "MOST_BYTES", 1000)
    trainer.run(20)
    exports = ui.Exports(trainer)
    exports.table.value = "data"
    exports.csv.click()
    path = trainer.store.path.with_name("my stream-data.csv")
    wait_for(lambda: str(path) in exports.message.value)
    assert len(path.read_text().splitlines()) == 201
    assert path.stat().st_mode & 0o77 == 0  # as private as the store
    assert files() == []
    assert Comm.sent[-2][2] == {"method": "custom", "content": {}}  # the press was answered
    assert [*path.parent.glob("*.part")] == []


@pytest.mark.parametrize("key", ["sample", "loss", "slopes", "stories"])
def test_a_figure_stands_alone(trainer, key):
    """Each figure is an SVG with its own style; as PNG it is named so, for the browser to paint."""
    trainer.run(20)
    exports = ui.Exports(trainer)
    exports.update(trainer.snapshot)
    exports.figure.value = key
    name, kind, data = press(exports.svg)
    assert (name, kind) == (f"my stream-{key}.svg", "image/svg+xml")
    assert data.startswith(b'<svg xmlns="http://www.w3.org/2000/svg"')
    assert b"<style>" in data
    assert press(exports.png) == (f"my stream-{key}.png", kind, data)


def test_the_surface_is_what_is_seen(trainer):
    """Where the page has one, "Who gets promoted?" is that, with its expert, shades and people."""
    surface = ui.SurfaceFigure(trainer, "Who gets promoted?")
    exports = ui.Exports(trainer, surface=surface)
    titles = dict(exports.figure.options)
    assert titles["Who gets promoted?"] == exports.figure.value == "surface"
    exports.svg.click()
    wait_for(lambda: "nothing to draw yet" in exports.message.value)
    trainer.run(20)
    wait_for(lambda: surface.update(trainer.snapshot) or surface.map.visible)
    name, kind, data = press(exports.svg)
    drawn = ElementTree.fromstring(data)
    assert (name, kind) == ("my stream-surface.svg", "image/svg+xml")
    areas = {"red": 0.0, "even": 0.0, "blue": 0.0}
    for path in drawn.iter("{http://www.w3.org/2000/svg}path"):
        boxes = re.findall(r"M([-0-9.]+) ([-0-9.]+)H([-0-9.]+)V([-0-9.]+)H", path.get("d"))
        for left, top, right, bottom in boxes:
            red, _, blue = bytes.fromhex(path.get("style")[6:12])
            shade = "red" if red > blue else "blue" if blue > red else "even"
            areas[shade] += (float(right) - float(left)) * (float(bottom) - float(top))
    assert sum(areas.values()) == pytest.approx(350 * 254, rel=0.01)  # the whole field
    proba = np.array(surface.map.color)
    weight = np.ones(len(proba))
    weight[[0, -1]] = 0.5  # those at an edge are cut in half
    likely = (weight[:, None] * weight * (np.rint(40 * proba) > 20)).sum() / weight.sum() ** 2
    assert areas["blue"] / (350 * 254) == pytest.approx(likely, abs=0.01)
    text = "".join(drawn.itertext())
    assert f"says {surface.expert.value}" in text
    assert f"from {proba.min():.0%} to {proba.max():.0%}; 120 people" in text
    assert {"even odds", "promoted", "not promoted"} <= {each.text for each in drawn.iter()}


def test_a_figure_is_that_of_the_snapshot_shown(trainer):
    """While the stream goes on, or the reader looks at the past, what is seen is what is saved.

    The report is of all that is stored; which is which is said.
    """
    trainer.run(20)
    exports = ui.Exports(trainer)
    exports.update(trainer.snapshot)
    trainer.run(20)
    assert b"of 200 rows" in press(exports.svg)[2]
    wait_for(lambda: "sample.svg, after 200 rows, is on" in exports.message.value)
    assert b"400 rows learned" in press(exports.report)[2]
    wait_for(lambda: "report.html, after 400 rows, is on" in exports.message.value)


def test_a_figure_shows_the_run_beside_it(trainer, tmp_path):
    """A fork is drawn dashed from where it left, as on the board, and told of in words."""
    trainer.run(20)
    path = tmp_path / "fork.db"
    with Reader(trainer.store.path) as source:
        fork(source, 9, path)
    with open_stream(trainer.stream.base_url, trainer.store.source, path) as other:
        other.set_learning_rate("sgd-logistic", 0.5)
        other.run(20)
        run = ui.StillRun("fork", other.snapshot, since=100)
    exports = ui.Exports(trainer, run)
    exports.update(trainer.snapshot)
    for key, names in (
        ("loss", ["fork, sgd-logistic"]),
        ("slopes", ["fork, without promoted", "fork, with promoted"]),
    ):
        exports.figure.value = key
        drawn = press(exports.svg)[2].decode()
        starts = re.findall(r'class="purple"[^>]* stroke-linejoin="round" d="M([0-9.]+)', drawn)
        assert len(starts) == len(names)
        assert all(float(x) == pytest.approx(350 / 3, abs=0.1) for x in starts)  # 100 of 300 rows
        for name in names:
            assert f">{name.removesuffix(' promoted')}</text>" in drawn  # what there is room for
            assert re.search(f"Beside it, {name}: [^ ]+ after 300 rows", drawn)


def test_what_cannot_be_made_is_told_and_answered(trainer):
    """Without a row there is nothing to draw; without a store nothing to report. Both are said."""
    exports = ui.Exports(trainer)
    exports.svg.click()
    wait_for(lambda: "nothing to draw" in exports.message.value)
    exports._store = trainer.store.path.with_name("gone.db")
    exports.report.click()
    wait_for(lambda: "does not exist" in exports.message.value)
    refusals = [data for _, _, data, _ in Comm.sent if data.get("content") == {}]
    assert len(refusals) == 2


def test_a_press_does_not_wait(trainer, monkeypatch):
    """The callback returns while the report is still being made."""
    made = threading.Event()
    monkeypatch.setattr(exports_module, "report", lambda reader: made.wait(10) and "<p>late</p>")
    exports = ui.Exports(trainer)
    exports.report.click()
    assert not made.is_set()
    assert files() == []
    made.set()
    wait_for(files)


def test_closing_the_views_closes_the_exports(trainer):
    """The browser's part is closed with the rest."""
    exports = ui.Exports(trainer)
    ui.Publisher(trainer, [exports]).close()
    assert exports.download.comm is None


# -- the log -----------------------------------------------------------------------------------


def lines(log):
    """Return the lines of the log as a reader sees them."""
    return [text_of(line.replace("<", " <")).split() for line in log.table.value.split("<tr>")[2:]]


def test_the_log_tells_what_happened_newest_first(trainer):
    """Events stand in words with time, page and kind."""
    trainer.run(5)
    trainer.set_learning_rate("sgd-logistic", 0.5)
    trainer.run(5)
    trainer.stop()
    trainer.join()
    log = ui.EventLog(trainer)
    log.update(trainer.snapshot)
    told = [" ".join(line[1:]) for line in lines(log)]
    assert told == [
        "10 stopped Stopped with 100 rows learned.",
        "5 learning rate sgd-logistic learns at 0.5 from here on, before at 0.01.",
        "0 started Started with 0 rows learned.",
    ]


def test_the_log_is_filtered_by_kind(trainer):
    """One kind alone is shown, and the publisher sees the choice."""
    trainer.run(5)
    log = ui.EventLog(trainer)
    assert (log.kind.index, log.kind.label) == (0, "everything")
    assert log.kind.value is not None  # of which ipywidgets makes no choice, or one, by chance
    log.update(trainer.snapshot)
    before = log.choice
    log.kind.value = "learning_rate"
    assert log.choice != before
    log.update(trainer.snapshot)
    assert text_of(log.table.value) == "Nothing."


def test_the_log_is_bounded(trainer):
    """However many events there are, a hundred are shown, the newest."""
    for at in range(150):
        trainer.note("party", guests=at)
    log = ui.EventLog(trainer)
    log.update(trainer.snapshot)
    assert len(lines(log)) == 100
    assert '"guests": 149' in text_of(log.table.value)
    assert '"guests": 49}' not in text_of(log.table.value)


def test_the_log_of_a_page_in_the_past_ends_there(trainer):
    """Events of later pages are not shown with a snapshot of the past."""
    trainer.run(5)
    past = trainer.snapshot
    trainer.run(5)
    trainer.stop()
    trainer.join()
    log = ui.EventLog(trainer)
    log.update(past)
    assert "stopped" not in text_of(log.table.value)
    log.update(trainer.snapshot)
    assert "stopped" in text_of(log.table.value)


def test_an_event_of_the_reader_appears_though_no_page_comes(trainer):
    """What is noted while the stream rests, or before it began, reaches the log."""
    log = ui.EventLog(trainer)
    ui.Publisher(trainer, [log], frames_per_s=50)
    trainer.note("story", arrows=[["competence", "promoted"]], predictions={})
    wait_for(lambda: "competence → promoted" in text_of(log.table.value))
    trainer.run(3)
    trainer.note("party", guests=7)
    wait_for(lambda: '"guests": 7' in text_of(log.table.value))


# -- the quality of the data -------------------------------------------------------------------


def test_what_became_of_the_rows_adds_up(faulty):
    """The five counts, the identity, and the store's place and size."""
    faulty.run()
    quality = ui.DataQuality(faulty)
    quality.update(faulty.snapshot)
    assert "60 = 56 + 1 + 1 + 2, so no row is lost" in text_of(quality.totals.value)
    place = text_of(quality.file.value)
    assert str(faulty.store.path) in place
    assert " MB" in place


def test_the_refused_rows_are_shown_as_text(faulty):
    """Reason and row of the last refused, the newest first, escaped."""
    faulty.run()
    quality = ui.DataQuality(faulty)
    quality.update(faulty.snapshot)
    markup = quality.refused.value
    assert "<img" not in markup
    assert "&lt;img src=x onerror" in markup
    assert EVIL in text_of(markup)
    assert "is stored with other values" in text_of(markup)
    pages = [int(line.split("</td>")[0].removeprefix("<td>")) for line in markup.split("<tr>")[2:]]
    assert len(pages) == 3
    assert pages == sorted(pages, reverse=True)


def test_hostile_events_are_shown_as_text(faulty):
    """A kind or a detail that is markup is text in the log."""
    faulty.note(EVIL, guests=EVIL)
    log = ui.EventLog(faulty)
    log.update(faulty.snapshot)
    assert "<img" not in log.table.value
    assert EVIL in text_of(log.table.value)
