"""``python -m tests.model``: explore the core worlds and print the figures; ``--deep`` the large ones as well."""

from __future__ import annotations

import argparse
import sys

from tests.model.explore import explore
from tests.model.worlds import CORE, DEEP, MUTATIONS


def main() -> int:
    """Return 1 if an invariant is broken, or if taking a rule out breaks nothing."""
    parser = argparse.ArgumentParser('python -m tests.model', description='Explore the protocol.')
    parser.add_argument('--deep', action='store_true', help='the large worlds as well; some minutes')
    parser.add_argument('--mutations', action='store_true', help='show what each rule is needed for')
    args = parser.parse_args()
    wrong = 0
    print(f'{"world":<36}{"states":>10}{"moves":>12}{"seconds":>9}  result')
    for name, config in (CORE | (DEEP if args.deep else {})).items():
        result = explore(config)
        text = 'no violation' if result.broken is None else str(result)
        print(f'{name:<36}{result.states:>10}{result.moves:>12}{result.seconds:>9.1f}  {text}', flush=True)
        wrong |= result.broken is not None
    if args.mutations:
        for mutation in MUTATIONS:
            for number in mutation.breaks:
                result = explore(mutation.config, only={number})
                text = 'MISSED' if result.broken is None else f'breaks {number} in {len(result.trace)} steps'
                print(f'without {mutation.taken_out}: {text}', flush=True)
                wrong |= result.broken is None
    return int(wrong)


if __name__ == '__main__':
    sys.exit(main())
