"""Tests of what the buttons save, in JupyterLab and in Voila in Chromium: the files themselves."""

import csv
import socket
import sqlite3
import struct
import xml.dom.minidom
from contextlib import closing, contextmanager

import pytest

from launched import running_lab, write_notebook
from promo.ui.download import Download
from tabs import DEADLINE_S, complaint, opened, run_all, wait_for
from tools.launch import launched

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CELL = """
from promo import EmbeddedAPI, PageStream, Store, Trainer, data_dir, ui
from promo.models.default import default_models

api = EmbeddedAPI(rows=1000, data=data_dir() / "exports-source.db", port=0)
stream = PageStream(api.url, source=api.source)
models, settings = default_models()
store = Store(data_dir() / "exports.db", source=stream.source, page_size=10, settings=settings)
trainer = Trainer(stream, store, models)
trainer.run(60)
controls, exports = ui.Controls(trainer), ui.Exports(trainer)
log, quality = ui.EventLog(trainer), ui.DataQuality(trainer)
publisher = ui.Publisher(trainer, [controls, exports, log, quality])
ui.Board([controls], [exports], [log, quality])
"""


@contextmanager
def in_lab(browser, folder):
    """Open the notebook in JupyterLab and run it."""
    with running_lab(folder) as lab:
        notebook = lab.notebook.with_name("exports.ipynb")
        write_notebook(notebook, CELL)
        url = lab.url.replace(lab.notebook.name, notebook.name)
        tab = opened(browser, lab, url, [])
        run_all(tab, lab, "runmenu:run-all", notebook=notebook)
        yield tab


@contextmanager
def in_voila(browser, folder):
    """Open the notebook as a web page."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    write_notebook(folder / "exports.ipynb", CELL)
    command = ["voila", "exports.ipynb", "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}"]
    with launched(folder, *command, address=r"running at:\n(\S+)") as (_, found):
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(1000 * DEADLINE_S)
        tab.problems = []
        # Voila itself asks an address outside for a script, which is no concern of ours.
        tab.on("console", lambda m: tab.problems.extend(
            said for said in complaint(m) if "127.0.0.1" in said))  # fmt: skip
        tab.goto(found[1])
        tab.locator(".promo-status").wait_for()
        yield tab


@pytest.fixture(scope="module", params=[in_lab, in_voila])
def tab(request, browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    with request.param(browser, folder) as tab:
        tab.data, tab.name = folder / "data", request.param.__name__
        yield tab


def saved(tab, text):
    """Press a button; return the name and the path of the file that the browser saved."""
    with tab.expect_download() as download:
        tab.get_by_role("button", name=text, exact=True).click()
    return download.value.suggested_filename, download.value.path()


def test_the_files_are_those_that_were_asked_for(tab, shots):
    """Report, table, drawing and picture arrive in the browser, whole, without a complaint."""
    tab.screenshot(path=shots / f"exports-{tab.name}.png", full_page=True)
    name, path = saved(tab, "Report")
    assert name == "exports-report.html"
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert path.read_text().endswith("</html>\n")
    tab.get_by_label("Table", exact=True).select_option("data")
    name, path = saved(tab, "CSV")
    with closing(sqlite3.connect(tab.data / "exports.db")) as connection:
        expected = connection.execute("SELECT * FROM data ORDER BY rowid").fetchall()
    with path.open(newline="") as file:
        head, *rows = csv.reader(file)
    back = [(int(i), float(a), float(c), int(p)) for i, a, c, p in rows]
    assert (name, head[0], back) == ("exports-data.csv", "id", expected)
    for title, key in (
        ("Who gets promoted?", "sample"),
        ("Which causal story survives?", "stories"),
    ):
        tab.get_by_label("Figure", exact=True).select_option(title)
        name, path = saved(tab, "SVG")
        drawn = xml.dom.minidom.parse(str(path)).documentElement
        assert (name, drawn.tagName) == (f"exports-{key}.svg", "svg")
        name, path = saved(tab, "PNG")
        picture = path.read_bytes()
        (shots / f"{tab.name}-{name}").write_bytes(picture)
        size = struct.unpack(">II", picture[16:24])
        assert picture.startswith(b"\x89PNG\r\n\x1a\n")
        assert size == tuple(2 * int(drawn.getAttribute(side)) for side in ("width", "height"))
    assert tab.problems == []


def test_what_goes_on_is_told(tab):
    """The log has the start, and the rows add up, on the page."""
    tab.locator(".promo-list", has_text="Started with 0 rows learned.").wait_for()
    tab.get_by_text("600 = 600 + 0 + 0 + 0, so no row is lost.").wait_for()
    tab.get_by_label("Show", exact=True).select_option("learning rate")
    tab.get_by_text("Nothing.", exact=True).wait_for()
    tab.get_by_label("Show", exact=True).select_option("everything")
    assert tab.problems == []


SEND = """async (esm) => {
  const part = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
  document.body.innerHTML = '<p class="mine"><button>CSV</button></p><p class="other"></p>';
  const send = ["mine", "other"].map((within) => {
    const heard = {};
    const model = { get: () => within, on: (name, handler) => { heard[name] = handler; } };
    part.default.initialize({ model });
    return (name) => heard["msg:custom"]({ name, type: "text/csv" }, [new Uint8Array([65, 10])]);
  });
  const press = () => document.querySelector("button").click();
  send[0]("unasked.csv");
  press();
  send.map((each, at) => each(`asked-${at}.csv`));
  send[0]("twice.csv");
}"""


def test_only_who_pressed_saves(browser):
    """What is sent is saved once for each press, and only where the press was."""
    page, saved = browser.new_page(), []
    page.on("download", lambda download: saved.append(download.suggested_filename))
    page.evaluate(SEND, Download._esm)
    wait_for(lambda: page.wait_for_timeout(20) or saved)
    page.wait_for_timeout(200)  # for those that must not come
    assert saved == ["asked-0.csv"]
    page.close()
