"""`python -m promo` is `promo`."""

import sys

from promo.cli import main

sys.exit(main())
