"""What `make demo` runs: serve the demo model, ask it one question, stop it.

The request is that of NVIDIA's getting-started example ("A Simple Guide to Deploying Generative AI
with NVIDIA NIM", https://developer.nvidia.com/blog, 2024), sent to `/v1/completions`.
"""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

MODEL = "capitals-demo"
NIMCTL = Path(sys.executable).with_name("nimctl")
REQUEST = {
    "model": MODEL,
    "prompt": "The capital of France is called",
    "max_tokens": 100,
    "temperature": 0.7,
    "n": 1,
    "stream": False,
    "stop": "string",
    "frequency_penalty": 0.0,
}


def nimctl(*arguments: str) -> str:
    """Run nimctl, show the command, and return what it prints on stdout."""
    print(f"\n$ nimctl {' '.join(arguments)}", flush=True)
    done = subprocess.run([NIMCTL, *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def ask(base_url: str) -> str:
    """Send the request and return the completion's text."""
    request = urllib.request.Request(  # noqa: S310 - the server that was just started on loopback
        f"{base_url}/completions",
        data=json.dumps(REQUEST).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        text: str = json.load(answer)["choices"][0]["text"]
    return text


def main() -> int:
    """Serve, ask, explain, stop; 0 when the answer names Paris."""
    name = f"demo-{os.getpid()}"
    url = nimctl("serve", MODEL, "--detach", "--port", "auto", "--name", name).strip()
    print(url)
    try:
        print(f"\n$ curl {url}/completions -H 'Content-Type: application/json' \\")
        print(f"    -d '{json.dumps(REQUEST)}'")
        text = ask(url)
        print(f"{REQUEST['prompt']}{text}")
        print(CHAT.format(url=url, model=MODEL))
    finally:
        nimctl("stop", name)
        nimctl("rm", "--server", name)
    return 0 if "Paris" in text else 1


CHAT = """
Chat with it from curl:

  curl {url}/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "What is the capital of Japan?"}}]}}'

or from Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="{url}", api_key="none")
  answer = client.chat.completions.create(
      model="{model}",
      messages=[{{"role": "user", "content": "What is the capital of Japan?"}}],
  )
  print(answer.choices[0].message.content)

(`nimctl serve {model}` keeps one running; this one is stopped now.)"""


if __name__ == "__main__":
    sys.exit(main())
