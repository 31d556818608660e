"""Prints what Quarterdeck costs: against the plain-aiohttp floor and, with ``--peers``, against other frameworks.

    python benchmarks/run_all.py [--peers [NAME,NAME]] [--repeat 5] [--json FILE]

``docs/performance.md`` says what is measured and how. A goal that is missed fails nothing: timings depend on what
else the machine does.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import goals
import others
import quiet  # noqa: F401 - for all the processes that are started here
import rig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", nargs="?", const=",".join(others.ALL), help="measure the others too: all, or these")
    parser.add_argument("--only-peers", action="store_true", help="leave the table of our goals out")
    parser.add_argument("--repeat", type=int, default=5, help="processes for each figure (default 5)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    options = parser.parse_args()
    figures: dict[str, object] = {}
    began = time.monotonic()
    with rig.mock_server() as url:
        if not options.only_peers:
            figures["goals"] = found = goals.measure(url, options.repeat)
            print(goals.table(found), flush=True)
        if options.peers:
            peers = options.peers.split(",")
            figures["peers"] = found = others.measure(url, peers, min(options.repeat, 3))
            print(f"\n{others.table(found)}", flush=True)
    rig.say(f"{time.monotonic() - began:.0f} s")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
