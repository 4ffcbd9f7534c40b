"""Tiny random models, one for each thing that conversion can get wrong."""

IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
LLAMA3 = ("<|end_of_text|>", "<|begin_of_text|>", "<|eot_id|>")
INSTRUCT = ("[INST]", "[/INST]")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}{% endfor %}"
)
NAMED_TEMPLATES = [
    {"name": "default", "template": CHAT_TEMPLATE},
    {"name": "tool_use", "template": f"{CHAT_TEMPLATE} tools"},
]
