"""Tests of the report against the store that it is made from, and in a browser."""

import csv
import dataclasses
import html
import io
import json
import math
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from html.parser import HTMLParser

import numpy as np
import pytest

from pages import bad, batch, employees, pages_of, split
from promo import words
from promo.batch import Rejected
from promo.cli import main
from promo.errors import PromoError, StoreMismatch
from promo.line import Line
from promo.models.default import FULL, default_models
from promo.report import TABLES, report, write_csv, write_report
from promo.report.contents import contents
from promo.report.svg import Axis, Plot
from promo.store import Event, Reader, Store
from tabs import complaint

SOURCE = "world:collider?rows=100000&seed=2021"
EVIL = "<script>alert('evil')</script>\" onload=alert(1) '"
PAGES, REFUSED = 120, 3


def learned(path, batches, names=FULL, source=SOURCE):
    """Learn batches into a store, without HTTP and threads; change a rate half way."""
    models, settings = default_models(names, source)
    with Store(path, source=source, page_size=10, settings=settings) as store:
        line = Line(store, models)
        line.record("started")
        for at, each in enumerate(batches):
            if at == len(batches) // 2:
                line.change_rate("sgd-logistic", 0.5)
            line.learn(each)
        line.record("stopped")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return a store with all that a stream may leave behind."""
    path = tmp_path_factory.mktemp("store") / "promo.db"
    batches = pages_of(employees(10 * PAGES))
    batches[7] = dataclasses.replace(batches[7], rejected=(bad(10),))
    batches[9] = dataclasses.replace(batches[9], rejected=(Rejected(11, EVIL, EVIL),))
    conflict = batch(PAGES, [5.0], [5.0], [True], ids=[3])
    learned(path, [*batches, conflict])
    return path


@pytest.fixture(scope="module")
def page(path):
    with Reader(path) as reader:
        return report(reader)


def rows_of(page, key):
    """Return the rows of a table: (group, name, cells as programs read them)."""
    [body] = re.findall(rf'<table id="{key}">.*?</thead>(.*?)</table>', page)
    rows, group = [], None
    for kind, name, cells in re.findall(
        r'<tr><th scope="(rowgroup|row)"[^>]*>(.*?)</th>(.*?)</tr>', body
    ):
        if kind == "rowgroup":
            group = html.unescape(name)
        else:
            values = re.findall(r"<td>(.*?)</td>", cells)
            rows.append(
                (
                    group,
                    html.unescape(name),
                    [re.sub(r'<data value="(.*?)">.*', r"\1", v) for v in values],
                )
            )
    return rows


def same(cell, value):
    """Whether a cell has every digit of a value, or neither has any."""
    return cell == "" if math.isnan(value) else float(cell) == value


def test_every_coefficient_is_that_of_the_store(page, path):
    """Model, term and all ten numbers, to the bit, and the text beside is a rounding of them."""
    with Reader(path) as reader:
        expected = reader.coefficients()
    rows = rows_of(page, "coefficients")
    assert len(rows) == len(expected) > 20
    for (model, term, cells), c in zip(rows, expected, strict=True):
        assert (model, term) == (c.model, c.term)
        numbers = (c.estimate, c.std_error, c.hc1_std_error, c.statistic, c.p_value, c.ci_low)
        numbers += (c.ci_high, c.av_p_value, c.av_low, c.av_high)
        assert all(map(same, cells, numbers))
    for value, text in re.findall(r'<data value="(-?\d[^"]*)">([-+]?[\d.]+)</data>', page):
        decimals = len(text.partition(".")[2])
        assert abs(float(text) - float(value)) <= 0.5001 * 10**-decimals


def test_every_metric_is_that_of_the_store(page, path):
    """All metrics, to the bit; and of those who predict, the best stands first."""
    with Reader(path) as reader:
        expected = reader.metrics()
    rows = rows_of(page, "metrics")
    assert [row[:2] for row in rows] == [m[:2] for m in expected]
    assert all(same(cells[0], m.value) for (_, _, cells), m in zip(rows, expected, strict=True))
    losses = {m.model: m.value for m in expected if m.name == "log_loss"}
    board = rows_of(page, "leaderboard")
    assert [name for _, name, _ in board] == sorted(losses, key=losses.get)
    assert [float(cells[1]) for _, _, cells in board] == sorted(losses.values())


def test_what_became_of_the_rows_adds_up(page, path):
    """The totals are the store's, and the refused rows are told with their reasons."""
    with Reader(path) as reader:
        totals = reader.totals()
    told = re.findall(r'<data value="(\d+)">[\d,]+</data> (\w+)', page)
    assert {name: int(value) for value, name in told} == totals
    assert totals["rejected"] + totals["conflicting"] == REFUSED == len(rows_of(page, "quarantine"))
    assert "id 3 is stored with other values" in page


def test_events_are_told_in_words_newest_first(page):
    """Each event of the store is a line."""
    told = [re.sub("<.*?>", " ", line) for line in re.findall(r"<tr>.*?</tr>", page)]
    events = [line for line in told if " started " in line or " learning_rate " in line]
    assert len(events) == 2
    assert "sgd-logistic learns at 0.5 from here on, before at 0.01." in events[0]
    assert "Started with 0 rows learned." in events[1]


def test_figures_say_the_numbers_in_words(page, path):
    """Each figure has a title, a description and a caption, with numbers of the store."""
    with Reader(path) as reader:
        slope = next(c for c in reader.coefficients() if c[:2] == NULL_SLOPE)
    figures = re.findall(r"<figure>.*?</figure>", page)
    assert len(figures) == 4
    for figure in figures:
        [key] = re.findall(r'aria-labelledby="(\w+)-title"', figure)
        [described] = re.findall(rf'<desc id="{key}-desc">(.*?)</desc>', figure)
        assert f'<title id="{key}-title">' in figure
        assert f"<figcaption>{described}</figcaption>" in figure
    assert f"slope {slope.estimate:+.3f}" in page
    assert len(re.findall('id="', page)) == len({*re.findall('id="(.*?)"', page)})


NULL_SLOPE = ("network_ability ~ competence", "competence")


class Markup(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        """Take note of an element."""
        self.tags.add(tag)
        self.attributes |= {*attrs}


def test_what_the_store_holds_is_text_never_markup(tmp_path):
    """Hostile source, settings, names, events and rows bring no element and no attribute."""
    path = tmp_path / "evil.db"
    learned(path, pages_of(employees(200)))
    with Reader(path) as reader:
        sound = Markup(report(reader))
    with closing(sqlite3.connect(path)) as connection, connection:
        settings = json.dumps({EVIL: EVIL, "alpha": EVIL, "g": [EVIL]})
        connection.execute(
            "UPDATE stream SET source = ?1, settings = ?2, created_at = ?1, promo_version = ?1",
            (EVIL, settings),
        )
        connection.execute(
            "UPDATE coefficient SET model = ?1 WHERE model = 'sgd-logistic'", (EVIL,)
        )
        connection.execute("UPDATE coefficient SET term = ?1 WHERE term = 'promoted'", (EVIL,))
        connection.execute("UPDATE metric SET model = ?1 WHERE model = 'sgd-logistic'", (EVIL,))
        connection.execute("UPDATE metric SET name = ?1 WHERE name = 'accuracy'", (EVIL,))
        for kind in (EVIL, "learning_rate", "story", "conflict"):
            for detail in ({EVIL: EVIL}, {"model": EVIL, "to": 1, "from": 2}):
                connection.execute(
                    "INSERT INTO event (page, at, kind, detail) VALUES (1, ?, ?, ?)",
                    (EVIL, kind, json.dumps(detail)),
                )
        connection.execute(
            "UPDATE event SET detail = ? WHERE kind = 'learning_rate' AND seq < 5",
            (json.dumps({"rows": 3, "model": EVIL, "to": 1.0}),),
        )
        connection.execute("DELETE FROM event WHERE kind = 'learning_rate' AND seq >= 5")
        connection.execute("INSERT INTO quarantine VALUES (1, 1, ?1, ?2)", (EVIL, EVIL * 10**5))
    with Reader(path) as reader:
        page = report(reader)
    evil = Markup(page)
    assert evil.tags <= sound.tags | {"table", "tbody", "td"}
    assert "script" not in evil.tags
    assert {name for name, _ in evil.attributes} == {name for name, _ in sound.attributes}
    assert page.count("&lt;script&gt;alert(&#x27;evil&#x27;)") > 10
    assert len(page) < 300_000


def test_the_report_stays_small(tmp_path):
    """Five times the pages are no more than a few per cent more bytes, and 300 kB at most."""
    sizes = []
    for pages in (250, 1250):
        path = tmp_path / f"{pages}.db"
        rows = employees(2 * pages)
        learned(path, split(rows, range(2, 2 * pages, 2)), ["sgd-logistic"])
        sizes.append(write_report(path, tmp_path / "report.html").stat().st_size)
    assert sizes[1] < 1.3 * sizes[0]
    assert max(sizes) < 300_000


def test_a_report_of_nothing_says_so(tmp_path):
    """A store without a page gives a report all the same."""
    learned(tmp_path / "new.db", [])
    with Reader(tmp_path / "new.db") as reader:
        page = report(reader)
    assert "No page is learned yet" in page
    assert "<svg" not in page


def test_a_report_of_ten_rows_draws_what_is_known(tmp_path):
    """Before intervals and scores are defined, what is undefined is empty."""
    learned(tmp_path / "new.db", pages_of(employees(10)))
    with Reader(tmp_path / "new.db") as reader:
        page = report(reader)
    assert "nan" not in re.sub("<style>.*?</style>", "", page)
    assert page.count("<figure>") == 4


def test_a_report_of_one_row_keeps_numbers_clear_of_the_title(tmp_path):
    """A single loss is a path without a spread: its axis has short numbers all the same.

    And one row is not "1 rows".
    """
    learned(tmp_path / "one.db", pages_of(employees(1)))
    with Reader(tmp_path / "one.db") as reader:
        page = report(reader)
    beside = re.findall(r'<text x="56"[^>]*>(.*?)</text>', page)
    assert beside
    assert max(map(len, beside)) <= len("0.691")
    assert "1 row learned" in page
    assert not re.search(r"\b1 rows", page)


def test_every_line_has_its_name():
    """Where it ends, or leaves the field; one that lies outside is said to, with an arrow."""
    plot, ends = Plot(Axis("x", 0, 10), Axis("y", 0, 1)), np.array([0.0, 10.0])
    plot.line(ends, np.array([0.2, 0.4]), "blue", label="within")
    plot.line(ends, np.array([0.8, -0.5]), "ink", label="leaves")
    plot.line(ends, np.array([2.0, 3.0]), "grey", label="above")
    plot.line(ends, np.array([-2.0, -3.0]), "grey", label="below")
    drawn = plot.svg("key", "title", "words")
    names = re.findall(r'<text class="key"[^>]*>(.*?)</text>', drawn)
    assert sorted(names) == ["above ↑", "below ↓", "leaves", "within"]


class Overtaken(Reader):
    """A reader of a store to which pages are written whenever it asks for something."""

    line, waiting = None, ()

    def query(self, sql, *values):
        """Have another page committed, then answer."""
        if self.waiting and self.line:
            self.line.learn(self.waiting.pop(0))
        return super().query(sql, *values)


def test_a_report_of_a_running_stream_is_of_one_page(tmp_path):
    """Pages committed while a report is made are not in it, not even in part."""
    batches = pages_of(employees(1000))
    models, settings = default_models()
    with Store(tmp_path / "a.db", source="x", page_size=10, settings=settings) as store:
        line = Line(store, models)
        for each in batches[:10]:
            line.learn(each)
        with Overtaken(store.path) as reader:
            reader.line, reader.waiting = line, batches[10:]
            held = contents(reader)
        shown, written = held.snapshot, store.page
    assert written - shown.page > 10
    assert shown.rows == shown.totals["inserted"] == 10 * (shown.page + 1)
    assert shown.metric("sgd-logistic", "rows") == shown.rows
    assert shown.history.pages[-1] == shown.page


def test_a_history_that_does_not_fit_is_refused(tmp_path):
    """A metric that is missing from a page of the past is an error that says so."""
    path = tmp_path / "a.db"
    learned(path, pages_of(employees(50)), ["sgd-logistic"])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM metric WHERE page = 2 AND name = 'brier'")
    with Reader(path) as reader, pytest.raises(StoreMismatch, match="no usable history"):
        report(reader)


def test_the_command_writes_the_report(path, tmp_path, capsys):
    """`promo report` writes the file and says so; what cannot be read or written is one line."""
    out = tmp_path / "out.html"
    assert main(["report", "--db", str(path), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: ")
    for _ in range(2):  # over what it has written, too
        assert main(["report", "--db", str(path), "--out", str(tmp_path / "OUT.HTML")]) == 0
    capsys.readouterr()
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", "--db", str(tmp_path / "none.db"), "--out", str(out)]) == 1
    assert main(["report", "--db", str(path), "--out", str(tmp_path / "no" / "out.html")]) == 1
    assert capsys.readouterr().err.count("\n") == 2
    with pytest.raises(PromoError, match="cannot write"):
        write_report(path, tmp_path)


def test_a_report_is_not_written_over_a_store(path, tmp_path):
    """A name mixed up costs nothing: the store is refused, and stays as it is."""
    before = path.read_bytes()
    with pytest.raises(PromoError, match="choose another name"):
        write_report(path, path)
    (link := tmp_path / "link.html").symlink_to(path)
    with pytest.raises(PromoError, match="choose another name"):
        write_report(path, link)
    (twin := tmp_path / "twin.html").hardlink_to(path)
    with pytest.raises(PromoError, match="has a second name"):
        write_report(path, twin)
    twin.unlink()
    (named := tmp_path / "named.html").write_bytes(before)
    with pytest.raises(PromoError, match="choose another name"):
        write_report(path, named)
    assert named.read_bytes() == before
    os.mkfifo(pipe := tmp_path / "pipe.html")
    with pytest.raises(PromoError, match="choose another name"):
        write_report(path, pipe)
    assert path.read_bytes() == before


def test_a_report_that_does_not_fit_leaves_the_one_before(path, tmp_path):
    """A disk that is full takes nothing away: here no file may have more than 33 kB."""
    (out := tmp_path / "report.html").write_text("before")
    program = """
        import resource, sys
        from promo.report import write_report
        resource.setrlimit(resource.RLIMIT_FSIZE, (33_000, 33_000))
        write_report(*sys.argv[1:])
    """
    command = [sys.executable, "-c", textwrap.dedent(program), path, out]
    said = subprocess.run(command, capture_output=True, text=True)
    assert said.stderr.endswith(f"PromoError: cannot write {out}: File too large\n")
    assert out.read_text() == "before"
    assert not [*tmp_path.glob("*.part")]


@pytest.mark.parametrize("table", TABLES)
def test_a_table_as_csv_reads_back_equal(path, table):
    """Head, rows and every digit are those of the table; NULL is nothing."""
    file = io.StringIO(newline="")
    with Reader(path) as reader:
        write_csv(reader, table, file)
        expected = reader.query(f"SELECT * FROM {table} ORDER BY {TABLES[table]}")
        names = [name for [name] in reader.query("SELECT name FROM pragma_table_info(?)", table)]
    file.seek(0)
    head, *rows = csv.reader(file)
    assert head == names
    back = [[_typed(cell, value) for cell, value in zip(*pair, strict=True)]
            for pair in zip(rows, expected, strict=True)]  # fmt: skip
    assert back == [[*row] for row in expected]
    assert rows


def _typed(cell, value):
    return None if value is None and cell == "" else type(value)(cell)


def test_every_kind_of_event_has_words():
    """What promo writes of itself is told in words, whatever else is told as it stands."""
    detail = {"rows": 1200, "model": "m", "from": 0.1, "to": 0.2, "reason": "why", "page": 3,
              "position": 4, "arrows": [["a", "b"]]}  # fmt: skip
    for kind, told in {
        "started": "Started with 1,200 rows", "forked": "Forked from 0.1 at page 3",
        "stopped": "Stopped with 1,200",
        "finished": "end of the stream", "learning_rate": "m learns at 0.2",
        "drift": "m predicts worse", "story": "a → b", "retry": "Asked again: why",
        "error": "Failed: why", "changed": "page 3", "conflict": "Row 4", "grown": "has grown",
        "strange": 'strange: {"rows": 1200',
    }.items():  # fmt: skip
        assert told in words.of_event(Event(3, "", kind, detail)), kind
    assert words.of_event(Event(3, "", "started", {})) == "started: {}"
    assert words.of_event(Event(3, "", "error", {"reason": "\x1b[2J" * 500})).isprintable()


# -- in a browser ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_opens_alone_and_clean(browser, path, tmp_path, shots, theme):
    """It asks for itself only, makes no complaint, fits wide and narrow, and axe finds no fault."""
    from axe_playwright_python.sync_playwright import Axe

    out = write_report(path, tmp_path / "report.html")
    tab = browser.new_page(color_scheme=theme, viewport={"width": 1280, "height": 900})
    asked, problems = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: problems.extend(complaint(message)))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("dialog", lambda dialog: problems.append(dialog.message))
    tab.goto(out.as_uri())
    assert tab.locator("figure svg path").count() > 40
    tab.screenshot(path=shots / f"report-{theme}.png", full_page=True)
    for width in (1280, 390):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(tab).response["violations"]
    assert [v["id"] for v in found if v["impact"] in ("serious", "critical")] == []
    assert [url for url in asked if not url.startswith("data:")] == [out.as_uri()]
    assert problems == []
    tab.close()
