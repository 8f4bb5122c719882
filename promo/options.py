"""A trainer for a command: stream, models and store as its options and an existing file say."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promo.embedded import EmbeddedAPI, ExternalAPI
    from promo.trainer import Trainer


def trainer(
    arguments: argparse.Namespace, service: EmbeddedAPI | ExternalAPI, path: Path
) -> Trainer:
    """Return the trainer of `promo run`, on the store as it stands."""
    from promo.models.default import USUAL, default_models
    from promo.models.sgd import SGDLogistic
    from promo.store import Store
    from promo.stream import PageStream
    from promo.trainer import Trainer

    stored_size, stored_models = stored(path)
    size = arguments.size or stored_size
    stream = PageStream(service.url, size=size, follow=arguments.follow, source=service.source)
    stream.check()  # before a store is made for an address that leads nowhere
    if arguments.size and stream.page_size != arguments.size:
        print(
            f"promo: {stream.base_url} offers no size; pages hold {stream.page_size}",
            file=sys.stderr,
        )
    names = arguments.models or stored_models or USUAL
    models, settings = default_models(names, stream.source)
    store = Store(path, source=stream.source, page_size=stream.page_size, settings=settings)
    trainer = Trainer(stream, store, models, accept_changes=arguments.accept_changes)
    if arguments.learning_rate is not None:
        trainer.set_learning_rate(SGDLogistic.name, arguments.learning_rate)
    return trainer


def stored(path: Path) -> tuple[int | None, list[str] | None]:
    """Page size and experts of an existing store, so that going on needs no option said again."""
    from promo.models.default import EXPERTS, MIXTURE
    from promo.store import Reader
    from promo.stream import CONTRACT_PAGE_SIZE

    if not path.exists() or not path.stat().st_size:
        return None, None
    with Reader(path) as reader:
        size, names = reader.page_size, reader.settings.get("models")
    known = isinstance(names, list) and {*map(str, names)} <= {*EXPERTS, MIXTURE}
    return None if size == CONTRACT_PAGE_SIZE else size, names if known else None
