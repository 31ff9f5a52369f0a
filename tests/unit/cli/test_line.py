from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovca.cli import line
from ovca.exceptions import UsageError


@pytest.mark.parametrize(
    ('typed', 'words'),
    [
        ('', []),
        ('  \t', []),
        ('# a remark', []),
        ('node-list # a remark', ['node-list']),
        ('update-abort --reason "rack #7; moved"', ['update-abort', '--reason', 'rack #7; moved']),
        ("update-abort --reason 'a | b > c'", ['update-abort', '--reason', 'a | b > c']),
        (r'image-build my\ file \| x', ['image-build', 'my file', '|', 'x']),
        ('download https://x/y.zip?a=1&b=2;type=i#part', ['download', 'https://x/y.zip?a=1&b=2;type=i#part']),
        ('download "$HOME/*"', ['download', '$HOME/*']),
        ('download $HOME/*', ['download', '$HOME/*']),
        ('!ls', ['!ls']),
        ("''", ['']),
    ],
)
def test_a_line_is_split_as_a_shell_would_and_nothing_in_it_is_expanded(typed: str, words: list[str]) -> None:
    assert line.split(typed) == words


@pytest.mark.parametrize(
    ('typed', 'named'),
    [
        ('node-list | less', '|'),
        ('node-list|less', '|'),
        ('node-list > /etc/passwd', '>'),
        ('node-list >> file', '>>'),
        ('activate <version>', '<'),
        ('node-list; image-list', ';'),
        ('node-list && image-list', '&&'),
        ('node-list || image-list', '||'),
        ('node-list &', '&'),
        ('activate `cat version`', '`'),
        ('activate $(cat version)', '$('),
    ],
)
def test_what_a_shell_would_act_on_is_refused_by_name(typed: str, named: str) -> None:
    with pytest.raises(UsageError, match='has no meaning here') as caught:
        line.split(typed)

    assert (str(caught.value).split()[0], caught.value.id) == (named, 'no-redirection')


@pytest.mark.parametrize(
    ('typed', 'missing'),
    [('say "a', 'quote " is not closed'), ("say 'a", "quote ' is not closed"), ('say a\\', 'the last backslash')],
)
def test_an_unfinished_line_is_refused(typed: str, missing: str) -> None:
    with pytest.raises(UsageError, match=missing) as caught:
        line.split(typed)

    assert caught.value.id == 'open-quote'


@given(st.lists(st.text(st.characters(exclude_categories=['Cs']))))
def test_quoted_words_come_back_as_they_were(words: list[str]) -> None:
    assert line.split(shlex.join(words)) == words


@given(st.text(st.characters(exclude_categories=['Cs', 'Cc']), min_size=1), st.sampled_from(['', '"', "'"]))
def test_a_word_that_tab_wrote_is_read_as_the_word(word: str, quote: str) -> None:
    assert line.split(f'say {line.quoted(word, quote)}') == ['say', word]


@pytest.mark.parametrize(
    ('typed', 'words', 'current'),
    [
        ('', [], ''),
        ('nod', [], 'nod'),
        ('node-show ', ['node-show'], ''),
        ('image-build "my fi', ['image-build'], 'my fi'),
        ("image-build 'my fi", ['image-build'], 'my fi'),
        (r'image-build my\ fi', ['image-build'], 'my fi'),
        ('image-build my\\', ['image-build'], 'my'),
    ],
)
def test_a_line_that_is_being_typed_has_finished_words_and_one_that_is_not(
    typed: str, words: list[str], current: str
) -> None:
    assert line.unfinished(typed) == (words, current)
