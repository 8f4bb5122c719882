"""`python -m promo` is `promo`."""

import sys


def main() -> int:
    """Run one command; return its exit code."""
    try:
        from promo.cli import main as run

        return run()
    except KeyboardInterrupt:  # pressed while it was being imported
        return 130


if __name__ == "__main__":  # not where a worker of `promo scale` imports it again
    sys.exit(main())
