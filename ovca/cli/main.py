"""The console script ``ovca``: light at the start, so that what needs little is answered at once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ovca``; return its exit status."""
    # The imports make many objects, and none of them goes: looking for dead ones again and again, and once more at the
    # end, takes a fifth of a short command's time.
    gc.set_threshold(200_000, 20, 100)
    for stream in ('stdout', 'stderr'):
        if getattr(sys, stream) is None:  # it was closed; what is opened next must not be taken for it
            setattr(sys, stream, os.fdopen(os.open(os.devnull, os.O_WRONLY), 'w', encoding='utf-8'))
    if getattr(sys.stdout, 'errors', '') == 'strict':
        # As stderr does it: what a locale has no character for is shown by its number, and ends no command.
        sys.stdout.reconfigure(errors='backslashreplace')  # type: ignore[union-attr]
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:  # outside of a command, which tells it by itself
        sys.stderr.write('ovca: interrupted [interrupted]\n')
        return 130
    finally:
        gc.freeze()


def _run(words: list[str]) -> int:
    if words in (['--version'], ['--help'], ['-h']):
        from ovca.cli import options, overview

        try:
            if words == ['--version']:
                options.parser().parse_args(words)
            overview.write(sys.stdout, sys.stderr)
            sys.stdout.flush()
            return 0
        except SystemExit:  # argparse has written the version
            return 0
        except BrokenPipeError:
            pass  # the application knows how to leave then
    try:
        from ovca.cli.app import OvcaApp

        app = OvcaApp()
    except KeyboardInterrupt:  # the application, which would tell it, is not there yet
        sys.stderr.write('ovca: interrupted; nothing was begun [interrupted]\n')
        return 130
    return app.run(words)


if __name__ == '__main__':
    sys.exit(main())
