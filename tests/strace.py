"""System calls of a child that fail, or are its last, by strace's fault injection."""

import multiprocessing
import re
import subprocess
import threading
from collections import Counter
from contextlib import contextmanager
from multiprocessing.connection import wait

import crash

CALLS = "openat,write,pwrite64,fdatasync,fsync,ftruncate,unlink,rename"
DEADLINE_S = 40.0

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(  # not `crash`: the server does not look in this folder
    [
        "promo.cli",
        "promo.models.regressions",
        "promo.models.sgd",
        "promo.trainer",
        "promo.embedded",
        "psutil",
        "tqdm",
        "pytest",
    ]
)


def files_of(db):
    """Return all that is written for a store: the file, its logs, its lock, their folder."""
    names = [db.name + end for end in ("", "-journal", "-wal", "-shm", ".lock")]
    names += [f"{db.name}.new{end}" for end in ("", "-journal", "-wal", "-shm")]
    return [db.parent, *(db.parent / name for name in names)]


@contextmanager
def child(target, *arguments, **options):
    """Run a function of `crash` in a process of its own; nothing of it is left behind."""
    process = context.Process(target=target, args=arguments, kwargs=options)
    with _asking:
        process.start()
    try:
        yield process
    finally:
        process.kill()
        exit_code(process)
        process.close()


def exit_code(process, timeout=None):
    """Wait for a child to end; return its exit code, None if it has not ended in time."""
    wait([process.sentinel], timeout)
    with _asking:
        return process.exitcode


# How a child has ended can be read only once, and `start` reads it for all of them: two threads
# that do so at once may get 255.
_asking = threading.Lock()


@contextmanager
def tracing(process, db, injection=None, files=None):
    """Have strace follow a child, and hit it as `strace -e inject=` says; give the log's path.

    Only what concerns the store is counted and hit: sockets, standard output and the rest of the
    machine stay as they are; or some of its `files` alone. Afterwards the child goes on
    undisturbed, if it still is.
    """
    log = db.parent / "strace.txt"
    options = ["-f", "-o", str(log), "-e", f"trace={CALLS},pread64"]
    options += [part for path in files or files_of(db) for part in ("-P", str(path))]
    if injection:
        options += ["-e", f"inject={injection}"]
    command = ["strace", "-p", str(process.pid), *options]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert "attached" in tracer.stderr.readline()
        yield log
    finally:
        tracer.terminate()
        tracer.communicate(timeout=DEADLINE_S)


def run_promo(arguments, db, injection=None, phase="opening"):
    """Run `promo` under strace; return its exit code, what it said, and the lines of strace.

    strace counts the calls of each thread. So that every one of each can be hit, it begins with a
    phase: the main thread opens the store, another one learns, the main thread closes.
    """
    said = db.parent / "said.txt"
    ours, its = context.Pipe()
    with ours, its, child(crash.promo, list(map(str, arguments)), said, its, phase) as process:
        assert ours.poll(DEADLINE_S)
        with tracing(process, db, injection) as log:
            ours.send(True)
            code = exit_code(process, DEADLINE_S)
        return code, said.read_text() if said.exists() else "", log.read_text().splitlines()


def run_plainly(arguments, said):
    """Run `promo` with nothing in its way; return its exit code and what it said."""
    ours, its = context.Pipe()
    with ours, its, child(crash.promo, list(map(str, arguments)), said, its) as process:
        ours.send(True)
        return exit_code(process, DEADLINE_S), said.read_text()


def calls_of_the_first(lines):
    """Return how often each system call was made by the thread whose phase it is."""
    made = [found.groups() for line in lines if (found := re.match(r"(\d+)\s+(\w+)\(", line))]
    return Counter(call for thread, call in made if thread == made[0][0])
