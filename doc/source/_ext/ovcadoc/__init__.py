"""What the documentation takes from the code, written below its sources before Sphinx reads them.

So a command, an option, an error or an exit status cannot be missing in the documentation, nor stay in it too long.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from docutils import nodes

from ovca.files import write_atomic
from ovcadoc import commands, diagram, errors, options, protocol, statuses


def texts() -> dict[str, str]:
    """Everything that is made: the text by its file's name, below the folder of the sources."""
    return {
        'generated/global-options.txt': commands.global_options(linked=True),
        'generated/commands.txt': commands.reference(linked=True),
        'generated/output-options.txt': commands.output_options(linked=True),
        'generated/man-global-options.txt': commands.global_options(linked=False),
        'generated/man-commands.txt': commands.reference(linked=False),
        'generated/man-output-options.txt': commands.output_options(linked=False),
        'generated/man-service-options.txt': commands.service_options(),
        'generated/man-configuration.txt': options.reference(),
        'generated/exit-statuses.txt': statuses.table(),
        'generated/man-exit-statuses.txt': statuses.definitions(),
        'generated/errors.txt': errors.index(),
        'generated/table.txt': protocol.transitions(),
        'generated/states.svg': diagram.picture(),
        **errors.pages(),
    }


def write(folder: Path) -> None:
    """Write what has changed, and remove the pages of errors that there are no more."""
    made = texts()
    for name, text in made.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding='utf-8') != text:
            write_atomic(path, text.encode())
    for path in (folder / 'errors').glob('*.rst'):
        if f'errors/{path.name}' not in made:
            path.unlink()


def name_release(app: Any, doctree: Any) -> None:
    """Give the notes of what has no tag yet the version of this software; reno calls it 0.0.0."""
    for title in doctree.findall(nodes.title):
        if title.astext() == '0.0.0':
            title.children = [nodes.Text(app.config.release)]


def share_navigation(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Make the navigation beside the errors once: they lie in one folder and in no table of contents, so it is one.

    Each page's own would take most of the time of the build.
    """
    if page.startswith('errors/') and 'toctree' in context:
        made, make = app.env.navigation_of_errors, context['toctree']

        def toctree(**options: Any) -> str:
            key = tuple(sorted(options.items()))
            if key not in made:
                made[key] = make(**options)
            return str(made[key])

        context['toctree'] = toctree


def begin(app: Any) -> None:
    """Know nothing of an earlier build."""
    app.env.navigation_of_errors = {}


def setup(app: Any) -> dict[str, bool]:
    """Join the build, and let the pages name an error by its id: :error:`no-terminal`."""
    app.add_crossref_type('error-id', 'error', indextemplate='single: error; %s')
    app.connect('config-inited', lambda app, config: write(Path(app.srcdir)))
    app.connect('doctree-read', name_release)
    app.connect('builder-inited', begin)
    app.connect('html-page-context', share_navigation, priority=400)  # before the theme asks for it
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
