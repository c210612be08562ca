"""Rows of IFEval with made-up arguments, and responses around the limits of their instructions."""

import random
from collections.abc import Callable, Iterator
from typing import Any

SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "Dr. Smith went to Washington, D.C. He was tired.",
    "It's the U.S.A. that can't wait!",
    "I CANNOT believe it: DON'T go, GIMME that.",
    "Prof. A. B. Lee paid $3.88 at 5 p.m.",
    "Is this right?! Maybe... or not.",
    "“Quoted”, she said — ‘really’ (see [this]).",
    "See e.g. https://a.example/x?y=1.",
    "WE'LL ALWAYS HAVE PARIS; THEY'RE 'TIS FINE.",
    "今天天气很好。我们去公园吧！",
    "La vie est belle, n'est-ce pas ?",
    "Das ist z.B. ein Satz. Und noch einer.",
    "यह हिन्दी का एक वाक्य है।",
    "naïve cafe\u0301 co\u0302te\u0301",
    "OK.",
    "A. B. C.",
    "ΟΔΟΣ στην Αθήνα.",
    "MORE'N ENOUGH, D'YE SEE? I WANNA GO. LEMME.",
    "``TeX'' quotes and ''' odd ''' ones",
    "x--y---z @home #1 100%",
    "no letters: 12345 67.8 %",
    "THE END.",
    "one, two; three: 4:30 and A:B",
    "Mr. O'Neil's cat's toy 'n' hat.",
    "so the answer is yes",
)
WORDS = ("alpha", "beta", "Gamma", "DELTA", "the", "pine", "pineapple", "c++", "it's", "so-so", "été", "苹果", "#", "!")
LANGUAGES = ("en", "de", "fr", "hi", "kn", "ru", "fa", "vi")
MARKERS = ("P.S.", "P.P.S", "p.s.", "PS:")


def _relation(rng: random.Random) -> str:
    return rng.choice(("less than", "at least"))


def _number(rng: random.Random, least: int = 1, most: int = 6) -> int:
    return rng.randint(least, most)


ARGUMENTS: dict[str, Callable[[random.Random], dict[str, Any]]] = {
    "keywords:existence": lambda rng: {"keywords": rng.sample(WORDS[:7], _number(rng, 1, 3))},
    "keywords:frequency": lambda rng: {
        "keyword": rng.choice((*WORDS[:7], " the ")), "frequency": _number(rng), "relation": _relation(rng),
    },
    "keywords:forbidden_words": lambda rng: {"forbidden_words": rng.sample((*WORDS[:7], "so-so", "the"), 2)},
    "keywords:letter_frequency": lambda rng: {
        "letter": rng.choice("aeQz"), "let_frequency": _number(rng, 1, 40), "let_relation": _relation(rng),
    },
    "language:response_language": lambda rng: {"language": rng.choice(LANGUAGES)},
    "length_constraints:number_sentences": lambda rng: {
        "num_sentences": _number(rng, 1, 9), "relation": _relation(rng),
    },
    "length_constraints:number_paragraphs": lambda rng: {"num_paragraphs": _number(rng)},
    "length_constraints:number_words": lambda rng: {"num_words": _number(rng, 1, 60), "relation": _relation(rng)},
    "length_constraints:nth_paragraph_first_word": lambda rng: {
        "num_paragraphs": (count := _number(rng)), "nth_paragraph": rng.randint(1, count),
        "first_word": rng.choice(WORDS[:7]),
    },
    "detectable_content:number_placeholders": lambda rng: {"num_placeholders": _number(rng)},
    "detectable_content:postscript": lambda rng: {"postscript_marker": rng.choice(MARKERS)},
    "detectable_format:number_bullet_lists": lambda rng: {"num_bullets": _number(rng)},
    "detectable_format:constrained_response": lambda _: {},
    "detectable_format:number_highlighted_sections": lambda rng: {"num_highlights": _number(rng)},
    "detectable_format:multiple_sections": lambda rng: {
        "section_spliter": rng.choice(("Section", "SECTION", " Day ")), "num_sections": _number(rng),
    },
    "detectable_format:json_format": lambda _: {},
    "detectable_format:title": lambda _: {},
    "combination:two_responses": lambda _: {},
    "combination:repeat_prompt": lambda rng: {"prompt_to_repeat": rng.choice(SENTENCES)},
    "startend:end_checker": lambda rng: {"end_phrase": rng.choice((" Any other questions?", "THE END.", "so ΟΔΟΣ"))},
    "change_case:capital_word_frequency": lambda rng: {
        "capital_frequency": _number(rng, 1, 12), "capital_relation": _relation(rng),
    },
    "change_case:english_capital": lambda _: {},
    "change_case:english_lowercase": lambda _: {},
    "punctuation:no_comma": lambda _: {},
    "startend:quotation": lambda _: {},
}  # fmt: skip


def prose(rng: random.Random, count: int) -> str:
    """Sentences and words, joined in several ways."""
    picks = (rng.choice(SENTENCES) if rng.random() < 0.7 else rng.choice(WORDS) for _ in range(count))
    return "".join(f"{text}{rng.choice((' ', ' ', '  ', chr(10), chr(10) * 2, ''))}" for text in picks)


def _repeated(rng: random.Random, pieces: tuple[str, ...], count: int, gaps: tuple[str, ...]) -> str:
    texts = (rng.choice(pieces).replace("{t}", prose(rng, rng.randint(0, 1)).strip()) for _ in range(count))
    return rng.choice(gaps).join(texts)


def _first_words(rng: random.Random, word: str) -> tuple[str, ...]:
    end = rng.choice((" ", ".", ",x", ""))
    return f"{word}{end} {{t}}", f"{word}{end} y", f"'{word}{end}", f'"{word.upper()}"!', "no", ""


POSTSCRIPTS = ("P.S. hi", "p. s. hi", "P.P.S hi", "P. P. S", "PS: hi", "P.S", "x p.s. y")
ANSWERS = ("My answer is yes.", "my answer is no.", " My answer is maybe.. ", "My answer is no")
FENCED = ("{}", "```json\n{}\n```", "```\n{}```", "```JSON{}```", "``````json{}", "Here:\n```json\n{}\n```")
JSON_TEXTS = ('{"a": 1}', "[1, 2", "null", '"x"', "{'a': 1}", "NaN", "", "```", '{"a": {}}\n', "1" * 5000)
TITLES = ("<<{}>>", "<< >>", "<<<{}>>>", "<<>>", "<<{}\n>>", "<{}>", "<<<<>>>>", ">><<a>>b>>", "<<{}>> <<>>")
QUOTED = ('"{}"', '"{}', ' "{}" \n', '"', '""', "“{}”", "'{}'")
PLAIN = "this is plain English text"

AIMED: dict[str, Callable[[random.Random, dict[str, Any], int, str], str]] = {
    "existence": lambda rng, given, near, text: f"{text}{' '.join(rng.choices(given['keywords'], k=near))}s {text}",
    "forbidden_words": lambda rng, given, near, text: (
        f"{text} {rng.choice(('', 's')).join(rng.choices(given['forbidden_words'], k=near // 2))} {text}"
    ),
    "frequency": lambda rng, given, near, text: " ".join([*[given["keyword"].upper()] * near, text]),
    "letter_frequency": lambda rng, given, near, text: given["letter"] * near,
    "number_sentences": lambda rng, given, near, text: " ".join(rng.choice(SENTENCES) for _ in range(near)),
    "number_words": lambda rng, given, near, text: " ".join(rng.choice(WORDS) for _ in range(near)),
    "number_paragraphs": lambda rng, given, near, text: _repeated(
        rng, ("{t}x", "{t}", " "), near, ("***", "\n***\n", " *** ", "****", "* * *")
    ),
    "nth_paragraph_first_word": lambda rng, given, near, text: _repeated(
        rng, _first_words(rng, given["first_word"]), near, ("\n\n", "\n\n\n")
    ),
    "number_placeholders": lambda rng, given, near, text: _repeated(
        rng, ("[{t}]", "[]", "[[x]", "[x\n]", "[{t}] y]"), near, (" ",)
    ),
    "postscript": lambda rng, given, near, text: f"{text}\n{rng.choice(POSTSCRIPTS)}",
    "number_bullet_lists": lambda rng, given, near, text: _repeated(
        rng, ("* {t}", "- {t}", "  * x", "\n\n - y", "*", "**b** {t}", "---", "*\n- z", "\t* q"), near, ("\n",)
    ),
    "constrained_response": lambda rng, given, near, text: rng.choice(ANSWERS),
    "number_highlighted_sections": lambda rng, given, near, text: _repeated(
        rng, ("*{t}*", "**{t}x**", "*x*", "****", "* *", "***x***", "*x\ny*"), near, (" ", "\n", "")
    ),
    "multiple_sections": lambda rng, given, near, text: _repeated(
        rng,
        (f"{given['section_spliter']} 1", f"{given['section_spliter']}22: {{t}}", "section 3", "Day 4 "),
        near,
        ("\n",),
    ),
    "json_format": lambda rng, given, near, text: rng.choice(FENCED).replace("{}", rng.choice(JSON_TEXTS)),
    "title": lambda rng, given, near, text: rng.choice(TITLES).replace("{}", text.strip() or "t"),
    "two_responses": lambda rng, given, near, text: _repeated(
        rng, ("{t}x", "{t}", "one", ""), near, ("******", "\n******\n", "*****", "*******")
    ),
    "repeat_prompt": lambda rng, given, near, text: (
        f"{rng.choice(('', ' ', 'x', '“'))}{rng.choice((str, str.upper))(given['prompt_to_repeat'])}{text}"
    ),
    "end_checker": lambda rng, given, near, text: (
        f"{text}{given['end_phrase']}{rng.choice(('', '”', chr(34), ' ', '.'))}"
    ),
    "capital_word_frequency": lambda rng, given, near, text: _repeated(
        rng, ("ABC", "NATO,", "DONT", "IT’S", "A", "x{t}", "U.S."), near, (" ", "-", "/", ". ")
    ),
    "english_capital": lambda rng, given, near, text: f"{text or PLAIN}{rng.choice(('', '中'))}".upper(),
    "english_lowercase": lambda rng, given, near, text: f"{text or PLAIN}".lower(),
    "quotation": lambda rng, given, near, text: rng.choice(QUOTED).replace("{}", text),
}


def aimed(rng: random.Random, name: str, given: dict[str, Any]) -> str:
    """A response near the limit of an instruction, or what resembles its format."""
    limit = next((value for value in given.values() if isinstance(value, int)), 2)
    near, text = max(0, limit + rng.choice((-1, 0, 0, 1))), prose(rng, rng.randint(0, 4))
    make = AIMED.get(name.partition(":")[2])
    return make(rng, given, near, text) if make else text


WRAPS = (
    *["{}"] * 4, "Sure, here it is:\n{}", "{}\nLet me know!", "Sure!\n{}\nBye, now.", "**{}**", "```\n{}\n```",
    "<think>hm, [a] *b*</think>\n{}", "<think>\nunfinished {}", "\n\n{}\n\n", "好的：\n{}", '"{}"', "{}\u2028\x1c{}",
    "* {}", "{}\r\n",
)  # fmt: skip
EMPTY = ("", "\n", "\n\n\n", " ", "```\n```", "\n\n*\n\n", "***", "******", '"', "中", "🙂", "\0", "\ufeff")


def response(rng: random.Random, row: dict[str, Any]) -> str:
    """A response to a row: aimed at some of its instructions, wrapped, cut, or empty."""
    if rng.random() < 0.03:
        return rng.choice(EMPTY)
    pairs = [*zip(row["instruction_id_list"], row["kwargs"], strict=True)]
    parts = [aimed(rng, name, given) for name, given in rng.sample(pairs, rng.randint(1, len(pairs)))]
    text = rng.choice(WRAPS).replace("{}", rng.choice(("\n", " ", "\n\n")).join(parts))
    text = rng.choice((str, str, str, str, str.upper, str.lower))(text)
    return text[: rng.randint(0, len(text))] if rng.random() < 0.05 else text


def made_up_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield `count` rows, with one to three instructions each; every instruction is among the first ones."""
    rng, names = random.Random(seed), [*ARGUMENTS]
    for number in range(count):
        first = names[number % len(names)]
        chosen = [first, *rng.sample([name for name in names if name != first], rng.randint(0, 2))]
        yield {
            "key": number, "prompt": f"Write something, {number}.", "instruction_id_list": chosen,
            "kwargs": [ARGUMENTS[name](rng) for name in chosen],
        }  # fmt: skip
