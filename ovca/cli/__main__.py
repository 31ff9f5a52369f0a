"""``python -m ovca.cli``: the command line without its console script."""

import sys

from ovca.cli.main import main

sys.exit(main())
