"""Parts of prompts that show the choices of a question, and what a right and a wrong answer to it look like."""

from collections.abc import Callable, Sequence
from string import ascii_uppercase

from manycall.records import Fields


def lettered(choices: Sequence[str], form: str = "{}. {}") -> str:
    """Return the choices with their letters, one per line."""
    return "\n".join(form.format(letter, text) for letter, text in zip(ascii_uppercase, choices, strict=False))


def planted_letter(form: str) -> Callable[[Fields], tuple[str, str]]:
    """Return the function `Task.planted` of a task whose answers are letters: (right response, wrong response).

    Args:
        form: a response, with {} in place of the letter.
    """

    def responses(fields: Fields) -> tuple[str, str]:
        right = fields["answer"] if isinstance(fields["answer"], list) else [fields["answer"].strip("()")]
        letters = ascii_uppercase[: len(fields["choices"])]
        wrong = next((letter for letter in letters if letter not in right), "?")
        return form.format(right[0]), form.format(wrong)

    return responses
