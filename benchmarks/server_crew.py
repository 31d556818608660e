"""The crew that ``server.py`` serves: the work of all peers, with a model at ``BENCH_MODEL``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from peers import quarterdeck as peer

peer.setup(os.environ["BENCH_MODEL"])
crew = peer.crew
