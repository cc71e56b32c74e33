"""The project's commands: demo, test, host and bench; ``python3 dev.py --help`` tells."""

import sys

if sys.version_info < (3, 10):  # noqa: UP036 - this file must explain itself to an old Python
    sys.exit(
        "dev.py needs Python 3.10 or newer and this is Python %d.%d; "  # noqa: UP031
        "run it with a newer one, for example: python3.12 dev.py" % sys.version_info[:2]
    )

from devtools.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
