"""The way of a bundle from its URI to the shared storage, and all the ways it must not go."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ovca.exceptions import DatabaseError, FetchError, ImageError, Refused
from ovca.image import Manifest, Progress, PublishedImage, Store, examine, verify, verify_root
from ovca.image.build import build, keygen
from ovca.image.errors import AlreadyPublished, BundleError, Cancelled, DownloadRunning, NoSpace, SignatureRefused
from ovca.image.verification import Difference, Problem

from .conftest import Get, Server


def same(left: Path, right: Path) -> bool:
    return subprocess.run(['diff', '-r', '--no-dereference', left, right], check=False).returncode == 0


def nothing_published(store: Store) -> bool:
    return not any(path for name in ('mgmt', 'hmp', 'ovm') for path in store.root.glob(f'{name}_image/*'))


def rezip(bundle: Path, change: Callable[[str, bytes], tuple[str, bytes] | None], **options: Any) -> Path:
    """Write the bundle again with changed members."""
    target = bundle.with_name(f'changed-{bundle.name}')
    with zipfile.ZipFile(bundle) as old, zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            changed = change(info.filename, old.read(info))
            if changed is not None:
                new.writestr(*changed)
    return target


def test_a_bundle_is_published_from_a_file(get: Get, store: Store, bundle: Path, tree: Path) -> None:
    stages: list[Progress] = []
    rows: list[PublishedImage] = []
    image = get(bundle, progress=stages.append, commit=rows.append)
    assert rows == [image]
    assert image.version == '1.1.0' and image.signed_by == 'vendor.pub'
    assert store.root / image.iso == store.iso_path('1.1.0')
    assert store.iso_path('1.1.0').stat().st_size == image.size
    assert same(store.tree('1.1.0'), tree)
    assert same(store.folder('hmp', '1.1.0'), tree / 'usr')
    assert same(store.folder('ovm', '1.1.0'), tree / 'etc')
    assert store.installer('1.1.0').read_bytes() == b'an installer'
    assert (store.tree('1.1.0') / '/'.join(f'deep{i}' for i in range(15)) / 'run').stat().st_mode & 0o777 == 0o755
    assert {p.stage for p in stages} == {'download', 'unpack', 'publish'}
    assert store.manifest('1.1.0').as_dict() == json.loads(json.dumps(image.manifest))
    assert verify(store, '1.1.0') == []
    assert sorted(p.name for p in store.staging.iterdir()) == ['lock', 'lock.owner']


def test_a_bundle_is_published_from_a_server(get: Get, store: Store, bundle: Path, tree: Path, server: Server) -> None:
    address = server.url.replace('http://', 'http://somebody:secret@') + '/ovca-1.1.0.iso.zip?token=secret'
    image = get(address)
    assert 'secret' not in image.source and 'somebody' not in image.source
    assert same(store.tree('1.1.0'), tree)


def test_a_broken_connection_is_resumed_where_it_broke(
    get: Get, bundle: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('ovca.image.fetch.base.time.sleep', lambda seconds: None)
    server.handler.limit = bundle.stat().st_size // 3 + 1
    assert get(f'{server.url}/{bundle.name}').version == '1.1.0'
    assert server.handler.seen[0] is None and len(server.handler.seen) == 3
    assert sum(server.handler.sent) == bundle.stat().st_size


def test_what_a_failed_download_left_is_used_by_the_next(get: Get, store: Store, bundle: Path, server: Server) -> None:
    def stop(progress: Progress) -> None:
        if progress.stage == 'unpack':
            raise Refused('the lease is lost')

    with pytest.raises(Refused):
        get(f'{server.url}/{bundle.name}', progress=stop)
    assert nothing_published(store)
    get(f'{server.url}/{bundle.name}')
    assert server.handler.sent == [bundle.stat().st_size]
    assert server.handler.seen[1] == f'bytes={bundle.stat().st_size}-'


def test_a_part_that_lies_is_thrown_away_and_fetched_anew(get: Get, store: Store, bundle: Path, server: Server) -> None:
    with pytest.raises(Cancelled):
        get(f'{server.url}/{bundle.name}', cancelled=lambda: next(store.staging.glob('*.part'), None) is not None)
    part = next(store.staging.glob('*.part'))
    with part.open('r+b') as stream:
        stream.seek(-100, os.SEEK_END)
        stream.write(bytes(90))
    assert get(f'{server.url}/{bundle.name}').version == '1.1.0'


def test_a_missing_file_is_said_in_one_sentence(get: Get, tmp_path: Path, server: Server) -> None:
    with pytest.raises(FetchError, match='404'):
        get(f'{server.url}/none.zip')
    with pytest.raises(FetchError, match='No such file'):
        get(tmp_path / 'none.zip')
    with pytest.raises(FetchError, match='gopher'):
        get('gopher://somewhere/none.zip')


def test_a_foreign_signature_is_refused_before_the_iso_is_read(
    get: Get, store: Store, tree: Path, tmp_path: Path, bundle: Path, refuse: Callable[[Manifest], None]
) -> None:
    foreign, _ = keygen(tmp_path / 'foreign', 'foreign')
    path = tmp_path / 'foreign.zip'
    build(path, version='1.1.0', mgmt=tree, secret_key=foreign)
    path.write_bytes(path.read_bytes()[:8192])  # the ISO is not even there
    with pytest.raises(SignatureRefused, match='none of the keys'):
        get(path, accept=refuse)
    assert nothing_published(store)


def test_a_changed_manifest_is_refused(get: Get, bundle: Path, refuse: Callable[[Manifest], None]) -> None:
    changed = rezip(bundle, lambda n, d: (n, d.replace(b'"1.0.0"', b'"0.9.0"') if n == 'manifest.json' else d))
    with pytest.raises(SignatureRefused):
        get(changed, accept=refuse)


def test_an_unsigned_bundle_needs_the_configuration(get: Get, conf: Any, tree: Path, tmp_path: Path) -> None:
    (tmp_path / 'keys').mkdir()
    build(tmp_path / 'unsigned.zip', version='1.1.0', mgmt=tree)
    with pytest.raises(SignatureRefused, match='not signed'):
        get(tmp_path / 'unsigned.zip')
    conf.image.require_signature = False
    assert get(tmp_path / 'unsigned.zip').signed_by is None


def test_a_plain_zip_with_an_iso_is_published_where_that_is_allowed(
    get: Get, store: Store, conf: Any, bundle: Path, tree: Path
) -> None:
    plain = rezip(bundle, lambda n, d: (n, d) if n.endswith('.iso') else None)
    with pytest.raises(SignatureRefused):
        get(plain)
    conf.image.require_signature = False
    assert get(plain, version='3.0.2-b852928').version == '3.0.2-b852928'
    assert same(store.tree('3.0.2-b852928'), tree)
    assert verify(store, '3.0.2-b852928') == []


def test_another_version_than_was_asked_for_is_no_fault_of_the_bundle(
    get: Get, store: Store, bundle: Path, refuse: Callable[[Manifest], None]
) -> None:
    with pytest.raises(ImageError, match=r'it holds version 1\.1\.0, not 9\.0; .*--image-version') as caught:
        get(bundle, version='9.0', accept=refuse)

    assert caught.value.id == 'wrong-version'
    assert 'get the bundle again' not in str(caught.value)
    assert nothing_published(store)


def test_an_iso_that_is_larger_than_the_configuration_allows_names_the_option(
    get: Get, conf: Any, store: Store, bundle: Path, refuse: Callable[[Manifest], None]
) -> None:
    conf.image.max_size = 1000

    with pytest.raises(ImageError, match=r'more than \[image\] max_size allows; raise that option') as caught:
        get(bundle, accept=refuse)

    assert caught.value.id == 'image-too-large'
    assert nothing_published(store)


@pytest.mark.parametrize('name', ['../files.json', '/etc/files.json', 'a\\files.json', 'sub/files.json', 'else.json'])
def test_a_hostile_or_foreign_member_name_is_refused(get: Get, store: Store, bundle: Path, name: str) -> None:
    changed = rezip(bundle, lambda n, d: (name if n == 'files.json' else n, d))
    with pytest.raises(BundleError):
        get(changed)
    assert nothing_published(store)


def test_a_damaged_zip_is_refused(get: Get, store: Store, bundle: Path, tmp_path: Path) -> None:
    whole = bundle.read_bytes()
    middle = len(whole) // 2
    cases = {
        'truncated': whole[:middle],
        'headless': whole[:-30],
        'longer': whole + b'more',
        'flipped': whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
        'text': b'<html>please log in</html>' * 9,
        'empty': b'',
    }
    for name, data in cases.items():
        (tmp_path / f'{name}.zip').write_bytes(data)
        with pytest.raises(BundleError):
            get(tmp_path / f'{name}.zip')
        assert nothing_published(store)


def test_a_list_that_does_not_fit_to_the_iso_is_refused(
    get: Get, store: Store, tree: Path, secret_key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovca.image import build as maker

    listed = maker._listed

    def lie(node: Any) -> dict[str, Any]:
        row = listed(node)
        return {**row, 'sha256': '0' * 64} if row['path'].endswith('f33.py') else row

    monkeypatch.setattr(maker, '_listed', lie)
    build(tmp_path / 'lie.zip', version='1.1.0', mgmt=tree, secret_key=secret_key)
    with pytest.raises(BundleError, match=r'f33\.py'):
        get(tmp_path / 'lie.zip')
    assert nothing_published(store)


def test_an_iso_of_another_digest_is_refused(get: Get, store: Store, bundle: Path) -> None:
    changed = rezip(bundle, lambda n, d: (n, d[:-5000] + b'x' + d[-4999:] if n.endswith('.iso') else d))
    with pytest.raises(BundleError, match='digest'):
        get(changed)
    assert nothing_published(store)


def test_a_version_that_may_not_be_installed_is_refused_early(get: Get, store: Store, bundle: Path) -> None:
    def accept(manifest: Manifest) -> None:
        raise Refused(f'{manifest.version} is too new')

    bundle.write_bytes(bundle.read_bytes()[:8192])
    with pytest.raises(Refused, match='too new'):
        get(bundle, accept=accept)
    assert nothing_published(store)


def test_too_little_space_is_said_before_the_iso_is_written(get: Get, conf: Any, bundle: Path) -> None:
    with pytest.raises(NoSpace, match='are needed'):
        get(bundle, store=Store(Path(conf.image.shared_storage), reserve=2**60))


def test_a_cancelled_download_ends_even_while_nothing_comes(get: Get, store: Store, bundle: Path) -> None:
    with pytest.raises(Cancelled):
        get(bundle, cancelled=lambda: True)
    assert nothing_published(store)


def test_without_its_row_there_is_no_image(get: Get, store: Store, bundle: Path) -> None:
    def fail(image: PublishedImage) -> None:
        assert (store.root / image.iso).exists()
        raise Refused('no')

    with pytest.raises(Refused):
        get(bundle, commit=fail)
    assert nothing_published(store)


def test_a_lost_answer_of_the_database_leaves_the_folders_to_be_judged_by_the_rows(
    get: Get, store: Store, bundle: Path
) -> None:
    def lose(image: PublishedImage) -> None:
        raise DatabaseError('the connection broke')

    with pytest.raises(DatabaseError):
        get(bundle, commit=lose)
    assert store.versions() == ['1.1.0']
    assert store.clean(['1.1.0']) == []
    assert [p.parent.name for p in store.clean([])] == ['mgmt_image', 'hmp_image', 'ovm_image']
    assert store.versions() == []


def test_a_published_image_is_never_replaced(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    before = store.iso_path('1.1.0').stat().st_ino
    with pytest.raises(AlreadyPublished, match='ovca activate'):
        get(bundle)
    assert store.iso_path('1.1.0').stat().st_ino == before
    store.remove('1.1.0')
    assert store.versions() == []


CHILD = """
    import os, signal, sys
    sys.path[:0] = {path!r}
    import types
    from pathlib import Path
    from ovca.image import Store, receive
    conf = types.SimpleNamespace(update=types.SimpleNamespace(**{update!r}), image=types.SimpleNamespace(**{image!r}))
    def progress(p):
        if p.stage == {stage!r}:
            os.kill(os.getpid(), signal.SIGKILL)
    receive({uri!r}, store=Store.from_conf(conf), conf=conf, progress=progress, cancelled=lambda: False,
            accept=lambda m: None, commit=lambda i: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.mark.parametrize('stage', ['download', 'unpack', 'publish', 'commit'])
def test_a_kill_leaves_no_image_and_the_next_try_goes_on(
    get: Get, store: Store, conf: Any, bundle: Path, tree: Path, server: Server, stage: str
) -> None:
    uri = f'{server.url}/{bundle.name}'
    code = textwrap.dedent(CHILD).format(
        path=sys.path, update=vars(conf.update), image=vars(conf.image), stage=stage, uri=uri
    )
    assert subprocess.run([sys.executable, '-c', code], check=False, timeout=60).returncode == -signal.SIGKILL
    store.clean([])
    assert nothing_published(store)
    assert get(uri).version == '1.1.0'
    assert same(store.tree('1.1.0'), tree)
    assert server.handler.seen[0] is None and str(server.handler.seen[-1]).startswith('bytes=')


def test_two_downloads_do_not_run_at_once(get: Get, store: Store, bundle: Path) -> None:
    code = f'import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom ovca.image import Store\n'
    code += f'with Store(Path({str(store.root)!r})).lock():\n    print("locked", flush=True)\n    sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b'locked\n'
        with pytest.raises(DownloadRunning, match=str(other.pid)):
            get(bundle)
        other.kill()
    assert get(bundle).version == '1.1.0'


def test_verification_names_what_differs(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    tree = store.tree('1.1.0')
    (tree / 'usr/lib/d1/f1.py').write_bytes(bytes([2]) * 97)
    (tree / 'usr/lib/d2/f2.py').unlink()
    (tree / 'usr/lib/d3/f3.py').chmod(0o600)
    (tree / 'bin').unlink()
    (tree / 'bin').symlink_to('elsewhere')
    (tree / 'more').touch()
    names = ['bin', 'usr/lib/d1/f1.py', 'usr/lib/d2/f2.py', 'usr/lib/d3/f3.py']
    differing = [f'mgmt_image/{name}' for name in names]
    assert verify_root(tree, store.files_json('1.1.0')) == differing
    places = [f'mgmt_image/1.1.0/tree/{name}' for name in names]
    problems = [Problem.DIFFERS, Problem.DIFFERS, Problem.MISSING, Problem.DIFFERS, Problem.NOT_LISTED]
    assert verify(store, '1.1.0') == [*places, 'mgmt_image/1.1.0/tree/more']
    assert [d.problem for d in examine(store, '1.1.0').differences] == problems
    store.files_json('1.1.0').write_text('{"files": []}')
    assert verify(store, '1.1.0') == ['mgmt_image/1.1.0/files.json']


def test_a_damaged_iso_is_found_and_a_lost_one_too(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    iso = store.iso_path('1.1.0')
    with iso.open('r+b') as stream:
        stream.seek(40_000)
        stream.write(b'?')

    damaged = examine(store, '1.1.0').differences
    iso.unlink()
    lost = examine(store, '1.1.0').differences

    name = str(iso.relative_to(store.root))
    assert damaged == (Difference(name, Problem.DIFFERS),)
    assert lost == (Difference(name, Problem.MISSING),)


def test_an_image_that_was_exchanged_for_another_is_found(get: Get, store: Store, bundle: Path) -> None:
    image = get(bundle)

    same = examine(store, '1.1.0', digest=image.digest, files_digest=image.files_digest)
    other = examine(store, '1.1.0', digest='0' * 64, files_digest=image.files_digest)

    assert same.differences == ()
    assert [d.path for d in other.differences] == ['mgmt_image/1.1.0/manifest.json', image.iso]


def test_verification_tells_how_far_it_is(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    told: list[tuple[int, int]] = []

    findings = examine(store, '1.1.0', told=lambda done, total: told.append((done, total)))

    assert findings.differences == ()
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1] > store.iso_path('1.1.0').stat().st_size


def test_a_deletion_that_was_killed_is_finished_by_the_next_cleaning(get: Get, store: Store, bundle: Path) -> None:
    get(bundle)
    code = f'import os, shutil, signal, sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\n'
    code += 'from ovca.image import store\nwhole = shutil.rmtree\n'
    code += (
        'def die(path, **how):\n    if not how:\n        os.kill(os.getpid(), signal.SIGKILL)\n    whole(path, **how)\n'
    )
    code += f'shutil.rmtree = die\nstore.Store(Path({str(store.root)!r})).remove("1.1.0")\n'
    done = subprocess.run([sys.executable, '-c', code], check=False, capture_output=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert store.versions() == []
    assert list(store.staging.glob('trash*/*')) != []

    store.clean([])

    assert list(store.staging.glob('trash*')) == []
    assert get(bundle).version == '1.1.0'


def test_the_facts_of_an_image_cannot_be_changed(get: Get, bundle: Path) -> None:
    image = get(bundle)
    with pytest.raises(dataclasses.FrozenInstanceError):
        image.version = '2'  # type: ignore[misc]
    assert issubclass(BundleError, ImageError)
