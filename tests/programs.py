"""Programs that tests need beside Python."""

import os
import shutil

import pytest


def require(program):
    """Skip without a program, or fail if nothing may be skipped."""
    if shutil.which(program) is None:
        reason = f"found no {program}: apt install {program}"
        if os.environ.get("PROMO_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
