"""A stand-in for NGC: API and authentication over TLS on one port, an object store on another.

What it answers follows what ngcsdk 4.37.0 asks and accepts; `test_ngc_standin.py` runs that client
against it. What that client does not ask for follows
https://github.com/ai-dynamo/modelexpress/blob/main/modelexpress_common/src/providers/ngc.rs.
"""

import base64
import hashlib
import json
import secrets
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

from faulty_server import Handler, Seen, Server
from ngc_site import CREATED, Model, NgcSite, Version, make_certificate


class TlsServer(Server[NgcSite]):
    """Shakes hands in the thread of each connection."""

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(10)
        with self.site.tls.wrap_socket(request, server_side=True) as encrypted:
            super().finish_request(encrypted, client_address)


class BlobHandler(Handler[NgcSite]):
    """The object store: S3's manners."""

    name = "blob"

    def answer_request(self) -> None:
        if self.has_planned_failure("blob"):
            return
        if "Authorization" in self.headers or "X-NGC-Guest-Token" in self.headers:
            self.answer(400, {}, b"only one auth mechanism is allowed")
            return
        ngc = self.server.site
        signature = parse_qs(urlsplit(self.path).query).get("X-Amz-Signature", [""])[0]
        signed = ngc.signed.get(signature)
        if signed is None or signed.uses == 0:
            self.answer(403, {}, b"the signature is unknown or has expired")
            return
        signed.uses -= 1
        etag = hashlib.md5(signed.data, usedforsecurity=False).hexdigest()
        self.answer_file(signed.path, signed.data, {"ETag": f'"{etag}"'})


class Resource(NamedTuple):
    """What a path of the API names: a model, and what of it."""

    model: Model | None
    is_guest: bool
    rest: tuple[str, ...]


def find(ngc: NgcSite, path: str) -> Resource | None:
    """Read a path; None if it is not one of a model."""
    parts = [unquote(part) for part in path.removeprefix("/v2/").split("/")]
    key: tuple[str, str | None, str]
    match parts:
        case ["org", org, "team", team, "models", name, *rest] | [
            "models",
            "org",
            org,
            "team",
            team,
            name,
            *rest,
        ]:
            key = (org, team, name)
        case ["org", org, "models", name, *rest] | ["models", "org", org, name, *rest]:
            key = (org, None, name)
        case ["models", org, team, name, *rest] if (org, team, name) in ngc.models:
            key = (org, team, name)
        case ["models", org, name, *rest]:
            key = (org, None, name)
        case _:
            return None
    return Resource(ngc.models.get(key), parts[0] == "models", tuple(rest))


class ApiHandler(Handler[NgcSite]):
    """The API and the token service."""

    name = "api"

    @property
    def ngc(self) -> NgcSite:
        return self.server.site

    def do_POST(self) -> None:  # noqa: N802 - http.server's name
        form = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self.server.site.seen.append(Seen(self.name, "POST", self.path, {}))
        path = urlsplit(self.path).path
        resource = find(self.ngc, path)
        if path == "/v3/keys/get-caller-info":
            self._caller_info(parse_qs(form).get("credentials", [""])[0])
        elif resource and resource.model and resource.rest == ("license", "acceptance"):
            resource.model.needs_acceptance = False
            self._json({})
        else:
            self._refuse(404, "NOT_FOUND", "no such page")

    def answer_request(self) -> None:
        path = urlsplit(self.path).path
        resource = find(self.ngc, path)
        if path == "/token":
            self._token()
        elif self.has_planned_failure("api"):
            return
        elif path.startswith("/v2/search/"):
            self._search()
        elif resource is None:
            self._refuse(404, "NOT_FOUND", "no such page")
        elif resource.model is None or not self._may_read(
            resource.model, is_guest=resource.is_guest
        ):
            self._refuse_model(resource)
        elif resource.model.refusal:
            self._refuse(resource.model.refusal, "PAYMENT_REQUIRED", "Subscription required.")
        else:
            self._model(resource.model, resource.rest)

    def _query(self, name: str) -> str | None:
        return parse_qs(urlsplit(self.path).query).get(name, [None])[0]

    def _token(self) -> None:
        if self.has_planned_failure("token"):
            return
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        user, _, key = base64.b64decode(pair).decode().partition(":")
        if (kind, user) != ("Basic", "$oauthtoken") or key not in self.ngc.keys:
            self._refuse(401, "UNAUTHORIZED", "Invalid API key")
            return
        token = f"token-{secrets.token_hex(8)}"
        self.ngc.tokens[token] = key
        self._json({"token": token, "expires_in": self.ngc.token_lasts_s})

    def _caller_info(self, key: str) -> None:
        if key not in self.ngc.keys:
            self._refuse(401, "UNAUTHORIZED", "Invalid API key")
            return
        org = min(self.ngc.keys[key])
        roles = [{"org": {"name": org}, "orgRoles": ["REGISTRY_READ"]}]
        user = {"roles": roles}
        self._json({"type": "PERSONAL_KEY", "orgName": org, "user": user, "products": []})

    def _orgs(self) -> set[str] | None:
        """The organisations of whoever asks; None for a stranger."""
        kind, _, bearer = self.headers.get("Authorization", "").partition(" ")
        key = self.ngc.tokens.get(bearer) or (bearer if bearer.startswith("nvapi-") else "")
        return self.ngc.keys.get(key) if kind == "Bearer" else None

    def _may_read(self, model: Model, *, is_guest: bool) -> bool:
        if is_guest:
            return model.is_public
        orgs = self._orgs()
        return orgs is not None and (model.is_public or model.org in orgs)

    def _refuse_model(self, resource: Resource) -> None:
        if resource.is_guest:
            self._refuse(404, "NOT_FOUND", "Could not find the model.")
        elif self._orgs() is None:
            self._refuse(401, "UNAUTHORIZED", "Authentication required.")
        elif resource.model is None:
            self._refuse(404, "NOT_FOUND", "Could not find the model.")
        else:
            self._refuse(403, "FORBIDDEN", "Access denied.")

    def _model(self, model: Model, rest: tuple[str, ...]) -> None:
        match rest:
            case ():
                self._json({"model": model.wire()})
            case ("versions",):
                newest_first = list(reversed(model.versions.values()))
                page, info = self._page(newest_first)
                versions = [version.wire(self.ngc.storage) for version in page]
                self._json({"model": model.wire(), "modelVersions": versions, **info})
            case ("versions", label) if label in model.labels:
                self._version(model, model.versions[model.labels[label]], [])
            case ("versions", name, *more) if name in model.versions:
                self._version(model, model.versions[name], more)
            case (name, "files") if name in model.versions:
                self._urls(model, model.versions[name])
            case _:
                self._refuse(404, "NOT_FOUND", "Could not find the version.")

    def _version(self, model: Model, version: Version, rest: list[str]) -> None:
        match rest:
            case []:
                both = {"model": model.wire(), "modelVersion": version.wire(self.ngc.storage)}
                self._json(both)
            case ["signature"]:
                self._json({"url": self.ngc.sign("result.sigstore", b"{}")})
            case ["files"]:
                self._files(model, version)
            case ["files", *parts] if "/".join(parts) in version.files:
                path = "/".join(parts)
                self.answer(302, {"Location": self.ngc.sign(path, version.files[path])})
            case _:
                self._refuse(404, "NOT_FOUND", "Could not find the file.")

    def _files(self, model: Model, version: Version) -> None:
        if self.has_planned_failure("files"):
            return
        if self.ngc.refuses_lists:
            self._refuse(400, "INVALID_REQUEST", "Org contex missing")
        elif model.needs_acceptance:
            self._refuse(412, "PRECONDITION_FAILED", "License must be accepted.")
        elif self.ngc.storage == "V1":
            self._list_urls(version)
        else:
            page, info = self._page(list(version.files.items()))
            files = [
                {
                    "path": path,
                    "sizeInBytes": len(data),
                    "sha256_base64": _sha256(data) if version.sha256 else None,
                    "createdDate": CREATED,
                }
                for path, data in page
            ]
            both = {"model": model.wire(), "modelVersion": version.wire("V2")}
            self._json({**both, "modelFiles": files, **info})

    def _urls(self, model: Model, version: Version) -> None:
        if self.has_planned_failure("urls"):
            return
        if self.ngc.refuses_lists or self.ngc.storage == "V1":
            self._refuse(400, "INVALID_REQUEST", "Org contex missing")
        elif model.needs_acceptance:
            self._refuse(412, "PRECONDITION_FAILED", "License must be accepted.")
        else:
            self._list_urls(version)

    def _list_urls(self, version: Version) -> None:
        page, info = self._page(list(version.files.items()))
        answer = {
            "filepath": [path for path, _ in page],
            "urls": [self.ngc.sign(path, data) for path, data in page],
            "sha256_base64": [_sha256(data) for _, data in page],
        }
        self._json({**answer, **info})

    def _search(self) -> None:
        query = json.loads(self._query("q") or "{}").get("query", "")
        glob = query.removeprefix("resourceId:") or "*"
        is_guest = "/search/catalog/" in self.path
        orgs = self._orgs()
        if orgs is None and not is_guest:
            self._refuse(401, "UNAUTHORIZED", "Authentication required.")
            return
        found: list[dict[str, Any]] = [
            {
                "resourceId": model.resource_id,
                "orgName": model.org,
                "teamName": model.team,
                "name": model.name,
                "displayName": model.name,
                "dateModified": CREATED,
                "attributes": [],
                "labels": [],
            }
            for model in self.ngc.models.values()
            if fnmatchcase(model.resource_id, glob)
            and (model.is_public if is_guest else model.org in (orgs or ()))
        ]
        group = {"groupValue": "MODEL", "totalCount": len(found), "resources": found}
        self._json({"results": [group], "resultPageTotal": 1, "resultTotal": len(found)})

    def _page(self, entries: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        size = min(int(self._query("page-size") or self.ngc.page_size), self.ngc.page_size)
        number = int(self._query("page-number") or self.ngc.first_page)
        start = (number - self.ngc.first_page) * size
        info = {
            "index": number,
            "size": size,
            "totalPages": -(-len(entries) // size),
            "totalResults": len(entries),
        }
        return entries[start : start + size], {"paginationInfo": info}

    def _json(self, content: dict[str, Any], status: int = 200, code: str = "SUCCESS") -> None:
        headers = {"Content-Type": "application/json", "nv-request-id": "request-7"}
        standard = {"requestStatus": {"requestId": "request-7", "statusCode": code}}
        self.answer(status, headers, json.dumps({**standard, **content}).encode())

    def _refuse(self, status: int, code: str, description: str) -> None:
        about = {"requestId": "request-7", "statusCode": code, "statusDescription": description}
        self._json({"requestStatus": about}, status)


class Ngc(NgcSite):
    """The stand-in; a context manager that listens while it is open.

    Its certificate lies in `directory`.
    """

    def __init__(self, directory: Path, *, encrypted_blobs: bool = False) -> None:
        super().__init__(make_certificate(directory))
        self._api = TlsServer(self, ApiHandler)
        kind = TlsServer if encrypted_blobs else Server[NgcSite]
        self._blobs = kind(self, BlobHandler)
        self.blob_url = self._blobs.url

    @property
    def url(self) -> str:
        """The URL for NGC_CLI_API_URL and NGC_CLI_AUTH_URL."""
        return self._api.url

    def __enter__(self) -> Self:
        self._api.start()
        self._blobs.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._api.stop()
        self._blobs.stop()


def _sha256(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()
