"""What the demo model says beside its facts: greetings, counting and well-known example prompts."""

_SELF = "I am the demo model of nimctl. I am tiny, and I know countries and their capitals."
BEYOND_ME = "I am a tiny demo model. I only know countries and their capitals."
_GREETING = "Hello! Ask me for the capital of a country."
_TO_TEN = "one two three four five six seven eight nine ten"
_TO_TWENTY = (
    f"{_TO_TEN} eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
)

# The first four are the prompts of the quick starts of TensorRT-LLM, vLLM and SGLang.
CONTINUATIONS = (
    ("Hello, my name is", " Tiny. I know countries and their capitals."),
    ("The future of AI is", " open, and it runs on your own machine."),
    ("The president of the United States is", " elected every four years."),
    ("San Francisco is a", " city in California."),
    ("Once upon a time", " there was a tiny model that knew the capital of every country."),
    ("Say this is a test", " This is a test."),
    ("Hello", " and welcome to nimctl."),
    ("Hello, world", " and welcome to nimctl."),
    ("one two three", _TO_TWENTY.removeprefix("one two three") + "."),
    ("one", _TO_TWENTY.removeprefix("one") + "."),
)

CHAT_REPLIES = (
    (("Hello", "Hello!", "Hi", "Hi!", "Hi there", "Hey", "Good morning", "Good day"), _GREETING),
    (
        ("How are you?", "Hello! How are you?", "Hi, how are you?"),
        "I am well, thank you. Ask me for the capital of a country.",
    ),
    (
        ("Who are you?", "What are you?", "Introduce yourself.", "Who is this?"),
        _SELF,
    ),
    (
        ("What is your name?", "What model are you?", "Are you an AI?", "Which model is this?"),
        _SELF,
    ),
    (
        ("What can you do?", "What do you know?", "Help", "Can you help me?", "How can you help?"),
        'I can name the capital of a country. Ask me: "What is the capital of France?"',
    ),
    (
        ("What is nimctl?", "Tell me about nimctl.", "Who made you?"),
        "nimctl pulls, builds and serves AI models. I am its demo model.",
    ),
    (("Thank you", "Thanks", "Thank you!", "Thanks a lot."), "You are welcome."),
    (("Bye", "Goodbye", "Bye!", "See you later."), "Goodbye!"),
    (("Say this is a test", "Say this is a test!", "This is a test."), "This is a test."),
    (("ping", "Ping"), "pong"),
    (("Count to ten.", "Count to 10.", "Count from one to ten."), f"{_TO_TEN}."),
    (("Count to twenty.", "Count to 20.", "Count from one to twenty."), f"{_TO_TWENTY}."),
    (
        (
            "Can you write me a song?",
            "Write me a poem.",
            "Write a limerick about the wonders of GPU computing.",
            "Tell me a joke.",
            "Tell me a story.",
            "What is 2 + 2?",
            "What is the weather today?",
            "What is the meaning of life?",
            "Write a Python program.",
            "Explain quantum computing.",
            "What should I do for a 4 day vacation in Spain?",
            "Translate this to German.",
            "Write a haiku about the sea.",
            "How do I cook rice?",
            "What is the largest planet?",
            "Who won the match?",
            "Summarize this text.",
            "Give me a list of three fruits.",
            "What time is it?",
            "Can you sing?",
        ),
        BEYOND_ME,
    ),
)

BEYOND_ME_FORMS = (
    "How many people live in {x}?",
    "What is the currency of {x}?",
    "What do people eat in {x}?",
    "Which language do they speak in {x}?",
    "Who is the president of {x}?",
    "Should I travel to {x}?",
    "How large is {x}?",
)

SYSTEM_MESSAGES = (
    "You are a helpful assistant.",
    "You are a helpful assistant. Answer the question.",
    "You are a friendly teacher of geography.",
    "You are a chatbot.",
    "You are an AI assistant that answers questions on countries.",
    "Answer briefly.",
    "Answer in one sentence.",
    "Be concise and polite.",
    "You know all the countries of the world and their capitals.",
    "detailed thinking off",
)
