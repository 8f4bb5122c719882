"""A source that no longer serves what was committed is noticed before the stream goes on."""

import threading

import pytest

from clocks import wait_for
from promo.changes import find_change
from promo.cli import main
from promo.errors import SourceChanged, StreamError
from promo.models.sgd import SGDLogistic
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer
from servers import ScriptedServer, employees

LAST = 4


@pytest.fixture
def server():
    with ScriptedServer(employees(46)) as server:  # the last page is short
        yield server


def trainer_of(server, path, follow=False, position=0, **options):
    stream = PageStream(server.url, follow=follow, start_position=position)
    store = Store(path, source=stream.source, page_size=stream.page_size)
    return Trainer(stream, store, [SGDLogistic()], **options)


@pytest.fixture
def path(server, tmp_path):
    """Return a store that holds all of the server's pages."""
    path = tmp_path / "promo.db"
    with trainer_of(server, path) as trainer:
        trainer.run()
    return path


def change(server, row):
    server.rows[row] = {**server.rows[row], "competence": 99.0}


def tables(path):
    with Store.read_only(path) as reader:
        return reader.data(), reader.states


def test_an_unchanged_source_is_no_change(server, path):
    """All pages as committed: no event, and nothing to say."""
    with trainer_of(server, path) as trainer:
        assert trainer.run().status == "finished"
        assert trainer.store.events("changed") == []


def test_a_changed_last_page_is_reported_and_nothing_overwritten(server, path):
    """A row of the last page has other values: the stream fails with the page's number."""
    before = tables(path)
    change(server, 44)
    with trainer_of(server, path) as trainer:
        with pytest.raises(SourceChanged, match=f"page {LAST} .*not what was committed"):
            trainer.run()
        assert trainer.status == "failed"
        assert [e.detail["page"] for e in trainer.store.events("changed")] == [LAST]
    assert tables(path) == before


def test_a_changed_earlier_page_is_found_by_sample(server, path):
    """Each start looks at three earlier pages or fewer, so some start finds it."""
    change(server, 0)
    with Store.read_only(path) as reader:
        halt = threading.Event()
        found = [
            find_change(PageStream(server.url), reader, halt, lambda _: None) for _ in range(40)
        ]
    pages = {None if each is None else each.page for each in found}
    assert 0 in pages
    assert pages <= {None, 0}


def test_an_accepted_change_goes_on(server, path):
    """With accept_changes there is the event, and the stream goes on behind it."""
    change(server, 44)
    server.rows.extend(employees(60)[46:])
    with trainer_of(server, path, accept_changes=True) as trainer:
        assert trainer.run().rows == 60
        assert len(trainer.store.events("changed")) == 1
        competences = {row[1]: row[3] for row in trainer.store.data()}
    assert competences[server.rows[44]["id"]] != 99.0


def test_the_command_line_says_what_to_do(server, tmp_path, capsys):
    """`promo run` ends in one line that names the page and the option; with that it goes on."""
    command = ["run", "--api", server.url, "--db", str(tmp_path / "new.db")]
    assert main(command) == 0
    change(server, 44)
    server.rows.extend(employees(60)[46:])
    capsys.readouterr()
    assert main(command) == 1
    output, said = capsys.readouterr()
    assert (output, said.count("\n")) == ("", 1)
    assert said.startswith(f"promo: page {LAST} (counted from 0) of {server.url} is not what was")
    assert "--accept-changes" in said
    assert main([*command, "--accept-changes"]) == 0
    assert [row[3] for row in tables(tmp_path / "new.db")[0]].count(99.0) == 0
    assert len(tables(tmp_path / "new.db")[0]) == 60


def test_a_short_last_page_that_grew_is_no_change(server, path):
    """More rows behind those of then are what a living source has."""
    server.rows.extend(employees(52)[46:])
    with trainer_of(server, path) as trainer:
        assert trainer.run().rows == 52
        assert trainer.store.events("changed") == []


@pytest.mark.parametrize("follow", [False, True])
def test_a_source_that_shrank_is_a_change(server, path, follow):
    """The last committed page has fewer rows than then, or none; nobody waits for it to grow."""
    for rows in (44, 30):
        del server.rows[rows:]
        with trainer_of(server, path, follow=follow) as trainer:
            trainer.play()
            wait_for(lambda trainer=trainer: trainer.status == "failed")
            with pytest.raises(SourceChanged, match="page 4"):
                trainer.join()


@pytest.mark.parametrize("accept", [False, True])
def test_a_short_page_that_changed_as_it_grew_is_a_change(server, tmp_path, accept):
    """While it is followed, too: what is behind the rows of then is not taken without a word."""
    path = tmp_path / "promo.db"
    with trainer_of(server, path, accept_changes=accept) as trainer:
        trainer.stream.follow = True
        trainer.play()
        wait_for(lambda: trainer.snapshot.rows == 46)
        before = tables(path)[0]
        change(server, 44)
        server.rows.extend(employees(52)[46:])
        if accept:
            wait_for(lambda: trainer.snapshot.rows == 52)
        else:
            wait_for(lambda: trainer.status == "failed")
            assert isinstance(trainer.error, SourceChanged)
            assert tables(path)[0] == before
        assert [e.detail["page"] for e in trainer.store.events("changed")] == [LAST]
    assert [row[3] for row in tables(path)[0]].count(99.0) == 0


def test_a_store_does_not_begin_within_a_page(server, tmp_path):
    """It could not be held against the source later; an old one goes on where it ends."""
    with trainer_of(server, tmp_path / "new.db", position=3) as trainer:
        with pytest.raises(StreamError, match="start_position=3: a store begins with a whole page"):
            trainer.run()
        assert trainer.store.page is None
    for pages in (2, 3):
        with trainer_of(server, tmp_path / "old.db", position=3 * (pages > 2)) as trainer:
            trainer.run(pages)
            assert trainer.store.page == (1 if pages == 2 else LAST)
