"""What the reference vocabularies are trained on, and what they are asked to split."""

# Texts on which tokenizers differ when one of them splits wrongly. All are in NFC, because
# llama.cpp does not normalise. {FIRST} and {SECOND} stand for special tokens.
_PROBES = (
    "",
    "a",
    " ",
    "  ",
    "   ",
    "\n",
    "\n\n",
    "\n\n\n",
    "\t",
    "\t\tindented",
    "\r\n",
    " \n ",
    "\n \n",
    "  \n\n  text",
    "hello world",
    " hello world",
    "  hello  world  ",
    "hello   world    again",
    "trailing ",
    "trailing   ",
    "Hello, World!",
    "HELLO world Hello",
    "one two three",
    "a zebra and a zebra",
    "zebra",
    "it's we're they've I'm we'll he'd can't",
    "IT'S WE'RE THEY'VE I'M WE'LL HE'D CAN'T",
    "It'S'll 'sound 'll ''s",
    "don`t rock\u2019n\u2019roll",
    "7",
    "42",
    "123",
    "1234",
    "12345",
    "1234567890123",
    "3.14159 2,718 1e-5 0x1F",
    "year 2024, day 365",
    "a1b22c333d4444",
    "\u0661\u0662\u0663 \u00bd \u2163 \u4e09",
    "x = y + z; // done!!",
    "def f(x):\n    return x ** 2\n\n\nprint(f(3))",
    "if (a) {\n\t\tb();\n\t}\n",
    "!!!???...",
    " !!! ??? ...",
    "!!\n\n??\n",
    ".\n\n.\r\n.",
    "(a)[b]{c}<d>",
    "https://example.org/path?q=1&r=2#frag",
    "user@example.org",
    "snake_case camelCase kebab-case",
    "caf\u00e9 na\u00efve \u00dcber stra\u00dfe",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01",
    "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c 123",
    "\uc548\ub155\ud558\uc138\uc694 \uc138\uacc4",
    "\U0001f600\U0001f680 ok \U0001f44d\U0001f3fd",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "a\u00a0b\u2003c\u3000d",
    "zero\u200bwidth\u2028line",
    "\u0000\u0001\u007f",
    "{FIRST}",
    "{FIRST}hello",
    "{FIRST}user\nhi{SECOND}\n{FIRST}assistant\n",
    "text {SECOND} text{SECOND}{SECOND}",
    "call <tool>now</tool> <tool>",
    "almost <|im_star|> <too l>",
)
# Repeats what straddles the borders of pre-tokenizers (digits, contractions, spaces, line ends),
# so that there are merges across a border, and a wrong split shows.
_TRAINING_LINES = (
    "hello world hello  world   again\n\n",
    "it's we're they've I'm we'll he'd can't IT'S WE'RE\n",
    "1234567890 123 1234 12345 2024 365 42 3.14159\n",
    "a1b22c333d4444 x1 y2\r\n\r\n",
    "if (a) {\n\t\tb();\n\t}\n\n\n",
    "!!!???... !!\n\n??\n.\n\n.",
    "def f(x):\n    return x ** 2\n",
    "  \n\n  \n \n text text text \n",
    (
        "caf\u00e9 na\u00efve \u041f\u0440\u0438\u0432\u0435\u0442 "
        "\u4f60\u597d\uff0c\u4e16\u754c\uff01 \u4e16\u754c 123\n"
    ),
    "one two three one two three trailing   \n",
)


def probes(first: str, second: str) -> list[str]:
    """The texts to split, with a vocabulary's own special tokens."""
    return [text.replace("{FIRST}", first).replace("{SECOND}", second) for text in _PROBES]


def training_text() -> str:
    """Text to train a vocabulary on, with line ends."""
    return "".join(_TRAINING_LINES)
