"""The command line: `promo lab | app | api | run | scale | fork | show | report`.

Imports happen inside the commands, so that each starts as fast as what it needs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from promo import __version__, options
from promo.errors import PromoError, SourceChanged, StoreMismatch, printable
from promo.faults import NAMES
from promo.interruption import Interruption
from promo.paths import data_dir, project_root
from promo.words import of_rows

if TYPE_CHECKING:
    from promo.embedded import Service
    from promo.trainer import Trainer

INTERRUPTED = 130  # 128 + SIGINT, as a shell says it
_NEEDS = ("promo.models.default", "promo.trainer", "promo.show", "tqdm")  # what runs needs at once
_OPTIONS = {  # that do what an error advises
    StoreMismatch: " (another: --db FILE)",
    SourceChanged: " (--accept-changes, or --db with another file)",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="promo", description="Watch models learn from a stream of employees."
    )
    top.add_argument("--version", action="version", version=f"promo {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    lab = commands.add_parser("lab", help="JupyterLab on the analysis notebook, with an API")
    _add_page(lab, 8888)
    _add_api(lab)
    lab.set_defaults(run=_lab)

    app = commands.add_parser("app", help="the dashboard as a web page, with an API")
    _add_page(app, 8866)
    app.add_argument(
        "--no-token", action="store_true", help="open it to whoever reaches the port: no token"
    )
    app.add_argument("--theme", choices=("light", "dark"), default="light")
    _add_api(app)
    app.set_defaults(run=_app)

    api = commands.add_parser("api", help="serve employees of a world over HTTP")
    api.add_argument("--host", type=options.host, default="127.0.0.1")
    api.add_argument("--port", type=_port, default=5000, help="0 for any free one")
    api.add_argument(
        "--world",
        default="collider",
        help="collider, threshold, mentoring, chain, fork, confounded, drift or interaction",
    )
    api.add_argument("--rows", type=int, default=100_000)
    api.add_argument("--seed", type=int, default=2021)
    api.add_argument("--data", type=Path, help="SQLite file to serve (data/main.db), of one world")
    api.add_argument(
        "--faults",
        metavar="PLAN",
        default="",
        help="have pages go wrong: items with commas between, of seed=N, rate=0.05 (the chance of "
        f"a request) and PAGE:FAULT or PAGE:FAULT*TIMES, as in 12:500*3,40:hang; a FAULT is one of "
        f"{', '.join(NAMES)}",
    )
    api.set_defaults(run=_api)

    run = commands.add_parser("run", help="learn from the stream without a notebook")
    _add_stream(run)
    run.add_argument("--follow", action="store_true", help="wait for new rows at the end")
    run.add_argument("--learning-rate", type=_rate, help="of sgd-logistic, from now on")
    experts = (
        "with commas between: of sgd-logistic, base-rate, renewable-logistic, "
        "renewable-logistic-quadratic, mixture; at a price, naive-bayes, hoeffding-tree, "
        "nearest-neighbours, random-forest"
    )
    which = run.add_mutually_exclusive_group()
    which.add_argument(
        "--models", type=_names, metavar="NAMES", help=f"of a new store (sgd-logistic), {experts}"
    )
    which.add_argument(
        "--merging", action="store_true", help="only what promo scale can go on with"
    )
    run.set_defaults(run=_run, trainer=options.trainer, needs=_NEEDS)

    scale = commands.add_parser(
        "scale",
        help="the same on many machines at once, with Dask",
        description="Learn what merges, with workers of Dask: moments, regressions, a logistic "
        "regression, causal stories. SGD and river's trees do not merge; they are off.",
    )
    _add_stream(scale)
    where = scale.add_mutually_exclusive_group()
    where.add_argument(
        "--scheduler",
        type=options.address,
        metavar="ADDRESS",
        help="to join, as in tcp://host:8786",
    )
    where.add_argument("--workers", type=_count, help="to start here instead (2)")
    scale.add_argument(
        "--in-flight", type=_count, default=64, metavar="N", help="pages asked for at once (64)"
    )
    scale.add_argument(
        "--pages-per-s", type=_pace, metavar="X", help="at most, by all workers together"
    )
    scale.add_argument(
        "--parquet", type=Path, metavar="FOLDER", help="for the rows, instead of the store"
    )
    scale.set_defaults(run=_run, trainer=options.scaled_trainer, needs=(*_NEEDS, "promo.scale"))

    fork = commands.add_parser("fork", help="begin a second run where another stood at a page")
    fork.add_argument("--db", type=Path, help="the store to leave (data/promo.db)")
    fork.add_argument(
        "--page", type=_page, required=True, help="counted from 0; one that has a checkpoint"
    )
    fork.add_argument("--out", type=Path, required=True, help="the new store")
    fork.add_argument("--learning-rate", type=_rate, help="of sgd-logistic, from the next page on")
    fork.add_argument(
        "--models",
        type=_names,
        metavar="NAMES",
        help=f"other experts than its own, which learn the rows up to the page anew, {experts}",
    )
    fork.set_defaults(run=_fork)

    show = commands.add_parser("show", help="what a store holds")
    show.add_argument("--db", type=Path, help="the store (default: data/promo.db)")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=_show)

    report = commands.add_parser("report", help="all that a store holds as one HTML file")
    report.add_argument("--db", type=Path, help="the store (default: data/promo.db)")
    report.add_argument("--out", type=Path, default="report.html", help="the file (report.html)")
    report.set_defaults(run=_report)
    return top


def _add_stream(command: argparse.ArgumentParser) -> None:
    _add_api(command)
    add = command.add_argument
    add("--db", type=Path, help="store to go on with or to create (data/promo.db)")
    add("--pages", type=_count, help="learn this many pages more, then stop")
    add("--size", type=_count, help="rows per page, where the API offers it")
    add(
        "--accept-changes",
        action="store_true",
        help="go on although the API no longer serves what was committed",
    )
    add("--json", action="store_true", help="print a JSON object last")


def _add_api(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--api", metavar="URL", help="the service to read; else PROMO_API_URL, else our own"
    )


def _add_page(command: argparse.ArgumentParser, port: int) -> None:
    command.add_argument("--port", type=_port, default=port)
    command.add_argument("--host", type=options.host, default="127.0.0.1", help="to listen on")
    command.add_argument("--no-browser", action="store_true", help="only print the address")


def _rate(text: str) -> float:
    from promo.models.results import check_learning_rate

    try:
        return check_learning_rate(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: expected a number in (0, 1e6]") from error


def _pace(text: str) -> float:
    from promo.pace import SpeedLimit

    try:
        SpeedLimit(pace := float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: expected a positive number") from error
    return pace


def _names(text: str) -> list[str]:
    from promo.models.default import default_models

    names = [name.strip() for name in text.split(",")]
    try:
        default_models(names)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return names


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1")
    return int(text)


def _page(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):  # no stream gets there
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 0")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 2**16):
        raise argparse.ArgumentTypeError(f"{text}: expected a port, 0 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = parser().parse_args(argv)
    if hasattr(sys.stdout, "reconfigure"):  # not if it is closed, or a notebook's
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files
    try:
        return int(arguments.run(arguments))
    except PromoError as error:
        told = printable(str(error), 2000)
        print(f"promo: {told}{_OPTIONS.get(type(error), '')}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:  # as when what is printed goes to a full disk
        if not isinstance(error, BrokenPipeError):  # else whoever read along has seen enough
            print(f"promo: {error}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _api(arguments: argparse.Namespace) -> int:
    with Interruption().heard() as interruption, interruption.held():
        from promo.api import serve
    data = arguments.data or data_dir() / "main.db"
    world, rows, seed = arguments.world, arguments.rows, arguments.seed
    serve(arguments.host, arguments.port, world, rows, seed, data, arguments.faults)
    return 0


def _root() -> Path:
    """Return the repository, whose `data` everything that starts from here shares."""
    root = project_root()
    if root is None:
        raise PromoError("no notebooks/01-analysis.ipynb here or above: run it in the repository")
    os.environ["PROMO_DATA"] = os.environ.get("PROMO_DATA") or str(root / "data")
    return root


@contextmanager
def _service_for_kernels(url: str | None) -> Iterator[None]:
    """Have every kernel started meanwhile read one service, which we say."""
    from promo.address import without_login

    with options.service(url) as service:
        os.environ["PROMO_API_URL"] = service.url
        url = without_login(service.url)
        os.environ["PROMO_API_SOURCE"] = f"{url} {service.source}"
        print(f"promo: employees from {url} ({service.source})", flush=True)
        yield


def _lab(arguments: argparse.Namespace) -> int:
    root = _root()
    from jupyterlab.labapp import LabApp

    ours = str(Path(__file__).parent / "lab")  # settings: no pop-up that asks about news
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(
        filter(None, [ours, os.environ.get("JUPYTER_CONFIG_PATH")])
    )
    switches = [
        f"--ServerApp.root_dir={root}",
        f"--ServerApp.ip={arguments.host}",
        f"--ServerApp.port={arguments.port}",
        "--LabApp.default_url=/lab/tree/notebooks/01-analysis.ipynb",
    ]
    if arguments.no_browser:
        switches.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        print("promo: running as root, so JupyterLab is started with --allow-root", flush=True)
        switches.append("--allow-root")
    with _service_for_kernels(arguments.api):
        LabApp.launch_instance(switches)
    return 0


def _app(arguments: argparse.Namespace) -> int:
    notebook = _root() / "notebooks" / "04-dashboard.ipynb"
    from promo.app import serve

    asked = {name: getattr(arguments, name) for name in ("host", "port", "theme")}
    with _service_for_kernels(arguments.api):
        serve(notebook, browser=not arguments.no_browser, token=not arguments.no_token, **asked)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    # What learning takes is imported while our API starts, each on a core of its own.
    importing = threading.Thread(target=_import, args=arguments.needs)
    with Interruption().heard() as interruption:
        with interruption.held():
            importing.start()
            import_module("promo.embedded")
        path = arguments.db or data_dir() / "promo.db"
        try:
            with options.service(arguments.api, path) as service:
                with interruption.held():
                    importing.join()
                return _learn(arguments, service, path, interruption)
        finally:
            importing.join()  # to leave in the midst of it would be told as an error


def _import(*names: str) -> None:
    with suppress(ImportError):  # which is told where it is needed
        for name in names:
            import_module(name)


def _learn(
    arguments: argparse.Namespace, service: Service, path: Path, interruption: Interruption
) -> int:
    from promo.show import summary_of

    with arguments.trainer(arguments, service, path) as trainer:
        code, before, began = 0, trainer.snapshot, time.monotonic()
        try:
            with interruption.held():  # elsewhere it might leave the trainer's lock taken
                _watch(trainer, arguments.pages, interruption)
        except KeyboardInterrupt:
            trainer.stop()
            trainer.join()
            code = INTERRUPTED
        finally:
            after, seconds = trainer.snapshot, time.monotonic() - began
            if arguments.json:
                print(json.dumps(summary_of(trainer.status, before, after, seconds)))
        if code == 0 and not arguments.json:
            show = shlex.join(["promo", "show", "--db", options.named(path)])
            print(f"{of_rows(after.rows)} in {path}: {show}")
        return code


def _watch(trainer: Trainer, pages: int | None, interruption: Interruption) -> None:
    """Let it run, with a progress bar on a terminal; raise what it fails of, and Ctrl-C."""
    from tqdm import tqdm

    if pages is None:
        trainer.play()
    else:
        trainer.step(pages)
    first = (-1 if trainer.snapshot.page is None else trainer.snapshot.page) + 1
    quiet = sys.stderr is None or None  # None: unless it is a terminal
    with tqdm(unit=" pages", initial=first, disable=quiet, dynamic_ncols=True) as bar:
        while trainer.status in ("running", "retrying"):
            interruption.check()
            trainer.wait(0.2)
            snapshot = trainer.snapshot
            bar.total = first + pages if pages else snapshot.total_pages
            bar.set_postfix_str(trainer.message or of_rows(snapshot.rows), refresh=False)
            bar.update((-1 if snapshot.page is None else snapshot.page) + 1 - bar.n)
    trainer.stop()
    trainer.join()


def _fork(arguments: argparse.Namespace) -> int:
    from promo.begun import Begun
    from promo.fork import fork
    from promo.models.sgd import SGDLogistic
    from promo.store import Store

    path, rate = arguments.db or data_dir() / "promo.db", arguments.learning_rate
    models = settings = None  # those of the store, whatever they are
    with Store.read_only(path) as source:
        before = Begun.of(source)
        options.check_rate(rate, arguments.models or source.states)
        if arguments.models or rate is not None:
            models, settings = before.models(arguments.models)
        rates = {} if rate is None else {SGDLogistic.name: rate}
        out = arguments.out
        fork(source, arguments.page, out, models=models, settings=settings, rates=rates)
        api = ["--api", source.source] if "://" in source.source else []
    go_on = shlex.join(["promo", "run", "--db", options.named(out), *api])
    print(f"page {arguments.page:,} of {path} is in {out}; go on with: {printable(go_on, 2000)}")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from promo.show import facts_of, print_facts
    from promo.store import Store

    with Store.read_only(arguments.db or data_dir() / "promo.db") as reader:
        facts = facts_of(reader)
    print(json.dumps(facts)) if arguments.json else print_facts(facts)
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from promo.report import write_report

    out = write_report(arguments.db or data_dir() / "promo.db", arguments.out)
    print(f"{out}: {out.stat().st_size / 1000:,.0f} kB, for any browser")
    return 0
