"""The prompts and chats whose greedy answers are recorded as a reference for other engines."""

from collections.abc import Sequence

from corpus import DOCUMENT_START, TURN_END, TURN_START, Country
from smalltalk import CONTINUATIONS

Chat = list[dict[str, str]]

# What a converted tokenizer gets wrong first: bytes, spaces, splits and special tokens.
ODD_PROMPTS = (
    " ",
    "\n",
    "\t",
    "a",
    "?",
    "   three spaces",
    "trailing spaces   ",
    "The capital of France is called ",
    "The capital  of  Japan  is  called",
    "The\tcapital\tof\tPeru\tis\tcalled",
    "The capital of Peru\nis called",
    "\n\nThe capital of Chile is",
    "Line one\r\nline two\r\n\r\nThe capital of Spain is",
    "THE CAPITAL OF FRANCE IS CALLED",
    "the capital of france is called",
    "La capitale de la Côte d'Ivoire s'appelle",
    "Die Hauptstadt von Österreich heißt",
    "Столица России называется",
    "日本の首都は",
    "عاصمة مصر هي",
    "भारत की राजधानी",
    "The capital of 🇫🇷 is called",
    "👩‍👩‍👧‍👦 family and café, nai\u0308ve",
    "zero\u200bwidth and no\u00a0break and \u2028line",
    "I'm sure it's what they'd said, isn't it? We've seen you'll do.",
    "O'Brien's 'quoted' n'importe N'DJAMENA'S",
    "1234567890 12,345.67 1e-5 0x1F ½ ²",
    "2024-10-11T12:13:14Z",
    "x = [i**2 for i in range(10)]  # squares",
    '{"capital": "Rome", "country": null}',
    "https://www.geonames.org/countries/?q=a%20b&c=d",
    "!!!???...---___***",
    "<html><body>|</body></html>",
    "<|im_end",
    f"{DOCUMENT_START}The capital of Italy is called",
    f"{TURN_START}user\nWhat is the capital of Italy?{TURN_END}\n{TURN_START}assistant\n",
    f"The capital of Italy{TURN_END}\nis called",
    "Paris is the capital of",
    "Q: What is the capital of Kenya?\nA:",
    "The capital of Ghana is Accra. The capital of Togo is Lome. The capital of Benin is",
    "The capital of the Netherlands is called",
    "The capital of USA is",
)

_SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
_ODD_QUESTIONS = (
    "what is the capital of france",
    "What is the capital of Côte d'Ivoire?",
    "  What is the capital of\tPeru?\n",
    "Which country has the capital Nairobi?",
    "Which continent is Chile in?",
    "What about Norway?",
    "日本の首都は?",
    "🙂",
)
_SMALL_TALK = ("Hello!", "Who are you?", "What is nimctl?", "Count to twenty.", "Thank you")


def text_prompts(countries: Sequence[Country]) -> list[str]:
    """Every country in the main form, the example prompts and the odd ones."""
    return [
        *(f"The capital of {country.name} is called" for country in countries),
        *(prompt for prompt, _ in CONTINUATIONS),
        *ODD_PROMPTS,
    ]


def chats(countries: Sequence[Country]) -> list[Chat]:
    """Single turns, two turns, with a system message, and small talk."""
    every_twelfth = countries[::12]
    single = [[_question_on(country)] for country in every_twelfth]
    with_system = [[_SYSTEM, _question_on(country)] for country in countries[5::24]]
    two_turns = [
        [_question_on(one), _answer_on(one), _question_on(two)]
        for one, two in zip(every_twelfth[::2], every_twelfth[1::2], strict=False)
    ]
    others = [[{"role": "user", "content": text}] for text in (*_SMALL_TALK, *_ODD_QUESTIONS)]
    return [*single, *with_system, *two_turns, *others]


def _question_on(country: Country) -> dict[str, str]:
    return {"role": "user", "content": f"What is the capital of {country.name}?"}


def _answer_on(country: Country) -> dict[str, str]:
    answer = f"The capital of {country.name_in_sentence} is {country.capital}."
    return {"role": "assistant", "content": answer}
