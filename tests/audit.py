"""Known vulnerabilities of what is installed, told by pip-audit.

`python -m tests.audit` ends with status 1 on a finding. Where the advisories cannot be had it says so and ends with 0:
pip-audit itself calls that "no known vulnerabilities".
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

# Findings that are accepted for now: identifier and why.
ACCEPTED: dict[str, str] = {}
# Python's venv brings them, as old as that Python; the pipeline uses neither.
OUTSIDE = {"pip", "setuptools"}
_COMMAND = [sys.executable, "-m", "pip_audit", "--local", "--skip-editable", "--progress-spinner", "off"]
_PATIENCE = 240
"""Seconds until the service counts as unreachable."""


def main() -> int:
    """Print what was found, or why nothing could be; the exit status."""
    command = [*_COMMAND, "--format", "json", *(word for name in ACCEPTED for word in ("--ignore-vuln", name))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"audit: NOT DONE, the advisories did not come within {_PATIENCE} s")
        return 0
    except json.JSONDecodeError:
        print(f"audit: NOT DONE, {(done.stderr.strip().splitlines() or ['pip-audit said nothing'])[-1]}")
        return 0
    lines, status = verdict(packages)
    print("\n".join(f"audit: {line}" for line in lines))
    return status


def verdict(packages: Sequence[dict[str, Any]]) -> tuple[list[str], int]:
    """What to say of pip-audit's packages, and the exit status."""
    packages = [package for package in packages if package["name"] not in OUTSIDE]
    audited = [package for package in packages if "vulns" in package]
    found = [(package, fault) for package in audited for fault in package["vulns"]]
    lines = [f"{p['name']} {p['version']}: {f['id']}, fixed in {_releases(f)}" for p, f in found]
    skipped = len(packages) - len(audited)
    if not audited:
        return ["NOT DONE, no advisories are to be had for any package"], 0
    count = f"{len(found)} known vulnerabilities in {len(audited)} packages"
    return [*lines, count + (f"; {skipped} could not be audited" if skipped else "")], 1 if found else 0


def _releases(fault: dict[str, Any]) -> str:
    return ", ".join(fault["fix_versions"]) or "no release"


if __name__ == "__main__":
    sys.exit(main())
