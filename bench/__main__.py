"""`make bench`: every benchmark at a size that ends within ten minutes together.

    python -m bench [NAME …]

Each prints a table and a JSON object. Larger runs are in the modules' own help
(`python -m bench.room --help`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from bench.common import ROOT

QUICK = {
    "fanout": ["--seconds", "10"],
    "room": ["--listeners", "1000,3000", "--seconds", "10"],
    "short": ["--engines", "firefox,argos"],
    "peers": ["--seconds", "8", "--ours", "150,1000"],
    "captions": ["--seconds", "40"],
}


def main() -> int:
    asked = sys.argv[1:] or list(QUICK)
    unknown = set(asked) - set(QUICK)
    if unknown:
        print(f"no benchmark {', '.join(unknown)}; there are {', '.join(QUICK)}", file=sys.stderr)
        return 2
    failed = []
    for name in asked:
        print(f"\n== {name}", flush=True)
        if name == "peers" and (os.geteuid() or not shutil.which("ip")):
            print("left out: its network namespace needs root and iproute2")
            continue
        command = [sys.executable, "-m", f"bench.{name}", *QUICK[name], "--json"]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
