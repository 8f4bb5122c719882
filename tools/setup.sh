#!/bin/sh
# Find a Python that promo runs on and let it set up .venv (tools/bootstrap.py).
#
# A name on PATH can be a shim that fails or some other version than it says,
# so each candidate is run and asked. $PYTHON, if given, is the only candidate.
set -eu
cd "$(dirname "$0")/.."

get="Debian, Ubuntu: apt install python3 python3-venv; Fedora: dnf install python3.13; macOS: brew install python@3.13; else python.org"

version() { # of a CPython that runs; nothing otherwise
    "$1" -I -c 'import sys; sys.implementation.name == "cpython" and print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null || true
}

if [ -n "${PYTHON:-}" ]; then
    seen=$(version "$PYTHON")
    case $seen in
        3.11.* | 3.12.* | 3.13.*) exec "$PYTHON" -I tools/bootstrap.py --exactly "$seen" ;;
        "") echo "promo: PYTHON=$PYTHON is no Python that runs; give one of 3.11 to 3.13, or leave PYTHON unset ($get)" >&2 ;;
        *) echo "promo: PYTHON=$PYTHON is Python $seen, promo needs 3.11 to 3.13; give one of those, or leave PYTHON unset ($get)" >&2 ;;
    esac
    exit 1
fi

others=""
# .venv comes last: a set-up that is up to date needs no other Python.
for python in python3.13 python3.12 python3.11 python3 python .venv/bin/python; do
    seen=$(version "$python")
    case $seen in
        3.11.* | 3.12.* | 3.13.*) exec "$python" -I tools/bootstrap.py ;;
        "") ;;
        *) others="$others, $python is $seen" ;;
    esac
done
echo "promo: found no Python 3.11, 3.12 or 3.13${others}; get one ($get) or name it: make lab PYTHON=/path/to/python3.13" >&2
exit 1
