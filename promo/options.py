"""A trainer for a command: stream, models and store as its options and an existing file say."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from promo.errors import PromoError, StoreMismatch

if TYPE_CHECKING:
    from promo.begun import Begun
    from promo.embedded import Service
    from promo.stream import PageStream
    from promo.trainer import Trainer


def service(url: str | None, store: Path | None = None) -> Service:
    """Return what to read: what the address names, or the environment, or else an API of our own.

    That is of the world that the store was begun with, if it is there and of one of ours.

    Raises
    ------
    StreamError
        The address is none.
    ServiceError
        Our own API did not start.
    """
    from promo.dataset import Recipe
    from promo.embedded import ExternalAPI, api_from_environment

    if url is not None:
        from promo.stream import PageStream

        return ExternalAPI(url, PageStream(url).source)
    recipe = None
    if store and store.exists():
        from promo.store import Store

        with suppress(PromoError), Store.read_only(store) as reader:  # who opens it says why not
            recipe = Recipe.of(reader.source)
    return api_from_environment(*(recipe or Recipe()))


def trainer(arguments: argparse.Namespace, service: Service, path: Path) -> Trainer:
    """Return the trainer of `promo run`, on the store as it stands."""
    from promo.begun import begun
    from promo.models.default import MERGING, USUAL, default_models
    from promo.models.sgd import SGDLogistic
    from promo.store import Store
    from promo.trainer import Trainer

    before, names = begun(path), arguments.models
    if before and names and {*names} != {*before.names}:
        raise StoreMismatch(
            f"{path} was not begun with {', '.join(names)}; other models need another file"
        )
    if before:
        before.check(merging=arguments.merging)
    usual = MERGING if arguments.merging else USUAL
    check_rate(arguments.learning_rate, names or (before.names if before else usual))
    stream = _stream(arguments, service, before, follow=arguments.follow)
    models, settings = (
        before.models(names)
        if before
        else default_models(names or USUAL, stream.source, merging=arguments.merging)
    )
    store = Store(path, source=stream.source, page_size=stream.page_size, settings=settings)
    learner = Trainer(stream, store, models, accept_changes=arguments.accept_changes)
    if arguments.learning_rate is not None:
        learner.set_learning_rate(SGDLogistic.name, arguments.learning_rate)
    return learner


def check_rate(rate: float | None, names: Collection[str]) -> None:
    """Refuse a learning rate where nobody among the experts goes by it."""
    from promo.models.sgd import SGDLogistic

    if rate is not None and SGDLogistic.name not in names:
        raise PromoError(f"--learning-rate is of {SGDLogistic.name}, which is not among the models")


@contextmanager
def scaled_trainer(
    arguments: argparse.Namespace, service: Service, path: Path
) -> Iterator[Trainer]:
    """Give the trainer of `promo scale`, with the workers that the options name."""
    from promo.begun import begun
    from promo.models.anytime import ALPHA
    from promo.models.default import default_models
    from promo.store import Store

    try:
        from promo.scale import WAITING, Cluster, ScaledTrainer
        from promo.scale.rows import make_folder  # before there is a store for it
    except ImportError as error:
        raise PromoError("promo scale needs Dask: pip install 'promo[scale]'") from error
    for name in [*logging.root.manager.loggerDict]:
        if name.startswith("distributed."):  # what there is to say is said by us, in one line
            logging.getLogger(name).setLevel(logging.CRITICAL)
    before = begun(path)
    if before:
        before.check(merging=True, parquet=arguments.parquet is not None)
    stream = _stream(arguments, service, before)
    alpha = before.alpha if before else ALPHA
    models, settings = default_models(source=stream.source, alpha=alpha, merging=True)
    settings |= {"parquet": True} if arguments.parquet else {}
    if arguments.parquet:
        make_folder(arguments.parquet)
    own = ("in_flight", "pages_per_s", "parquet", "accept_changes")
    options = {name: getattr(arguments, name) for name in own}
    with (
        Cluster(arguments.scheduler, workers=arguments.workers or 2) as cluster,
        Store(path, source=stream.source, page_size=stream.page_size, settings=settings) as store,
        ScaledTrainer(stream, store, models, cluster, **options) as learner,
    ):
        if not cluster.threads:
            print(f"promo: {WAITING}", file=sys.stderr)
        yield learner


def _stream(
    arguments: argparse.Namespace,
    service: Service,
    before: Begun | None,
    *,
    follow: bool = False,
) -> PageStream:
    from promo.stream import CONTRACT_PAGE_SIZE, PageStream

    size = arguments.size
    if before and before.page_size != CONTRACT_PAGE_SIZE:
        size = size or before.page_size
    stream = PageStream(service.url, size=size, follow=follow, source=service.source)
    stream.check()  # before a store is made for an address that leads nowhere
    if arguments.size and stream.page_size != arguments.size:
        print(
            f"promo: {stream.base_url} offers no size; pages hold {stream.page_size}",
            file=sys.stderr,
        )
    return stream


def address(text: str) -> str:
    """Return the address of a scheduler, if it is one."""
    if not re.fullmatch(r".+:\d+/?", text):
        raise argparse.ArgumentTypeError(f"{text}: expected an address, as tcp://host:8786")
    return text


def host(text: str) -> str:
    """Return an address to listen on: not an empty one, which would be every address there is."""
    if not text.strip():
        raise argparse.ArgumentTypeError("expected an address, as 127.0.0.1")
    return text


def named(path: Path) -> str:
    """Return a file's name as an argument, which must not look like an option."""
    return f"./{path}" if str(path).startswith("-") else str(path)
