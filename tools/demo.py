"""What `make demo` runs: serve the demo model, ask it one question, stop it.

The request is that of NVIDIA's getting-started example ("A Simple Guide to Deploying Generative AI
with NVIDIA NIM", https://developer.nvidia.com/blog, 2024), sent to `/v1/completions`.
"""

import json
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
    name = "make-demo"
    url = nimctl("serve", MODEL, "--detach", "--port", "auto", "--name", name).strip()
    print(url)
    try:
        print(f"\n$ curl {url}/completions -H 'Content-Type: application/json' \\")
        print(f"    -d '{json.dumps(REQUEST)}'")
        text = ask(url)
        print(f"{REQUEST['prompt']}{text}")
    finally:
        print(nimctl("stop", name).strip())
        subprocess.run([NIMCTL, "rm", "--server", name], check=True, stdout=subprocess.DEVNULL)
    print(CHAT)
    return 0 if "Paris" in text else 1


CHAT = f"""
That server is stopped now. `.venv/bin/nimctl serve {MODEL}` keeps one running; then chat from curl:

  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{{"messages": [{{"role": "user", "content": "What is the capital of Japan?"}}]}}'

or from Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
  question = {{"role": "user", "content": "What is the capital of Japan?"}}
  answer = client.chat.completions.create(model="{MODEL}", messages=[question])
  print(answer.choices[0].message.content)"""


if __name__ == "__main__":
    sys.exit(main())
