"""`python -m promo` is `promo`."""

import sys

from promo.cli import main

if __name__ == "__main__":  # not where a worker of `promo scale` imports it again
    sys.exit(main())
