"""Tests of `promo.ui.Choose` without a browser: a real API, real stores, one form."""

import re
import subprocess
import sys
import threading

import psutil
import pytest

from clocks import wait_for
from comms import Comm, shown, text_of
from promo import ui
from promo.following import Following
from promo.models.anytime import level_in_words
from promo.opening import check, open_stream, stored
from promo.store import Store
from promo.trainer import Trainer
from promo.ui import choose, publisher
from promo.world import WORLDS
from servers import ScriptedServer, employees

ROWS = 2000
pytestmark = pytest.mark.usefixtures("comms")


def board(trainer):
    """Make what a notebook makes, smaller."""
    controls = ui.Controls(trainer) if isinstance(trainer, Trainer) else ui.Watching(trainer)
    ui.Publisher(trainer, [controls])
    made = ui.Dashboard([controls])
    made.controls = controls
    return made


@pytest.fixture
def form(api, tmp_path, monkeypatch):
    """Open the form on a store of the test, and its publisher."""
    monkeypatch.setenv("PROMO_DATA", str(tmp_path))
    form = ui.Choose(api, tmp_path / "a.db", board)
    publisher = ui.Publisher(None, [form], frames_per_s=50)
    yield form
    assert publisher.errors == []
    ui.close_all()
    assert form.trainer is None


def identity(path):
    with Store.read_only(path) as reader:
        return {name: getattr(reader, name) for name in ("source", "page_size", "settings")}


def wait_while_opening(form):
    wait_for(lambda: form._asked is form._done and not form.open.disabled)


def fields(form):
    """List the descriptions of what is shown of the form."""
    return [getattr(w, "description", "") for w in shown(form._form)]


def test_a_stream_is_open_at_once_and_the_form_folded(form, api):
    """What stands in the form at first is open, in one line; the rest is shown when asked for."""
    assert isinstance(form.trainer, Trainer)
    assert text_of(form.summary.value) == f"{api.source} · {form.trainer.store.path}"
    wait_for(lambda: fields(form) == [])
    form.fold.value = True
    wait_for(lambda: "Source" in fields(form))
    assert {"Rows", "Address", "Open a store of my own"}.isdisjoint(fields(form))
    form.trainer.run(3)
    assert form.trainer.snapshot.rows == 30


def test_what_a_board_shows_its_own_publisher_sends(form):
    """The form holds the board, but its frames are not of it: each of the board's is whole."""
    answered = [p for p in publisher._OPEN if p.frames.set_state({"painted": 0}) is None]
    wait_for(lambda: all(p.frames.frame for p in answered))
    form.fold.value = True
    wait_for(lambda: "Source" in fields(form))
    of_board = {part.model_id for part in publisher.parts(*form.place.children)}
    Comm.sent.clear()
    Comm.alone.clear()
    trainer = form.trainer
    trainer.set_speed(100)
    trainer.play()
    wait_for(lambda: trainer.snapshot.rows == ROWS or answer_all(answered))
    assert {comm for comm, *_ in Comm.sent} & of_board
    assert not {*Comm.alone} & of_board


def answer_all(publishers):
    """Answer as browsers do: all is painted."""
    for each in publishers:
        each.frames.set_state({"painted": each.frames.frame})


def test_the_source_is_checked_live(form, api):
    """The API that runs, no address, a wrong one, a faulty server, a good one: a verdict each."""
    form.fold.value = True
    wait_for(lambda: f"Reachable: {api.url}. Contract kept" in form.verdict.value)
    form.source.value = "another address"
    wait_for(lambda: "Give the address" in form.verdict.value and "Address" in fields(form))
    form.address.value = "http://127.0.0.1:9"
    wait_for(lambda: "annot reach" in form.verdict.value)
    assert "promo-problem" in form.verdict.value
    with ScriptedServer(employees(25), always=lambda x: x.send(b"", 404)) as server:
        form.address.value = server.url
        wait_for(lambda: "404" in form.verdict.value)
        server.always = "ok"
        form.check.click()
        wait_for(lambda: "the first page has 10 employees. Pages of 10" in form.verdict.value)
    assert "promo-problem" not in form.verdict.value
    form.source.value = "a made-up world"
    wait_for(
        lambda: "Rows" in fields(form) and WORLDS["collider"].description in form.verdict.value
    )


def test_another_world_models_and_store(form):
    """Opened, they are those chosen; the world's API ends when another stream is opened."""
    first = form.trainer
    children = {*psutil.Process().children()}
    form.fold.value = True
    wait_for(lambda: "Store" in fields(form))
    form.source.value, form.world.value, form.rows.value = "a made-up world", "chain", 300
    form.store.value = ""
    wait_for(lambda: not form.alpha.disabled and "New file" in fields(form))  # as a reader does
    form.name.value, form.alpha.value = "my chain", 0.1
    for name, box in form.experts.boxes.items():
        box.value = name in ("sgd-logistic", "base-rate")
    form.open.click()
    wait_while_opening(form)
    assert form.note.value == ""
    assert form.trainer.run().rows == 300
    assert first.status == "idle"
    assert first.store.path.name == "a.db"
    [world] = {*psutil.Process().children()} - children
    found = stored(form.trainer.store.path)
    assert found.path.name == "my chain.db"
    assert found.names == ("sgd-logistic", "base-rate")
    assert (found.source, found.alpha) == ("world:chain?rows=300&seed=2021", 0.1)
    form.source.value, form.store.value = "the API that runs", str(first.store.path)
    wait_for(lambda: form.open.description == "Go on" and "New file" not in fields(form))
    form.open.click()
    wait_while_opening(form)
    assert form.trainer.store.path == first.store.path
    wait_for(lambda: form.experts.boxes["mixture"].value)  # as the store was begun
    wait_for(lambda: not world.is_running())
    form.store.value = str(found.path)  # whose source is chosen with it
    wait_for(lambda: form.source.value == "a made-up world" and form.open.description == "Go on")
    assert (form.world.value, form.rows.value, form.seed.value) == ("chain", 300, 2021)
    form.open.click()
    wait_while_opening(form)
    assert form.trainer.store.source == found.source
    assert form.trainer.snapshot.rows == 300


def test_a_new_store_is_none_that_exists(form):
    """A name that is taken is refused, and what was open goes on; the list opens it."""
    first = form.trainer
    first.run(3)
    form.fold.value = True
    wait_for(lambda: form._unfolded)
    form.store.value, form.name.value = "", "a"
    form.open.click()
    wait_while_opening(form)
    assert text_of(form.note.value) == "a.db exists: choose it in the list, or another name"
    assert form.trainer is first
    other = first.store.path.with_name("other.db")
    other.write_text("no store")
    form.name.value = "other"
    form.open.click()
    wait_while_opening(form)
    assert text_of(form.note.value) == "other.db exists: choose another name"
    form.store.value = str(first.store.path)
    form.open.click()
    wait_while_opening(form)
    assert form.note.value == ""
    assert form.trainer.snapshot.page == 2
    other.write_text("")  # as whoever was stopped right away leaves it
    form.fold.value = True
    wait_for(lambda: form._unfolded)
    form.store.value, form.name.value = "", "other"
    form.open.click()
    wait_while_opening(form)
    assert form.note.value == ""


def test_what_cannot_be_opened_is_told_and_what_is_open_goes_on(form):
    """Impossible rows, an address of nobody: a sentence, and another try."""
    first, children = form.trainer, {*psutil.Process().children()}
    form.fold.value = True
    form.source.value, form.rows.value = "a made-up world", -5
    form.open.click()
    wait_for(lambda: "rows is -5" in form.note.value)
    wait_for(lambda: {*psutil.Process().children()} == children)
    form.source.value, form.address.value = "another address", "http://127.0.0.1:9"
    form.store.value, form.name.value = "", "mine"
    form.open.click()
    wait_for(lambda: "annot reach" in form.note.value)
    wait_while_opening(form)
    assert (form.trainer, form.name.value) == (first, "mine")
    assert first.run(3).rows == 30
    form.source.value = "the API that runs"
    form.open.click()
    wait_for(lambda: form.trainer is not first and not form.fold.value)
    assert form.note.value == ""


def test_another_source_needs_another_store(form):
    """The store in the list holds what it holds: who changes the source begins a new one."""
    form.fold.value = True
    wait_for(lambda: form.open.description == "Go on" and form.alpha.disabled)
    path = form.store.value
    assert "this store was begun with" in form.legend.value
    form.source.value = "a made-up world"
    wait_for(lambda: form.open.description == "Open" and not form.alpha.disabled)
    assert form.store.value == ""
    assert "Beside each expert" in form.legend.value
    form.store.value = path  # which brings its source along
    wait_for(lambda: form.open.description == "Go on")
    assert form.source.value == "the API that runs"


def test_a_store_of_another_notebook_is_refused_before_anything_is_closed(form, api, tmp_path):
    """Of the same source, but begun with other models: it is told, and the stream goes on."""
    first, path = form.trainer, tmp_path / "race.db"
    Store(path, source=api.source, page_size=10, settings={"race": "a dozen rates"}).close()
    form.fold.value = True
    wait_for(lambda: form._unfolded)  # which lists the stores, and chooses the open one
    form.store.value = str(path)
    form.open.click()
    wait_for(lambda: "race.db was begun with models of another kind" in form.note.value)
    wait_while_opening(form)
    assert form.trainer is first
    assert first.run(3).rows == 30


def test_nothing_is_closed_for_a_stream_that_cannot_begin(form, tmp_path):
    """No expert that predicts, an address with a bad verdict: a sentence; what is open goes on."""
    first, own = form.trainer, form._own
    form.fold.value = True
    wait_for(lambda: form.alpha.disabled)  # as the store's own, like the experts
    form.store.value, form.name.value = "", "new"
    wait_for(lambda: not form.alpha.disabled)
    ticked = [box for box in form.experts.boxes.values() if box.value]
    for box in ticked:
        box.value = False
    form.open.click()
    wait_for(lambda: "nobody predicts" in form.note.value)
    wait_while_opening(form)
    for box in ticked:
        box.value = True
    with ScriptedServer(employees(25), always=lambda x: x.send(b"<html>", 200)) as server:
        form.source.value, form.address.value = "another address", server.url
        form.open.click()
        wait_for(lambda: "Contract not kept" in form.note.value or "No good" in form.note.value)
        wait_while_opening(form)
        assert "promo-problem" in form.note.value
    assert (form.trainer, form._own) == (first, own)
    assert form.place.children[0].comm is not None
    assert first.run(3).rows == 30
    assert not (tmp_path / "new.db").exists()


def test_it_is_said_before_it_is_done(form, monkeypatch):
    """Opening takes seconds: meanwhile there is no silence."""
    seen = []

    def noting(*about):
        seen.append([data["state"]["value"] for _, _, data, _ in Comm.sent
                     if "value" in data.get("state", {})][-1])  # fmt: skip
        return check(*about)

    monkeypatch.setattr(choose, "check", noting)
    form.fold.value = True
    wait_for(lambda: "Contract kept" in form.verdict.value)
    form.open.click()
    wait_while_opening(form)
    assert [text_of(each) for each in seen] == ["Opening …"]


@pytest.mark.parametrize("alpha", [0.2, 0.001, 0.1])
def test_the_intervals_of_a_store_are_its_own(form, api, tmp_path, alpha):
    """They are said as they are, however unusual, and the usual ones are offered for a new one."""
    open_stream(api.url, api.source, tmp_path / "own.db", alpha=alpha).close()
    form.fold.value = True
    wait_for(lambda: form._unfolded and form.alpha.disabled)
    form.store.value = str(tmp_path / "own.db")
    wait_for(lambda: [*form.alpha.options] == [(level_in_words(alpha), alpha)])
    assert form.alpha.value == alpha
    assert form.alpha.disabled
    form.store.value = ""
    wait_for(lambda: not form.alpha.disabled)
    assert [level for level, _ in form.alpha.options] == ["90%", "95%", "99%"]
    assert form.alpha.value == 0.05


def test_what_opens_after_the_cell_was_closed_is_closed_too(form, tmp_path, monkeypatch):
    """A source that takes its time: when it answers at last, no trainer and no lock is left."""
    told, go_on = threading.Event(), threading.Event()

    def late(*about):
        told.set()
        assert go_on.wait(30)
        check(*about)

    monkeypatch.setattr("promo.ui.choose.check", late)
    form.fold.value = True
    wait_for(lambda: form._unfolded)
    form.store.value, form.name.value = "", "late"
    form.open.click()
    assert told.wait(10)
    ui.close_all()
    go_on.set()
    wait_for(lambda: not any(t.name == "promo-publisher" for t in threading.enumerate()))
    assert form.trainer is None
    Store(tmp_path / "late.db", **identity(tmp_path / "late.db")).close()  # it is not locked


def test_a_first_stream_that_cannot_be_opened_leaves_the_form(api, tmp_path):
    """Nothing is open, which is said, and the form is there for another try."""
    (tmp_path / "a.db").write_text("no store")
    form = ui.Choose(api, tmp_path / "a.db", board)
    assert form.trainer is None
    assert form.fold.value
    assert "No stream is open" in form.summary.value


def test_who_comes_second_watches_and_may_open_their_own(form, api, tmp_path):
    """A store that another process writes is shown, with no buttons; one press opens another."""
    path = tmp_path / "taken.db"
    code = (
        "import sys; from pathlib import Path; from promo.opening import open_stream\n"
        "t = open_stream(*sys.argv[1:3], Path(sys.argv[3])); t.run(5); print(5, flush=True)\n"
        "sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", code, api.url, api.source, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, text=True) as writer:
        writer.stdout.readline()
        form._list(path)
        form.open.click()
        wait_while_opening(form)
        assert isinstance(form.trainer, Following)
        assert text_of(form.summary.value).endswith(f"{path} · read only")
        controls = form.place.children[0].controls
        assert text_of(controls.status.value) == (
            f"watching · page 5 · 50 rows · process {writer.pid} writes it"
        )
        assert [w for w in shown(controls.widget) if getattr(w, "description", "")] == []
        assert form.mine in shown(form.widget)
        form.mine.click()
        wait_while_opening(form)
        assert isinstance(form.trainer, Trainer)
        assert form.trainer.store.path.name == "taken-2.db"
        assert form.mine not in shown(form.widget)
        writer.stdin.close()


def test_rates_are_split(form):
    """While it runs the line says what a page takes to fetch, learn and commit, and a frame."""
    timing = ui.Timing()
    publisher = ui.Publisher(form.trainer, [timing])
    publisher.frames.took_ms = 64.0
    form.trainer.play()
    wait_for(lambda: form.trainer.snapshot.page_s)
    page_s = form.trainer.snapshot.page_s
    assert [*page_s] == ["fetch", "learn", "commit"]
    assert page_s["fetch"] >= 0
    assert 0 < page_s["learn"] + page_s["commit"] < 1
    told = r"fetch \d+\.\d\d ms a page learn .* commit .* draw 64 ms a frame"
    wait_for(lambda: re.match(told, text_of(timing.line.value)))
    form.trainer.pause()
    wait_for(lambda: "while the stream runs" in timing.line.value)
    publisher.close()
