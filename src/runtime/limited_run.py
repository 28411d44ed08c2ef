"""Runs a module of this project with low priority and limits on memory and processor time.

``python3 -m src.runtime.limited_run MEGABYTES SECONDS MODULE [ARGUMENT ...]``
"""

import os
import resource
import runpy
import sys

_NICE = 15


def main(arguments: list[str]) -> None:
    """Set the limits, then run the module as ``python3 -m`` does."""
    megabytes, seconds, module, *rest = arguments
    os.nice(_NICE)
    size = int(megabytes) * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
