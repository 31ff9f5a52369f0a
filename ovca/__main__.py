"""``python -m ovca``: the command line without its console script."""

import sys

from ovca.cli.app import main

sys.exit(main())
