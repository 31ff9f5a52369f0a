"""The start of ``ovcad``."""

from __future__ import annotations

import argparse
import gc
import logging
import queue
import signal
import sys
import threading
from collections.abc import Sequence

from ovca import conf as configuration
from ovca.exceptions import OvcaError


def parser() -> argparse.ArgumentParser:
    """The options of ``ovcad``."""
    result = argparse.ArgumentParser('ovcad', description='The service of ovca on a management node.')
    result.add_argument(
        '--config-file',
        metavar='<file>',
        help=f'the configuration (default: that of ${configuration.ENVIRONMENT}, or else {configuration.DEFAULT_PATH})',
    )
    result.add_argument('--debug', action='store_true', help='log more, and show where an error comes from')
    return result


class WithId(logging.Filter):
    """Lets an error in a line of the log end with its id, under which ``ovca help`` explains it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(arg.with_id if isinstance(arg, OvcaError) else arg for arg in record.args)
        return True


def main(argv: Sequence[str] | None = None) -> int:
    """Run the service until SIGTERM or SIGINT; return its exit status. SIGHUP makes it read its configuration anew."""
    args = parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format='%(asctime)s.%(msecs)03d %(levelname)s %(threadName)s %(name)s: %(message)s',
        datefmt='%Y-%m-%dT%H:%M:%S',
        stream=sys.stderr,
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(WithId())
    for noisy in ('urllib3', 'sushy', 'uvicorn', 'alembic'):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A signal's handler may interrupt anything, and a SimpleQueue's put is one of the few things that it may do then.
    reloads: queue.SimpleQueue[None] = queue.SimpleQueue()
    signal.signal(signal.SIGHUP, lambda *_: reloads.put(None))
    gc.disable()  # what the imports make stays: to look through it again and again is a tenth of the start
    try:
        from ovca.daemon.reload import Reloader
        from ovca.daemon.service import Ovcad

        conf = configuration.load(args.config_file)
        service = Ovcad(conf)
        gc.freeze()
        gc.enable()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: service.stop())
        reloader = Reloader(conf, args.config_file, reloads, changed=service.wake)
        threading.Thread(target=reloader.run, name='reload', daemon=True).start()
        service.run()
    except OvcaError as exc:
        # One line, whatever the cause brought along.
        logging.getLogger('ovca').critical('%s [%s]', ' '.join(str(exc).split()), exc.id, exc_info=args.debug)
        return exc.exit_code
    finally:
        gc.enable()
    return 0


if __name__ == '__main__':
    sys.exit(main())
