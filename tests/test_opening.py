"""Tests of opening a stream: a look at an address, the store, and reading along in one."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from promo.errors import StoreMismatch, StreamError
from promo.following import Following
from promo.models.default import FULL, default_models
from promo.opening import open_stream, stored, stores_in
from promo.store import Store
from promo.stream import PageStream
from promo.stream.look import look
from promo.trainer import Trainer
from servers import ScriptedServer, contract_server, employees

ROWS = 2000


# -- a look at an address ----------------------------------------------------------------------


def test_our_own_api_is_found_whole(api):
    """Reachable, contract kept, larger pages offered, rows told."""
    usable, findings = look(api.url)
    assert usable
    assert findings == (
        f"Reachable: {api.url}.",
        "Contract kept: the first page has 10 employees.",
        "Larger pages offered.",
        "Rows: 2,000.",
    )


def test_the_original_contract_is_enough():
    """A service that keeps the contract and offers no more can be read, and that is said."""
    with contract_server(employees(7)) as url:
        usable, findings = look(url)
    assert usable
    assert findings[1:] == (
        "Contract kept: the first page has 7 employees.",
        "Pages of 10 rows only.",
        "It does not say how many rows it has.",
    )


def html(exchange):
    return exchange.send(b"<h1>Not here</h1>", 404, "text/html")


@pytest.mark.parametrize(
    ("always", "said"),
    [
        ("500", "No good page: "),
        ("html", "No good page: "),
        ("invalid", "No good page: "),
        ("hang", "No good page: "),
        (html, "404"),
    ],
)
def test_a_faulty_server_is_told(always, said):
    """What answers, but not with pages, is not usable; why is said in a sentence."""
    with ScriptedServer(employees(25), always=always) as server:
        usable, findings = look(server.url, patience_s=0.3)
    assert not usable
    assert said in findings[-1]


@pytest.mark.parametrize(
    ("rows", "usable", "said"),
    [
        ([], False, "no rows to learn from"),
        ([{"id": "x"}] * 3, False, "no row is an employee"),
        ([*employees(8), {"id": -1, "competence": 0, "network_ability": 0, "promoted": 1}], True,
         "by 8 of 9 rows; the others go to quarantine"),
    ],
    ids=["none", "wrong", "some"],
)  # fmt: skip
def test_rows_are_judged(rows, usable, said):
    """No rows, or none that is an employee, are no source; some bad ones among good are told."""

    def page(exchange):
        return exchange.send(json.dumps(rows if exchange.page == 0 else []).encode())

    with ScriptedServer([], always=page) as server:
        verdict = look(server.url)
    assert verdict.usable == usable
    assert said in " ".join(verdict.findings)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "ftp://host", ""])
def test_a_wrong_address_is_told(url):
    """An address that leads nowhere, or is none, is a sentence, not an error."""
    usable, [why] = look(url)
    assert not usable
    assert "annot reach" in why or "is not the address of an API" in why


# -- opening -----------------------------------------------------------------------------------


def test_a_new_store_remembers_what_was_chosen(api, tmp_path):
    """Models and alpha are those chosen, and what was stored is told; other files are no stores."""
    path = tmp_path / "a.db"
    assert stored(path) is None
    with open_stream(api.url, api.source, path, ("sgd-logistic", "base-rate"), 0.1) as trainer:
        trainer.run(3)
    (tmp_path / "other.db").write_bytes(b"no store")
    [found] = stores_in(tmp_path)
    assert found == stored(path)
    assert found[1:6] == (api.source, 10, 2, 30, ("sgd-logistic", "base-rate"))
    assert found[6:] == (0.1, False, False, found.models()[1])


def test_an_existing_store_keeps_its_own(api, tmp_path):
    """Opened again, whatever is chosen now, it goes on with the models that it was begun with."""
    path = tmp_path / "a.db"
    with open_stream(api.url, api.source, path, ("sgd-logistic", "base-rate"), 0.1) as trainer:
        trainer.run(3)
    with open_stream(api.url, api.source, path, FULL, 0.05) as trainer:
        assert trainer.run(2).page == 4
    assert stored(path).names == ("sgd-logistic", "base-rate")


def begin(api, path, **more):
    """Begin a store as `promo scale` does."""
    models, settings = default_models(source=api.source, alpha=0.01, merging=True)
    store = Store(path, source=api.source, page_size=10, settings=settings | more)
    return Trainer(PageStream(api.url, source=api.source), store, models)


def test_a_store_of_many_machines_goes_on_here(api, tmp_path):
    """One that workers of Dask have begun goes on with what merges."""
    with begin(api, tmp_path / "a.db") as trainer:
        trainer.run(3)
    with open_stream(api.url, api.source, tmp_path / "a.db") as trainer:
        assert trainer.run(2).page == 4
    found = stored(tmp_path / "a.db")
    assert (found.names, found.alpha, found.merging) == (("renewable-logistic",), 0.01, True)


def test_rows_in_parquet_files_are_left_to_those_who_write_them(api, tmp_path):
    """Such a store is refused in words, before anything is asked of its models."""
    begin(api, tmp_path / "a.db", parquet=True).close()
    with pytest.raises(StoreMismatch, match="Parquet files: promo scale"):
        open_stream(api.url, api.source, tmp_path / "a.db")


def test_another_source_is_refused(api, tmp_path):
    """A store of one source is not gone on with from another."""
    open_stream(api.url, api.source, tmp_path / "a.db").close()
    with pytest.raises(StoreMismatch):
        open_stream(api.url, "another", tmp_path / "a.db")


def test_no_store_is_made_for_a_wrong_address(tmp_path):
    """Where nothing answers nothing is made."""
    with pytest.raises(StreamError):
        open_stream("http://127.0.0.1:9", "nowhere", tmp_path / "a.db")
    assert list(tmp_path.iterdir()) == []


# -- reading along -----------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from promo.opening import open_stream
trainer = open_stream(*sys.argv[1:3], Path(sys.argv[3]))
for pages in sys.stdin:
    print(trainer.run(int(pages)).page, flush=True)
"""


def test_who_comes_second_reads_along(api, tmp_path):
    """While another process writes, one sees what it commits: equal numbers, answers, sample."""
    path = tmp_path / "a.db"
    arguments = [sys.executable, "-c", WRITER, api.url, api.source, str(path)]
    with subprocess.Popen(
        arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:

        def write(pages):
            writer.stdin.write(f"{pages}\n")
            writer.stdin.flush()
            return int(writer.stdout.readline())

        assert write(5) == 4
        following = open_stream(api.url, api.source, path)
        assert isinstance(following, Following)
        assert f"process {writer.pid}" in following.message
        assert (following.snapshot.page, following.snapshot.rows) == (4, 50)
        assert write(20) == 24
        following._look_at = 0.0  # now, not in half a second
        seen = following.snapshot
        assert (seen.page, following.status) == (24, "running")
        assert seen.pages_per_s > 0
        writer.stdin.close()
        writer.wait()
    following._look_at = 0.0
    assert (following.snapshot.page, following.message) == (
        24,
        "nobody writes it now: open it to go on",
    )
    before = following.ask(lambda models: models[0].learning_rate).result()
    with open_stream(api.url, api.source, path) as trainer:
        assert isinstance(trainer, Trainer)
        snapshot = trainer.snapshot
        assert [c[:3] for c in seen.coefficients] == [c[:3] for c in snapshot.coefficients]
        assert seen.totals == snapshot.totals
        assert (seen.sample == snapshot.sample).all()
        assert before == snapshot.learning_rates["sgd-logistic"]
    following.close()


def test_reading_along_outlives_what_cannot_be_read(api, tmp_path):
    """A state that is none is a message, beside what was seen last; mended, it is read again."""
    path = tmp_path / "a.db"
    with open_stream(api.url, api.source, path) as trainer:
        trainer.run(3)
    following = Following(path)
    with closing(sqlite3.connect(path)) as other, other:
        [[state]] = other.execute("SELECT state FROM model WHERE name = 'sgd-logistic'").fetchall()
        change = "UPDATE model SET state = ? WHERE name = 'sgd-logistic'"
        other.execute(change, ("{}",))
        other.commit()
        following._look_at = 0.0
        assert following.snapshot.rows == 30
        assert following.status == "failed"
        assert following.message.startswith("it cannot be read: ")
        other.execute(change, (state,))
        other.commit()
    following._look_at = 0.0
    assert (following.snapshot.rows, following.status) == (30, "idle")
    following.close()


def test_reading_along_counts_its_own_work_only(api, tmp_path, monkeypatch):
    """A look that waits for a busy machine does not put off the next: it has cost nobody a core."""
    path = tmp_path / "a.db"
    open_stream(api.url, api.source, path).close()
    following = Following(path)
    memory = following._memory

    def late():
        time.sleep(1.0)
        return memory()

    monkeypatch.setattr(following, "_memory", late)
    following._look_at, began = 0.0, time.monotonic()
    assert following.snapshot.rows == 0
    assert following._look_at < began + 4  # not five times as long as it took
    following.close()


def test_a_name_that_leads_nowhere_is_no_store(api, tmp_path):
    """A dangling link among the stores of a folder keeps none of the others away."""
    (tmp_path / "gone.db").symlink_to(tmp_path / "unplugged" / "gone.db")
    open_stream(api.url, api.source, tmp_path / "a.db").close()
    assert [found.path.name for found in stores_in(tmp_path)] == ["a.db"]


def test_a_question_that_fails_fails_where_it_is_asked(api, tmp_path):
    """What a question raises is in its future."""
    open_stream(api.url, api.source, tmp_path / "a.db").close()
    following = Following(tmp_path / "a.db")
    with pytest.raises(ZeroDivisionError):
        following.ask(lambda _: 1 / 0).result()
    assert following.snapshot.page is None
    following.close()
