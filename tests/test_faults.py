"""The faulty server of `promo.faults` and `promo.faulty`, and the line that it attacks."""

import http.client
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
import tenacity
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clocks import STOP_S, at_most, wait_for
from crash import open_trainer
from promo.api import DATA_PATH, create_app
from promo.dataset import Recipe, ensure_data
from promo.embedded import EmbeddedAPI
from promo.errors import ServiceError, SourceChanged
from promo.faults import NAMES, PASSING, Plan, parse
from promo.faulty import Faulty
from promo.models.regressions import Regressions
from promo.models.sgd import SGDLogistic
from promo.stream import wire
from servers import ScriptedServer, served
from tables import assert_sound, dump, reconcile

SOAK = float(os.environ.get("PROMO_SOAK") or 0)
PLANS, PAGES = int(500 * SOAK) or 20, int(10_000 * SOAK) or 300
TRIES = max(round(200 * SOAK), 5)  # of each state
ROWS = 247  # the last page, 24, is a short one
LAST = 24
SOURCE = "world:collider"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Serve our service from a thread, with plans to be set; `url` is where."""
    data = tmp_path_factory.mktemp("faults") / "data.db"
    ensure_data(data, Recipe(rows=ROWS, seed=3))
    app = Faulty(create_app(data), DATA_PATH, Plan())
    with served(app) as app.url:
        yield app


@pytest.fixture(autouse=True)
def _first_requests(request):
    """Have each test's requests be the first."""
    if "faulty" in request.fixturenames:
        app = request.getfixturevalue("faulty")
        app.plan = Plan()
        app.asked.clear()


def ask(url, page=0, timeout=10):
    """Return status, headers and body of one request, as a plain client sees them."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)
    try:
        connection.request("GET", f"{DATA_PATH}?page={page}")
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def outcome(url, page=0, timeout=10):
    """Return what becomes of one request: the body if it is a page's, or else a word."""
    try:
        status, headers, body = ask(url, page, timeout)
        return json.loads(body) if status == 200 else (status, headers["Retry-After"])
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__


# -- the plan ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["12", "12:boom", "x:500", "-1:500", "1:500*", "seed=x", "rate=2", "rate=nan", "a=1", "1:500;"],
)
def test_a_bad_plan_is_refused_in_one_line(text):
    """What is no plan is refused before anything starts, with the item and what is expected."""
    for refuse in (parse, lambda text: EmbeddedAPI(faults=text)):
        with pytest.raises(ServiceError, match="expected seed=N") as caught:
            refuse(f"3:hang,{text}")
        assert repr(text) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_seed_says_it_all():
    """The rate is kept, the same seed gives the same faults, and only faults that pass."""
    drawn = [parse("seed=5,rate=0.2").fault(page, page % 3) for page in range(5000)]
    assert drawn == [parse("rate=0.2,seed=5").fault(page, page % 3) for page in range(5000)]
    assert {*drawn} == {None, *PASSING}
    assert 0.18 < 1 - drawn.count(None) / len(drawn) < 0.22


# -- the server -------------------------------------------------------------------------------


def test_each_fault_is_what_it_is_called(faulty):
    """A plain client sees each fault once, as it is called, and the page itself after that."""
    good = outcome(faulty.url)
    assert [row["id"] for row in good] == list(range(10))
    expected = {
        "429": (429, "1"),
        "500": (500, None),
        "hang": "TimeoutError",
        "truncated": "IncompleteRead",
        "length": "JSONDecodeError",
        "html": "JSONDecodeError",
        "invalid": "JSONDecodeError",
        "reset": "ConnectionResetError",
        "empty": [],
        "duplicate": [*good, good[0]],
        "reordered": good[::-1],
        "changed": [good[0] | {"competence": good[0]["competence"] + 1}, *good[1:]],
    }
    assert expected.keys() == {*NAMES} - {"drip"}
    for name, seen in expected.items():
        faulty.asked.clear()
        faulty.plan = parse(f"0:{name}")
        assert outcome(faulty.url, timeout=0.3 if name == "hang" else 10) == seen, name
        assert outcome(faulty.url) == good
        assert faulty.asked == {0: 2}


def test_a_drip_is_slow_but_never_silent(faulty):
    """A drip comes in small pieces, each in time for a client that only limits each wait."""
    faulty.plan = parse("0:drip")
    connection = http.client.HTTPConnection(urlsplit(faulty.url).netloc, timeout=5)
    connection.request("GET", f"{DATA_PATH}?page=0")
    assert all(0 < len(connection.sock.recv(100)) < 10 for _ in range(5))
    connection.close()


def test_what_is_refused_is_no_request_for_a_page(faulty):
    """Wrong requests and other paths are answered as ever, and do not use up the plan."""
    faulty.plan = parse("0:500")
    assert outcome(faulty.url, "x")[0] == 422
    assert outcome(faulty.url, 0)[0] == 500


@pytest.mark.slow
def test_a_hanging_service_can_be_stopped(tmp_path):
    """Ctrl-C ends `promo api` while it lets a client hang, without a traceback."""
    options = ["--port", "0", "--rows", "20", "--data", tmp_path / "data.db", "--faults", "0:hang"]
    process = subprocess.Popen(
        [sys.executable, "-m", "promo", "api", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    url = process.stdout.readline().split()[-1]
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", f"{DATA_PATH}?page=0")
    assert outcome(url, 1)[0]["id"] == 10  # so the request before it has been taken
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    connection.close()
    assert process.returncode == 0
    assert "Traceback" not in said


def test_a_child_serves_the_plan(tmp_path):
    """`EmbeddedAPI(faults=...)` starts a service that keeps to the plan."""
    with EmbeddedAPI(rows=20, data=tmp_path / "data.db", port=0, faults="1:500*2") as api:
        assert [outcome(api.url, 1)[0] for _ in range(2)] == [500, 500]
        assert [row["id"] for row in outcome(api.url, 1)] == list(range(10, 20))


# -- the line under attack --------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _retry_fast(request, monkeypatch):
    if not request.node.name.startswith("test_stop"):  # which is to end real waiting
        monkeypatch.setattr(wire, "_backoff", tenacity.wait_random(0.02, 0.05))
        monkeypatch.setattr(wire, "RETRY_AFTER_CAP_S", 0.05)


@contextmanager
def opened(path, url, **options):
    """Give a trainer with little patience on a store at `path`; afterwards, check the file."""
    options = {"timeout": 0.25, "deadline": 30, **options}
    with open_trainer(path, url, SOURCE, **options) as trainer:
        yield trainer
        reconcile(trainer.store)


@pytest.fixture(scope="module")
def clean(faulty, tmp_path_factory):
    """Return the tables of a run that nothing disturbed."""
    faulty.plan = Plan()
    with opened(tmp_path_factory.mktemp("clean") / "promo.db", faulty.url, timeout=10) as trainer:
        trainer.run()
        return dump(trainer.store)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PLANS))
def test_any_plan_ends_in_the_tables_of_a_clean_run(clean, faulty, tmp_path, seed):
    """Whatever goes wrong and passes, every table ends as if nothing had been."""
    faulty.plan = parse(f"seed={seed},rate={0.05 + seed % 10 / 20:g}")
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        trainer.run()
        assert trainer.status == "finished"
        assert dump(trainer.store) == clean


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(PLANS // 4))
def test_pages_served_otherwise_are_counted_and_reported(clean, faulty, tmp_path, seed):
    """Duplicates are counted, no row is lost, nothing is overwritten, going on reports a change."""
    draw = random.Random(seed)
    others = {page: draw.choice(NAMES[-3:]) for page in draw.sample(range(LAST), 10)}
    others[LAST] = draw.choice(NAMES[-3:])
    passing = [name for name in PASSING if name not in ("hang", "drip", "empty")]
    faulty.plan = Plan({page: (draw.choice(passing), other) for page, other in others.items()})
    with opened(tmp_path / "promo.db", faulty.url, timeout=10) as trainer:  # each is met once
        trainer.run()
        assert_sound(trainer.store)
        found = dump(trainer.store)
    assert sorted(found["data"]) == sorted(rows_with(others, clean["data"]))
    assert [row[:6] for row in found["page"]] == [counts_with(others, row) for row in clean["page"]]
    digests = [[row[-1] for row in tables["page"]] for tables in (found, clean)]
    assert [a != b for a, b in zip(*digests, strict=True)] == [n in others for n in range(LAST + 1)]

    faulty.plan = Plan()  # all pages are again what they should have been
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        with pytest.raises(SourceChanged, match=f"page {LAST} "):
            trainer.run()
        assert dump(trainer.store)["data"] == found["data"]
        assert trainer.store.query("SELECT count(*) FROM event WHERE kind = 'changed'") == [(1,)]


def rows_with(others, rows):
    """Return the rows of `data` as the first of each changed page would have them."""
    first = {page * 10 for page, other in others.items() if other == "changed"}
    return [(i, n, c + (i in first), promoted) for i, n, c, promoted in rows]


def counts_with(others, row):
    """Return a line of the ledger, to `rejected`, with a row more where it comes twice."""
    page, received, inserted, *_ = row
    twice = others.get(page) == "duplicate"
    fits = twice and page == LAST
    return (page, received + twice, inserted, int(fits), 0, int(twice and not fits))


@pytest.mark.slow
@pytest.mark.parametrize("fault", PASSING[:-1])
def test_an_outage_is_seen_and_recovered_from(clean, faulty, tmp_path, fault):
    """During an outage the status is `retrying` and says what and when; then all goes on."""
    faulty.plan = parse(f"20:{fault}*9999")
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        trainer.play()
        wait_for(lambda: trainer.message.startswith("page 20 (counted from 0): "))
        assert trainer.status == "retrying"
        wait_for(lambda: trainer.snapshot.message.startswith("page 20 ("))
        seen = trainer.snapshot
        assert (seen.status, seen.page) == ("retrying", 19)
        what, _, when = seen.message.partition(": ")[2].rpartition("; ")
        assert what
        assert when.startswith("attempt ")
        assert when.endswith(" s")
        faulty.plan = Plan()  # the outage is over
        wait_for(lambda: trainer.status == "finished")
        assert trainer.message == ""
        assert dump(trainer.store) == clean
        [(detail,)] = trainer.store.query(
            "SELECT detail FROM event WHERE kind = 'retry' AND page = 20"
        )
        assert json.loads(detail)["reason"]


@pytest.mark.slow
def test_an_outage_is_seen_on_going_on(clean, faulty, tmp_path):
    """During an outage when play is pressed the status is `retrying` and says what and when."""
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        trainer.run(3)
    faulty.plan = parse("2:500*9999")
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        trainer.play()
        wait_for(lambda: trainer.snapshot.status == "retrying")
        assert trainer.snapshot.message.startswith(
            "page 2 (counted from 0): 500 Internal Server Error; attempt "
        )
        faulty.plan = Plan()
        wait_for(lambda: trainer.status == "finished")
        assert dump(trainer.store) == clean


def test_an_early_end_is_gone_on_from(clean, faulty, tmp_path):
    """Two empty answers are the end; asked to go on, the line finds what there is after all."""
    faulty.plan = parse("20:empty*2")
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        assert trainer.run().page == 19
        assert trainer.status == "finished"
        trainer.run()
        assert dump(trainer.store) == clean


@pytest.fixture(scope="module")
def stops(request):
    """Collect how long stopping took, in seconds, and tell the median and the worst."""
    times = []
    yield times
    told = f"stop: {len(times)} tries, median {statistics.median(times) * 1000:.0f} ms, "
    with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{told}worst {max(times) * 1000:.0f} ms")


def stop(trainer, stops):
    """Stop, and note how long it takes until the thread is gone."""
    with at_most(STOP_S, stops):
        trainer.stop()
        trainer.join()


@pytest.mark.slow
@pytest.mark.parametrize("fault", NAMES)
def test_stop_during_each_fault(faulty, tmp_path, stops, fault, record_property):
    """Stop takes effect within 250 ms at any instant of any fault, and leaves no thread."""
    for attempt in range(TRIES):
        faulty.plan = parse(f"2:{fault}*9999")
        faulty.asked.clear()
        path = tmp_path / f"{attempt}.db"
        with opened(path, faulty.url, timeout=30, speed=100) as trainer:
            trainer.play()
            wait_for(lambda: faulty.asked[2] and (trainer.snapshot.page or 0) >= 1)
            trainer.wait(random.random() / 10)  # until some instant of it
            stop(trainer, stops)
    record_property("tried", TRIES)
    record_property("times_s", json.dumps(stops[-TRIES:]))
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("promo-fetch")])


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang", "drip", "500"])
def test_stop_while_going_on(faulty, tmp_path, stops, fault, record_property):
    """Stop takes effect within 250 ms while the source is compared with what was committed."""
    with opened(tmp_path / "promo.db", faulty.url) as trainer:
        trainer.run(3)
    for _ in range(TRIES):
        faulty.plan = parse(f"2:{fault}*9999")
        faulty.asked.clear()
        with opened(tmp_path / "promo.db", faulty.url, timeout=30) as trainer:
            trainer.play()
            wait_for(lambda: faulty.asked[2])
            trainer.wait(random.random() / 10)
            stop(trainer, stops)
            assert trainer.snapshot.page == 2
            assert len(trainer.store.events("started")) == 1  # nothing is written that may wait
    record_property("tried", TRIES)
    record_property("times_s", json.dumps(stops[-TRIES:]))


class Slow(Regressions):
    """Regressions that take their time for each page."""

    def learn(self, batch):
        """Wait, then learn."""
        threading.Event().wait(0.1)
        super().learn(batch)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["commit", "slow model", "its turn", "rest"])
def test_stop_within_the_line(faulty, tmp_path, stops, where, record_property):
    """Stop takes effect within 250 ms in a commit, with a slow model, held back, and at rest."""
    for attempt in range(TRIES):
        models = [SGDLogistic(), Slow() if where == "slow model" else Regressions()]
        speed = 1e-9 if where == "its turn" else 50
        with opened(tmp_path / f"{attempt}.db", faulty.url, models=models, speed=speed) as trainer:
            commits = threading.Semaphore(0)
            trainer.store._connection.set_trace_callback(
                lambda sql: sql == "COMMIT" and commits.release()  # noqa: B023
            )
            trainer.step(2) if where == "rest" else trainer.play()
            for _ in range(2):  # that of `started`, and the first page's
                assert commits.acquire(timeout=60)
            if where == "rest":
                wait_for(lambda: trainer.status == "paused")
            elif where != "commit":
                wait_for(lambda: trainer.snapshot.page == 0)
                trainer.wait(random.random() / 10)
            stop(trainer, stops)
            assert trainer.status == "stopped"
    record_property("tried", TRIES)
    record_property("times_s", json.dumps(stops[-TRIES:]))


# -- bad rows ---------------------------------------------------------------------------------

NUMBERS = [
    "0",
    "1",
    "-1.5",
    "0.25",
    "1e100",
    "-1e100",
    "5e-324",
    "1000000000000000000000000",
    "-0.0",
]
NO_NUMBERS = ["null", '"1"', "NaN", "-Infinity", "1e101", "1e999", "true", "[]", "{}"]
BAD = {
    "id": ["null", "-1", "9223372036854775808", "1.5", '"1"', "true", "[1]", "1" * 30],
    "competence": NO_NUMBERS,
    "network_ability": NO_NUMBERS,
    "promoted": ["null", "2", "-1", '"true"', "0.5", "[]"],
}
good_fields = {
    "id": st.sampled_from([*map(str, range(40)), "9223372036854775807"]),
    "competence": st.sampled_from(NUMBERS),
    "network_ability": st.sampled_from(NUMBERS),
    "promoted": st.sampled_from(["true", "false", "0", "1"]),
}
good_rows = st.fixed_dictionaries(good_fields, optional={"note": st.just('"x"')})
bad_fields = st.one_of(
    [st.tuples(st.just(name), st.sampled_from([None, *texts])) for name, texts in BAD.items()]
)
bad_rows = st.builds(lambda row, bad: row | dict([bad]), good_rows, bad_fields)
no_rows = st.sampled_from(["null", "7", '"row"', "[]", "{}", "NaN", '{"id": 3}'])


def text_of(fields):
    """Return a row as JSON; fields that are None are left out."""
    kept = (f'"{name}": {text}' for name, text in fields.items() if text is not None)
    return f"{{{', '.join(kept)}}}"


elements = st.one_of(good_rows.map(text_of), good_rows.map(text_of), bad_rows.map(text_of), no_rows)
some_pages = st.lists(st.lists(elements, min_size=1, max_size=12), min_size=10, max_size=10)


def is_employee(row):
    """Whether a decoded element keeps the contract, by a reading of its own."""
    if not isinstance(row, dict) or not {"id", "promoted"} <= row.keys():
        return False
    numbers = [row.get("competence"), row.get("network_ability")]
    return (
        type(row["id"]) is int
        and 0 <= row["id"] < 2**63
        and all(type(x) in (int, float) and math.isfinite(x) and abs(x) <= 1e100 for x in numbers)
        and (type(row["promoted"]) is bool or row["promoted"] in (0, 1))
    )


def expected(pages):
    """Return ledger and data as a plain loop has them."""
    data, ledger = {}, []
    for number, page in enumerate(pages):
        inserted = duplicate = conflicting = rejected = 0
        for position, text in enumerate(page):
            row = json.loads(text)
            if position >= 10 or not is_employee(row):
                rejected += 1
                continue
            values = (float(row["network_ability"]), float(row["competence"]), row["promoted"])
            if row["id"] not in data:
                data[row["id"]] = values
                inserted += 1
            elif data[row["id"]] == values:
                duplicate += 1
            else:
                conflicting += 1
        ledger.append((number, len(page), inserted, duplicate, conflicting, rejected))
    return ledger, data


@pytest.mark.slow
@pytest.mark.timeout(3600 if SOAK else 300)
def test_bad_rows_never_enter_and_never_vanish(tmp_path_factory, record_property):
    """Of any pages: received = inserted + duplicate + conflicting + rejected, as a loop counts."""
    learned = 0

    @settings(
        max_examples=PAGES // 10,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(some_pages)
    def hold(pages):
        nonlocal learned
        bodies = [f"[{', '.join(page)}]".encode() for page in [*pages, []]]
        last = len(pages)

        def answer(exchange):
            return exchange.send(bodies[min(exchange.page, last)])

        path = tmp_path_factory.mktemp("rows") / "promo.db"
        with (
            ScriptedServer([], always=answer) as server,
            opened(path, server.url, timeout=10, window=2) as trainer,
        ):
            trainer.run()
            ledger, data = expected(pages)
            found = dump(trainer.store)
        assert [row[:6] for row in found["page"]] == ledger
        assert {row[0]: row[1:] for row in found["data"]} == data
        learned += last

    hold()
    assert learned >= PAGES
    record_property("tried", learned)
