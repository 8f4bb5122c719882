"""Ask whether any version in requirements.lock has a known vulnerability, by pip-audit.

`make audit` is this. It needs the network: without, it says so in one line and all is well; what
it finds, it lists, and the exit code is 1. What is given besides goes to pip-audit.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# The lock holds every package there is, so nothing needs to be resolved or downloaded.
COMMAND = "-m pip_audit --requirement requirements.lock --disable-pip --no-deps --format json"


def verdict(dependencies: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """Return the exit code and what to say of pip-audit's answer.

    >>> verdict([{"name": "six", "skip_reason": "not found"}])
    (0, ['promo: not audited: no word on any of 1 packages (not found)'])
    >>> verdict([{"name": "six", "version": "1.17.0", "vulns": []}])
    (0, ['promo: no known vulnerability in 1 packages'])
    """
    skipped = [each for each in dependencies if "skip_reason" in each]
    if len(skipped) == len(dependencies):
        return 0, [
            f"promo: not audited: no word on any of {len(dependencies)} packages "
            f"({skipped[0]['skip_reason'] if skipped else 'an empty lock'})"
        ]
    found = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in "
        f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
        for each in dependencies
        for flaw in each.get("vulns", [])
    ]
    asked = f"{len(dependencies) - len(skipped)} packages"
    unknown = (
        [f"promo: no word on {', '.join(each['name'] for each in skipped)}"] if skipped else []
    )
    if not found:
        return 0, [f"promo: no known vulnerability in {asked}", *unknown]
    return 1, [*found, f"promo: {len(found)} known vulnerabilities in {asked}", *unknown]


def main(arguments: list[str]) -> int:
    """Run pip-audit over the lock and say what came of it."""
    command = [sys.executable, *COMMAND.split(), "--progress-spinner", "off", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, LookupError):
        said = (done.stderr.strip() or "nothing").splitlines()[-1]
        offline = any(name in done.stderr for name in ("ConnectionError", "ConnectTimeout"))
        why = "the vulnerability service cannot be reached" if offline else said
        print(f"promo: not audited: {why}", file=sys.stderr)
        return 0 if offline else done.returncode or 1
    code, lines = verdict(dependencies)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
