import os
import sys
from contextlib import suppress

if not sys.flags.safe_path:
    with suppress(OSError):  # the current folder was deleted
        if sys.path[0] == os.getcwd():  # noqa: PTH109 (pathlib would be imported from there)
            del sys.path[0]  # `python -m` put it there, and a `random.py` that lies in it is not ours to execute

from manycall.cli.main import main

main()
