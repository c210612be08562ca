"""A path that is too long for the file system is one sentence, whichever verb it is given to."""

import pytest

from shell import manycall

LONG = "x" * 300
RUN = ("-m", "any", "-u", "sim")


@pytest.mark.parametrize(
    "words",
    [
        ("generate", "-p", "Tell", "-n", "1", *RUN, "-o", LONG),
        ("generate", "-p", "Tell", "-n", "1", *RUN, "-o", "x" * 252),  # no room for a `.run`
        ("generate", "-p", "Tell", LONG, *RUN, "-o", "out.jsonl"),
        ("score", LONG),
        ("export", LONG, "-o", "to.jsonl"),
        ("repair", LONG),
    ],
    ids=lambda words: " ".join(words)[:40],
)
def test_a_name_that_is_too_long_is_one_sentence(words: tuple[str, ...]) -> None:
    done = manycall(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "File name too long" in done.err
