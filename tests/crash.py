"""What a child process does that is going to be killed."""

import gc
import json
import os
import random
import signal
import sys
import threading
import time

import psutil
from tqdm import tqdm

from promo.cli import main
from promo.errors import PromoError, StoreLocked
from promo.fork import fork
from promo.models.default import default_models
from promo.store import Store
from promo.stream import PageStream
from promo.trainer import Trainer


def open_trainer(path, url, source, models=None, speed=None, **options):
    """Return a trainer of the usual models on a store at `path`."""
    stream = PageStream(url, source=source, **options)
    usual, settings = default_models(source=stream.source)
    store = Store(path, source=stream.source, page_size=10, settings=settings)
    return Trainer(stream, store, models or usual, speed=speed)


def learn(path, url, source, pages, running):
    """Learn that many pages, after saying so, and wait for the end."""
    with open_trainer(path, url, source) as trainer:
        running.send(True)
        trainer.run(pages)
        threading.Event().wait(60)


def learn_for_long(path, url, source, stops, said):
    """Learn up to each number of pages; say the bytes resident and the seconds; go on.

    The seconds are those by the clock and those of processors.
    """
    with open_trainer(path, url, source) as trainer:
        for pages in stops:
            began, worked = time.monotonic(), time.process_time()
            trainer.run(
                pages - 1 - (-1 if trainer.snapshot.page is None else trainer.snapshot.page)
            )
            gc.collect()
            took = time.monotonic() - began, time.process_time() - worked
            said.send((psutil.Process().memory_info().rss, *took))
        trainer.play()
        said.send(None)
        threading.Event().wait()


def contend(path, url, source, seed, notes):
    """Race for a store for ever; learn a little when it is won. Note it all, with the time."""
    dice = random.Random(seed)
    with notes.open("w", buffering=1) as file:

        def note(what, *details):
            file.write(json.dumps([what, time.monotonic(), *details]) + "\n")

        while True:
            note("asks")
            try:
                trainer = open_trainer(path, url, source)
            except StoreLocked as error:
                note("refused", str(error))
                continue
            note("holds")
            trainer.run(dice.randint(1, 3))
            note("lets go")
            trainer.close()
            note("has let go")


def learn_and_die(path, url, pages, log_bytes):
    """Learn that many pages, let the log grow to such a length, and end without a word."""
    trainer = open_trainer(path, url, url)
    log = path.with_name(f"{path.name}-wal")
    trainer.run(pages)
    trainer.stop()
    trainer.join()
    while log.stat().st_size < log_bytes:
        trainer.store.record("stopped", {})
    os.kill(os.getpid(), signal.SIGKILL)


def learn_on_a_full_disk(path, url, room, said):
    """Learn what there is into a file that may grow by `room` pages of SQLite only."""
    with said.open("w") as file:
        try:
            with open_trainer(path, url, url) as trainer:
                [[size]] = trainer.store.query("PRAGMA page_count")
                trainer.store.query(f"PRAGMA max_page_count = {size + room}")
                trainer.run()
        except Exception as error:
            file.write(str(error))


def learn_against_odds(path, url, said, go):
    """Learn what there is, once told to go; after each error say it, and when told, try again."""
    note_commits(path.with_name("committed.txt"))
    trainer = None
    while go.recv():
        try:
            trainer = trainer or open_trainer(path, url, url)
            trainer.run()
            trainer.close()
        except PromoError as error:
            said.send(str(error))
        else:
            said.send("")


def note_commits(file):
    """Have every page that is committed from now on noted in a file, once it is."""
    commit, notes = Store.commit, os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def noted(self, batch, *learned):
        commit(self, batch, *learned)
        os.write(notes, b"%d\n" % batch.page)

    Store.commit = noted


def wait_at(phase, line):
    """Tell the parent, and wait until it says go, when it comes to a phase of `promo run`."""

    def wait():
        line.send(phase)
        line.recv()

    def once_open(self, *arguments, **options):
        start(self, *arguments, **options)
        wait()

    def before_closing(self, *arguments):
        if not self._closed:
            wait()
        close(self, *arguments)

    start, close = Trainer.__init__, Trainer.close
    if phase == "opening":
        wait()
    elif phase == "learning":
        Trainer.__init__ = once_open
    else:
        Trainer.close = before_closing


def fork_there(path, page, to, said, go):
    """Fork once told to go, and say what came of it."""
    go.recv()
    try:
        with Store.read_only(path) as source:
            fork(source, page, to)
    except PromoError as error:
        said.send(str(error))
    else:
        said.send("")


def promo(arguments, said, line, phase="opening", **patience):
    """Be `promo`, and at a phase wait for the parent; what it says on stderr goes to a file."""
    PageStream.__init__.__kwdefaults__.update(patience)
    tqdm.set_lock(threading.RLock())  # its own is known to the system, which keeps it after a kill
    note_commits(said.with_name("committed.txt"))
    wait_at(phase, line)
    with said.open("w") as file:
        os.dup2(file.fileno(), 2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    sys.exit(main(arguments))
