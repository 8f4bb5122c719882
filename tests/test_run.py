"""Tests of `promo run` and `promo show` against a server that keeps the original contract only."""

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from clocks import wait_for
from programs import require
from promo.embedded import EmbeddedAPI
from promo.models.experts import BaseRate
from promo.opening import open_stream
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer
from servers import employees

ROWS, PAGES = 125, 13
TABLES = {  # what must be the same however a run was interrupted: all but the clock
    "data": "SELECT * FROM data ORDER BY id",
    "page": "SELECT page, received, inserted, duplicate, conflicting, rejected, first_id, last_id,"
    " digest FROM page ORDER BY page",
    "model": "SELECT name, page, rows, state FROM model ORDER BY name",
    "coefficient": "SELECT * FROM coefficient ORDER BY model, term, page",
    "metric": "SELECT * FROM metric ORDER BY model, name, page",
}


@contextmanager
def contract_server(rows=ROWS, slow_ms=0.0):
    """Run the Flask server as a process of its own; give its address."""
    command = [sys.executable, Path(__file__).with_name("servers.py")]
    options = ["--rows", str(rows), "--slow-ms", str(slow_ms)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url():
    with contract_server() as url:
        yield url


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "promo", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def promo(*arguments, **environment):
    """Run a command; return its exit code, standard output and standard error."""
    process = start(*arguments, **environment)
    output, said = process.communicate(timeout=60)
    return process.returncode, output, said


ALL_SETTINGS = "SELECT settings FROM stream"


def learn(url, db, *options):
    """Run `promo run --json` without a hitch; return what it says of itself."""
    code, output, said = promo("run", "--api", url, "--db", db, "--json", *options)
    assert (code, said) == (0, "")
    return json.loads(output.splitlines()[-1])


def query(db, sql):
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def contents(db):
    return {table: query(db, sql) for table, sql in TABLES.items()}


@pytest.fixture(scope="module")
def whole(url, tmp_path_factory):
    """Return the store of one run without interruption, and the run's own summary."""
    db = tmp_path_factory.mktemp("run") / "whole.db"
    return db, learn(url, db)


def test_all_that_the_server_has_is_stored(whole):
    """Every row is stored exactly, 0/1 for promoted, and the summary counts them."""
    db, summary = whole
    stored = "SELECT id, competence, network_ability, promoted FROM data ORDER BY id"
    assert query(db, stored) == [tuple(row.values()) for row in employees(ROWS)]
    assert {"pages": PAGES, "rows": ROWS, "rejected": 0, "status": "finished"}.items() <= (
        summary.items()
    )
    assert summary["seconds"] > 0
    assert summary["rows_per_second"] == pytest.approx(ROWS / summary["seconds"], rel=0.05)
    assert query(db, "SELECT page_size FROM stream") == [(10,)]


def test_a_run_goes_on_where_the_last_one_stood(whole, url, tmp_path):
    """Runs of some pages each end as one run does, to the bit; a run at the end changes nothing."""
    db = tmp_path / "promo.db"
    runs = [learn(url, db, *options) for options in (["--pages", 6], [], [])]
    assert [run["pages"] for run in runs] == [6, PAGES - 6, 0]
    assert [run["rows"] for run in runs] == [60, ROWS - 60, 0]
    assert runs[-1]["status"] == "finished"
    assert contents(db) == contents(whole[0])


def test_a_fork_goes_on_to_the_same_end(whole, url, tmp_path):
    """`promo fork`, then `promo run`: the tables are those of the run that was left."""
    db = tmp_path / "a fork.db"
    code, output, said = promo("fork", "--db", whole[0], "--page", 5, "--out", db)
    assert (code, said) == (0, "")
    told, go_on = output.rstrip("\n").split("; go on with: ")
    assert told == f"page 5 of {whole[0]} is in {db}"
    assert shlex.split(go_on) == ["promo", "run", "--db", str(db), "--api", url]
    assert pages_in(db) == 6
    assert learn(url, db)["pages"] == PAGES - 6
    assert contents(db) == contents(whole[0])


def test_a_fork_with_another_rate_and_other_models(whole, url, tmp_path):
    """The rate holds from the next page on; the models learn anew, and `promo run` knows them."""
    db, names = tmp_path / "fork.db", "sgd-logistic,base-rate"
    options = ["--learning-rate", 0.5, "--models", names]
    code, _, said = promo("fork", "--db", whole[0], "--page", 5, "--out", db, *options)
    assert (code, said) == (0, "")
    ask = "SELECT page, json_extract(detail, '$.to') FROM event WHERE kind = 'learning_rate'"
    assert query(db, ask) == [(6, 0.5)]
    assert learn(url, db)["pages"] == PAGES - 6
    assert query(db, "SELECT rows FROM model WHERE name = 'base-rate'") == [(ROWS,)]
    assert query(db, "SELECT count(DISTINCT page) FROM checkpoint") == [(PAGES,)]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--page", 99], "page 99 (counted from 0) is not kept; choose 12, the nearest that is"),
        (["--page", 5, "--out", "whole.db"], "is there already; choose another name"),
        (["--page", 5, "--models", "base-rate", "--learning-rate", 1], "is of sgd-logistic"),
    ],
)
def test_a_fork_that_is_refused_is_one_line(options, reason, whole, tmp_path):
    """The reason is said in one line on stderr, exit code 1, and no file is made."""
    options = [whole[0] if each == "whole.db" else each for each in options]
    code, output, said = promo("fork", "--db", whole[0], "--out", tmp_path / "b.db", *options)
    assert (code, output, said.count("\n")) == (1, "", 1)
    assert reason in said
    assert not (tmp_path / "b.db").exists()


def test_a_page_that_no_stream_reaches_is_refused(whole, tmp_path):
    """Numbers that SQLite cannot hold, too, without a traceback."""
    code, _, said = promo("fork", "--db", whole[0], "--out", tmp_path / "b.db", "--page", "9" * 23)
    assert code == 2
    assert said.endswith("expected a whole number from 0\n")


def test_a_fork_gives_no_rate_to_who_was_not_there(url, tmp_path):
    """Models that a store's settings do not name are not taken for sgd-logistic."""
    db, stream = tmp_path / "a.db", PageStream(url)
    store = Store(db, source=stream.source, page_size=stream.page_size)
    with Trainer(stream, store, [BaseRate()]) as trainer:
        trainer.run(3)
    options = ["--page", 1, "--out", tmp_path / "b.db", "--learning-rate", 1]
    code, _, said = promo("fork", "--db", db, *options)
    assert (code, "is of sgd-logistic" in said, said.count("\n")) == (1, True, 1)


def test_interrupted_after_a_commit(tmp_path):
    """Ctrl-C ends it with 130, nothing but the summary said, whole pages stored; it can go on."""
    db = tmp_path / "promo.db"
    with contract_server(rows=5000, slow_ms=20) as slow:
        process = start("run", "--api", slow, "--db", db, "--json")
        wait_for(lambda: db.exists() and pages_in(db) >= 3)
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=10)
        assert (process.returncode, said) == (130, "")
        summary = json.loads(output)
        assert summary["status"] == "stopped"
        assert query(db, "PRAGMA integrity_check") == [("ok",)]
        pages = [page for (page,) in query(db, "SELECT page FROM page ORDER BY page")]
        assert pages == list(range(summary["pages"]))
        assert query(db, "SELECT count(*) FROM data") == [(10 * len(pages),)]
        assert query(db, "SELECT DISTINCT page FROM model") == [(pages[-1],)]
        assert learn(slow, db, "--pages", 2)["pages"] == 2
    assert pages_in(db) == len(pages) + 2


@pytest.mark.slow
def test_interrupted_while_it_starts(url, tmp_path):
    """Whatever is being imported, in whichever thread: it ends at once, and says nothing."""
    for delay in np.linspace(0.15, 1.5, 28):
        process = start("run", "--db", tmp_path / "promo.db", "--pages", 10**6, PROMO_API_URL=url)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        # Before the handler is there Python itself tells of it.
        assert process.returncode in (130, 0, -signal.SIGINT), delay
        assert not said or (delay < 0.6 and "KeyboardInterrupt" in said), (delay, said)


def test_interrupted_again_and_again(tmp_path):
    """Ctrl-C pressed over and over ends it like the first: 130, one summary, and that is true."""
    db = tmp_path / "promo.db"
    with contract_server(rows=5000, slow_ms=20) as slow:
        process = start("run", "--api", slow, "--db", db, "--json")
        wait_for(lambda: db.exists() and pages_in(db) >= 3)
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=10)
    # One that comes while the handler is exchanged is Python's to tell, and it does, now and then.
    assert said == "" or said.endswith("Signal 2 ignored due to race condition\n")
    assert process.returncode == 130
    summary = json.loads(output)
    assert (summary["status"], summary["pages"]) == ("stopped", pages_in(db))


def test_following_ends_by_interrupt(url, tmp_path):
    """With --follow the end is waited at, not taken for the end; Ctrl-C ends the wait with 130."""
    db = tmp_path / "promo.db"
    process = start("run", "--api", url, "--db", db, "--follow", "--json")
    wait_for(lambda: db.exists() and pages_in(db) == PAGES)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=10)
    assert (process.returncode, said) == (130, "")
    assert json.loads(output)["rows"] == ROWS


def test_the_api_by_environment(url, tmp_path):
    """PROMO_API_URL stands in for --api; without --json one sentence says what there is now."""
    db = tmp_path / "promo.db"
    code, output, said = promo("run", "--db", db, "--pages", 2, PROMO_API_URL=url)
    assert (code, output, said) == (0, f"20 rows in {db}: promo show --db {db}\n", "")


def test_a_name_that_looks_like_an_option(url, tmp_path, monkeypatch):
    """What a run and a fork advise to go on with can be typed as it stands."""
    monkeypatch.chdir(tmp_path)
    code, output, said = promo("run", "--api", url, "--db=./-a.db", "--pages", 2)
    assert (code, said) == (0, "")
    for out in ("-b.db", "-c d.db"):
        command = shlex.split(output.rsplit(": ", 1)[1])
        assert command[:2] in (["promo", "show"], ["promo", "run"])
        assert promo(*command[1:])[0] == 0, command
        code, output, said = promo("fork", "--db=-a.db", "--page", 1, f"--out={out}")
        assert (code, said) == (0, "")


def test_what_may_not_be_read_or_is_damaged_says_so(url, tmp_path):
    """The reason, and what to do, not SQLite's words alone."""
    require("setpriv")
    path = tmp_path / "a.db"
    learn(url, path, "--pages", 50)
    pages = path.read_bytes()
    path.write_bytes(pages[:4096] + b"\xff" * 4096 + pages[8192:])
    code, _, said = promo("show", "--db", path)
    assert code == 1
    assert said.endswith("malformed; put a copy back, or choose another file\n")
    path.chmod(0)
    # As root, but without root's right to read everything.
    dropped = "-dac_override,-dac_read_search"
    command = ["setpriv", f"--bounding-set={dropped}"] * (os.geteuid() == 0)
    command += [sys.executable, "-m", "promo", "show", "--db", str(path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == f"promo: cannot open {path}: Permission denied\n"


def test_a_size_that_is_not_offered(url, tmp_path):
    """Where `size` is not offered, a line says so and pages hold the contract's 10 rows."""
    options = ["--db", tmp_path / "promo.db", "--size", 50, "--pages", 2, "--json"]
    code, output, said = promo("run", "--api", url, *options)
    assert (code, said) == (0, f"promo: {url} offers no size; pages hold 10\n")
    assert json.loads(output)["rows"] == 20


def test_an_address_in_the_environment_is_the_same_source(url, tmp_path):
    """However it is written there: `--api` goes on with what PROMO_API_URL has begun."""
    db, port = tmp_path / "promo.db", url.rpartition(":")[2]
    assert promo("run", "--db", db, "--pages", 1, PROMO_API_URL=f"HTTP://127.0.0.1:{port}/")[0] == 0
    learn(url, db, "--pages", 1)
    assert pages_in(db) == 2


def test_a_store_of_another_world_is_gone_on_with(tmp_path):
    """Without an address it is the API of the world that the store was begun with, forks too."""
    db, out = tmp_path / "chain.db", tmp_path / "fork.db"
    with (
        EmbeddedAPI("chain", rows=500, data=tmp_path / "data.db", port=0) as api,
        open_stream(api.url, api.source, db) as trainer,
    ):
        trainer.run(3)
    home = {"PROMO_DATA": str(tmp_path), "PROMO_API_URL": ""}
    code, output, said = promo("fork", "--db", db, "--page", 2, "--out", out, **home)
    assert (code, said) == (0, "")
    for command in (["run", "--db", db], shlex.split(output.rsplit(": ", 1)[1])[1:]):
        code, _, said = promo(*command, **home)
        assert (code, said) == (0, "")
    assert (pages_in(db), pages_in(out)) == (50, 50)


def test_nobody_needs_to_listen(url, tmp_path):
    """With standard error closed, or out and error, a run ends as any other."""
    for name, closed in (("a.db", "2>&-"), ("b.db", "<&- 2>&-"), ("c.db", ">&- 2>&-")):
        db = tmp_path / name
        command = shlex.join([sys.executable, "-m", "promo", "run", "--api", url, "--db", str(db)])
        assert subprocess.run(f"{command} {closed}", shell=True, timeout=60).returncode == 0
        assert pages_in(db) == PAGES


def test_a_name_that_cannot_be_printed_is_spelled_out(url, tmp_path):
    """Where the terminal does not know a file's letters, all is done and said nevertheless."""
    db = tmp_path / "é.db"
    strict = {"PYTHONIOENCODING": "ascii:strict"}
    code, output, said = promo("run", "--api", url, "--db", db, "--pages", 1, **strict)
    assert (code, said) == (0, "")
    assert "\\xe9.db" in output
    assert promo("show", "--db", db, **strict)[0] == 0


@pytest.mark.parametrize("form", ["HTTP://127.0.0.1:{port}", "http://127.0.0.1:{port}/#"])
def test_an_address_is_one_source_however_it_is_written(form, url, tmp_path):
    """With capitals, or an empty fragment: a store that was begun without is gone on with."""
    learn(url, tmp_path / "promo.db", "--pages", 2)
    port = url.rpartition(":")[2]
    api, db = form.format(port=port), tmp_path / "promo.db"
    code, output, _ = promo("run", "--api", api, "--db", db, "--pages", 2, "--json")
    assert code == 0
    assert json.loads(output)["rows"] == 20


def not_a_store(path):
    path.write_text("nothing of ours " * 1000)


def another_source(path):
    with contract_server(rows=20) as other:
        learn(other, path)


FAILURES = {
    "nobody there": (
        "http://127.0.0.1:9",
        None,
        "cannot reach http://127.0.0.1:9: Connection refused",
    ),
    "an empty address": ("", None, "'' is not the address of an API: give http://host:port"),
    "no address": ("127.0.0.1:9", None, "is not the address of an API: give http://host:port"),
    "wrong path": ("{url}/v2", None, "/v2/api/v1/data?page=0 answered 404"),
    "not a store": ("{url}", not_a_store, "promo.db"),
    "another source": ("{url}", another_source, "or delete this one (another: --db FILE)"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_are_one_line(failure, url, tmp_path):
    """What goes wrong is said in one line on stderr, exit code 1; no file is made or changed."""
    api, prepare, reason = FAILURES[failure]
    db = tmp_path / "promo.db"
    if prepare:
        prepare(db)
    before = db.read_bytes() if prepare else None
    code, _, said = promo("run", "--api", api.format(url=url), "--db", db, "--json")
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("promo: ")
    assert reason in said
    assert (db.read_bytes() if db.exists() else None) == before
    assert prepare or list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_other_end_is_one_line(whole):
    """What cannot be printed, as to a file on a full disk, is no traceback."""
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "promo", "show", "--db", whole[0]]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (1, "promo: [Errno 28] No space left on device\n")


@pytest.mark.parametrize(
    "options",
    [
        *(["--pages", "0"], ["--size", "-1"], ["--learning-rate", "nan"], ["--fast"]),
        *(["--models", "gpt"], ["--models", "mixture"], ["--models", ""]),
        *(["--host", ""], ["--host", " "]),
        *(["--scheduler", "here"], ["--scheduler", "tcp://here"]),
    ],
)
def test_wrong_options_are_usage_errors(options, tmp_path):
    """An option that makes no sense is a usage error, exit code 2, with the option named."""
    db = ["--db", tmp_path / "promo.db"]
    command = {"--scheduler": ["scale", *db], "--host": ["api"]}.get(options[0], ["run", *db])
    code, output, said = promo(*command, *options)
    assert (code, output) == (2, "")
    assert options[0] in said
    assert "Traceback" not in said


def test_show_tells_what_is_stored(whole):
    """`promo show --json` is one object: the newest page, counts, models, coefficients, metrics."""
    code, output, said = promo("show", "--db", whole[0], "--json")
    assert (code, said) == (0, "")
    facts = json.loads(output, parse_constant=pytest.fail)
    assert facts["page"] == PAGES - 1
    counts = {"received": ROWS, "inserted": ROWS, "duplicate": 0, "conflicting": 0, "rejected": 0}
    assert counts.items() <= facts.items()
    models = {model["name"]: model for model in facts["models"]}
    assert models["sgd-logistic"]["rows"] == models["network_ability ~ competence"]["rows"] == ROWS
    newest = query(
        whole[0], f"SELECT model, term, estimate FROM coefficient WHERE page = {PAGES - 1}"
    )
    assert sorted((c["model"], c["term"], c["estimate"]) for c in facts["coefficients"]) == sorted(
        newest
    )
    assert any(metric["name"] == "log_loss" for metric in facts["metrics"])


def test_show_of_one_row_is_json(tmp_path):
    """What cannot be told yet, or has no bounds yet, is null: JSON knows no NaN and no infinity."""
    with contract_server(rows=4) as url:
        learn(url, tmp_path / "promo.db")
    code, output, said = promo("show", "--db", tmp_path / "promo.db", "--json")
    assert (code, said) == (0, "")
    facts = json.loads(output, parse_constant=pytest.fail)
    for c in facts["coefficients"]:
        assert c["av_low"] is None or c["model"] == "causal-stories"  # correlations have bounds


def test_show_for_readers(whole):
    """`promo show` says the same in lines that fit a terminal."""
    code, output, said = promo("show", "--db", whole[0])
    assert (code, said) == (0, "")
    assert f"page {PAGES - 1}, {ROWS} rows" in output
    assert "network_ability ~ competence + promoted" in output
    assert max(map(len, output.splitlines())) <= 120


def test_show_nothing(tmp_path):
    """Showing a store that is not there is an error of one line, and makes no file."""
    code, output, said = promo("show", "--db", tmp_path / "none.db", "--json")
    assert (code, output, said.count("\n")) == (1, "", 1)
    assert str(tmp_path / "none.db") in said
    assert list(tmp_path.iterdir()) == []


def pages_in(db):
    with suppress(sqlite3.OperationalError):  # no tables yet
        return query(db, "SELECT count(*) FROM page")[0][0]
    return 0


def test_the_level_of_a_store_is_kept(url, tmp_path):
    """One that was begun elsewhere, with intervals of 90 %, is gone on with and forked at that."""
    db = tmp_path / "promo.db"
    open_stream(url, url, db, ("sgd-logistic",), alpha=0.1).close()
    assert learn(url, db, "--pages", "3")["rows"] == 30
    to = tmp_path / "fork.db"
    options = ["--page", "2", "--out", to, "--models", "base-rate"]
    assert promo("fork", "--db", db, *options)[0] == 0
    settings = [json.loads(s)["alpha"] for p in (db, to) for [s] in query(p, ALL_SETTINGS)]
    assert settings == [0.1, 0.1]


def test_experts_are_chosen_once(url, tmp_path):
    """A store goes on with the experts that it was begun with, and refuses others."""
    db, names = tmp_path / "promo.db", "mixture,base-rate, renewable-logistic,naive-bayes"
    learn(url, db, "--pages", "3", "--models", names)
    assert learn(url, db)["rows"] == ROWS - 30
    predicting = "SELECT model FROM metric WHERE name = 'brier' AND page = 12 ORDER BY model"
    expected = ["base-rate", "mixture", "naive-bayes", "renewable-logistic"]
    assert [name for [name] in query(db, predicting)] == expected
    weights = query(db, "SELECT value FROM metric WHERE model = 'mixture' AND name LIKE 'weight%'")
    assert len(weights) == 3 * PAGES
    code, _, said = promo("run", "--api", url, "--db", db, "--models", "base-rate")
    assert (code, "other models" in said, said.count("\n")) == (1, True, 1)


@pytest.mark.parametrize("command", ["lab", "app"])
def test_what_is_no_address_is_refused(command):
    """`promo lab` and `promo app` say so in one line, and do not begin."""
    code, _, said = promo(command, "--no-browser", "--port", "0", "--api", "nowhere")
    assert code == 1
    assert said == "promo: 'nowhere' is not the address of an API: give http://host:port\n"


def test_a_rate_that_nobody_goes_by_is_refused(url, tmp_path):
    """`--learning-rate` without sgd-logistic is one line, before a store is made of it."""
    db = tmp_path / "promo.db"
    options = ["--models", "base-rate", "--learning-rate", "0.1"]
    code, _, said = promo("run", "--api", url, "--db", db, *options)
    assert (code, "is of sgd-logistic" in said, said.count("\n")) == (1, True, 1)
    assert not db.exists()
