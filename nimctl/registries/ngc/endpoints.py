"""Where things are on NGC: names become URLs, differently for guests and for key owners. Pure."""

import json
import re
from urllib.parse import quote, unquote, urlencode, urlsplit

from nimctl.core.refs import ModelRef
from nimctl.core.value import Value

CATALOGUE = "https://catalog.ngc.nvidia.com"
_PAGE_SIZE = 1000
_SEARCH_SIZE = 100
_FILE_PATH = re.compile(
    r"/v2/org/([^/]+)(?:/team/([^/]+))?/models/([^/]+)/versions/([^/]+)/files/(.+)"
)


class Model(Value):
    """The name of a model."""

    org: str
    team: str | None
    name: str

    @staticmethod
    def of(ref: ModelRef) -> "Model":
        """The model that a reference of the scheme `ngc` names: `org/model` or `org/team/model`."""
        org, *team, name = ref.path.split("/")
        return Model(org=org, team=team[0] if team else None, name=name)

    @property
    def page(self) -> str:
        """The page that shows it, and where its licence is accepted."""
        team = f"/teams/{self.team}" if self.team else ""
        return f"{CATALOGUE}/orgs/{self.org}{team}/models/{self.name}"

    def __str__(self) -> str:
        return "/".join(part for part in (self.org, self.team, self.name) if part)


class Release(Value):
    """One version of a model."""

    model: Model
    version: str

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


class Endpoints(Value):
    """The URLs of one API, in the form for guests or in the one for key owners."""

    api_url: str
    is_guest: bool

    def model(self, model: Model) -> str:
        """What there is to know about a model."""
        return f"{self._model(model)}?resolve-labels=false"

    def versions(self, model: Model, page: int | None = None) -> str:
        """The versions of a model, the newest first."""
        query = {"page-size": _PAGE_SIZE, "sort-order": "SEMVER_DESC", **_page(page)}
        return f"{self._model(model)}/versions?{urlencode(query)}"

    def version(self, release: Release) -> str:
        """What there is to know about a version."""
        return f"{self._model(release.model)}/versions/{_quoted(release.version)}"

    def files(self, release: Release, page: int | None = None) -> str:
        """The files of a version, with sizes and digests."""
        query = urlencode({"page-size": _PAGE_SIZE, **_page(page)})
        return f"{self.version(release)}/files?{query}"

    def presigned(self, release: Release, page: int | None = None) -> str:
        """A presigned URL for each file of a version."""
        model = release.model
        base = f"{self.api_url}/v2/models{_owned(model)}/{_quoted(model.name)}"
        if not self.is_guest:
            base = self._model(model)
        query = f"?{urlencode(_page(page))}" if page is not None else ""
        return f"{base}/{_quoted(release.version)}/files{query}"

    def file(self, release: Release, path: str) -> str:
        """One file; the answer redirects to its bytes."""
        return f"{self.version(release)}/files/{quote(path)}"

    def search(self, model: Model) -> str:
        """The models beside a model."""
        owner = "/".join(part for part in (model.org, model.team) if part)
        query = {
            "query": f"resourceId:{owner}/*",
            "page": 0,
            "pageSize": _SEARCH_SIZE,
            "fields": ["resourceId", "name"],
        }
        where = "/catalog" if self.is_guest else _owned(model)
        return f"{self.api_url}/v2/search{where}/resources/MODEL?{urlencode({'q': _json(query)})}"

    def _model(self, model: Model) -> str:
        if self.is_guest:
            owner = "/".join(_quoted(part) for part in (model.org, model.team) if part)
            return f"{self.api_url}/v2/models/{owner}/{_quoted(model.name)}"
        return f"{self.api_url}/v2{_owned(model)}/models/{_quoted(model.name)}"


def file_url(api_url: str, release: Release, path: str) -> str:
    """The URL that stands for a file, whoever asks for it."""
    return Endpoints(api_url=api_url, is_guest=False).file(release, path)


def parse_file_url(url: str) -> tuple[Release, str] | None:
    """What `file_url` was made of, on whichever API; None if it was not made by it."""
    found = _FILE_PATH.search(urlsplit(url).path)
    if not found:
        return None
    org, team, name, version, path = (part and unquote(part) for part in found.groups())
    return Release(model=Model(org=org, team=team, name=name), version=version), path


def _owned(model: Model) -> str:
    team = f"/team/{_quoted(model.team)}" if model.team else ""
    return f"/org/{_quoted(model.org)}{team}"


def _quoted(part: str) -> str:
    return quote(part, safe="+")


def _page(page: int | None) -> dict[str, int]:
    return {} if page is None else {"page-number": page}


def _json(query: object) -> str:
    return json.dumps(query, separators=(",", ":"))
