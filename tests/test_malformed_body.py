import pytest

from manycall import errors
from manycall.providers import openai
from manycall.providers.error_body import parse_error_body

PAGE = b"\n<!DOCTYPE html><html><head><title>Sign in \x1b[31m- Corp</title></head><body>...</body></html>"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b" \n", "it is empty."),
        (PAGE, 'it is a web page ("Sign in [31m- Corp"). Check the address of the endpoint'),
        (b"<html>busy</html>", "it is a web page. Check the address"),
        (b'{"choices": [{"mess', "it ends in the middle of its JSON."),
        (b"busy", "JSON is malformed"),
    ],
)
def test_a_response_that_cannot_be_read_says_what_it_is(body: bytes, reason: str) -> None:
    with pytest.raises(errors.InvalidResponse) as caught:
        openai.decode("chat", body)
    assert f"The response does not have the expected format: {reason}" in str(caught.value)


def test_a_web_page_with_an_error_status_is_quoted_by_its_title() -> None:
    page = b"<html><head><title>524: A timeout occurred</title></head><body><style>h1 {}</style></body></html>"
    assert parse_error_body(page) == ("", 'a web page, "524: A timeout occurred"')
    assert parse_error_body(b"<h1>gone</h1>") == ("", "<h1>gone</h1>")


def test_an_object_without_a_choice_is_quoted() -> None:
    with pytest.raises(errors.InvalidResponse, match=r'no choice\. It is: \{"code":50000,"msg":"internal error"\}'):
        openai.decode("chat", b'{"code": 50000, "msg": "internal error"}')
