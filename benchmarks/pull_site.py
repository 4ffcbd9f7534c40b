"""What is pulled in benchmarks, served by nginx alone, so that no candidate waits for a stand-in.

Files lie under `/files`, and those of a Hugging Face repository too, as `hf download` and `hf://`
find it: its metadata are static JSON, its files' heads come from a map.
"""

import hashlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import free_port

MODEL = "bench/model"
COMMIT = "c" * 40
# As on the Hub, small files come from itself, with Git's id as their ETag. Large ones (.gguf here)
# lie in large-file storage, another server, where a redirect leads that tells their sha256.
NGINX = """
daemon off; pid {root}/nginx.pid; error_log {root}/error.log; worker_processes 1;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; keepalive_requests 100000;
  client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
  uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
  map_hash_max_size 32768; map_hash_bucket_size 256;
  map $hub_path $git_sha1 {{ default ""; include {root}/git_sha1.map; }}
  map $hub_path $lfs_sha256 {{ default ""; include {root}/lfs_sha256.map; }}
  map $hub_path $lfs_size {{ default ""; include {root}/lfs_size.map; }}
  server {{ listen 127.0.0.1:{files_port}; root {root}/www; }}
  server {{
    listen 127.0.0.1:{tls_port} ssl; root {root}/www;
    ssl_certificate {root}/certificate.pem; ssl_certificate_key {root}/key.pem;
  }}
  server {{
    listen 127.0.0.1:{hub_port}; root {root}/www;
    location ^~ /api/models/{model}/tree/ {{
      default_type application/json; try_files /hub/tree.json =404;
    }}
    location ^~ /api/models/{model} {{
      default_type application/json; try_files /hub/model.json =404;
    }}
    location ~ "^/{model}/resolve/[^/]+/(?<hub_path>.+\\.gguf)$" {{
      add_header X-Repo-Commit {commit};
      add_header X-Linked-Etag "\\"$lfs_sha256\\"";
      add_header X-Linked-Size $lfs_size;
      return 302 http://127.0.0.1:{files_port}/files/$hub_path;
    }}
    location ~ "^/{model}/resolve/[^/]+/(?<hub_path>.+)$" {{
      add_header X-Repo-Commit {commit};
      etag off;
      add_header ETag "\\"$git_sha1\\"";
      try_files /files/$hub_path =404;
    }}
  }}
}}
"""


class Site:
    """Files under one directory, and those of them that are the repository's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files_port, self._hub_port, self._tls_port = free_port(), free_port(), free_port()
        self.authority = root / "certificate.pem"
        self.endpoint = f"http://127.0.0.1:{self._hub_port}"
        self.files = root / "www" / "files"
        self._hub = root / "www" / "hub"
        for directory in (self.files, self._hub):
            directory.mkdir(parents=True)
        root.chmod(0o755)
        _certify(self.authority, root / "key.pem")

    def url(self, name: str) -> str:
        """The address of a file."""
        return f"http://127.0.0.1:{self._files_port}/files/{name}"

    def tls_url(self, name: str) -> str:
        """The address of a file over TLS; `authority` has signed the certificate: itself."""
        return f"https://localhost:{self._tls_port}/files/{name}"

    def publish(self, *, large: Mapping[str, str], small: Sequence[str] = ()) -> None:
        """Have the repository hold `large` files, by name with their sha256, and `small` ones."""
        entries = [self._lfs_entry(name, sha256) for name, sha256 in large.items()]
        entries += [self._git_entry(name) for name in small]
        siblings = [{"rfilename": entry["path"]} for entry in entries]
        model = {"id": MODEL, "sha": COMMIT, "siblings": siblings, "gated": False}
        (self._hub / "model.json").write_text(json.dumps(model), encoding="utf-8")
        (self._hub / "tree.json").write_text(json.dumps(entries), encoding="utf-8")
        git = {entry["path"]: entry["oid"] for entry in entries if "lfs" not in entry}
        self._write_map("git_sha1", git)
        self._write_map("lfs_sha256", large)
        self._write_map("lfs_size", {name: str(self._size(name)) for name in large})

    @contextmanager
    def served(self) -> Iterator[None]:
        """Serve what was published."""
        config = self.root / "nginx.conf"
        config.write_text(
            NGINX.format(
                root=self.root,
                hub_port=self._hub_port,
                files_port=self._files_port,
                tls_port=self._tls_port,
                model=MODEL,
                commit=COMMIT,
            ),
            encoding="utf-8",
        )
        server = subprocess.Popen(["nginx", "-c", config, "-p", self.root])
        try:
            _wait(f"{self.endpoint}/api/models/{MODEL}")
            yield
        finally:
            server.terminate()
            server.wait()

    def _lfs_entry(self, name: str, sha256: str) -> dict[str, Any]:
        size = self._size(name)
        lfs = {"oid": sha256, "size": size, "pointerSize": 134}
        return {"type": "file", "path": name, "size": size, "oid": "0" * 40, "lfs": lfs}

    def _git_entry(self, name: str) -> dict[str, Any]:
        data = (self.files / name).read_bytes()
        oid = hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()
        return {"type": "file", "path": name, "size": len(data), "oid": oid}

    def _write_map(self, name: str, values: Mapping[str, str]) -> None:
        lines = (f'"{path}" "{value}";\n' for path, value in values.items())
        (self.root / f"{name}.map").write_text("".join(lines), encoding="utf-8")

    def _size(self, name: str) -> int:
        return (self.files / name).stat().st_size


def _certify(certificate: Path, key: Path) -> None:
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    argv: list[str | Path] = [*command.split(), "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*argv, "-keyout", key, "-out", certificate], check=True, capture_output=True)


def _wait(url: str) -> None:
    for _ in range(100):
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("nginx does not answer")
