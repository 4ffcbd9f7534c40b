"""What the environment says about registries."""

import pytest

from nimctl.settings import load


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "https://api.ngc.nvidia.com"),
        ({"NGC_CLI_API_URL": "https://mirror:1", "NGC_API_ENDPOINT": "b"}, "https://mirror:1"),
        (
            {"NGC_API_ENDPOINT": "art.example/api/nimmodel/nim"},
            "https://art.example/api/nimmodel/nim",
        ),
        ({"NGC_API_ENDPOINT": "127.0.0.1:1", "NGC_API_SCHEME": "http"}, "http://127.0.0.1:1"),
    ],
)
def test_the_address_of_ngc_is_what_ngc_s_tools_and_artifactory_s_users_set(
    environ: dict[str, str], url: str
) -> None:
    assert load({"HOME": "/nowhere", **environ}).ngc_api_url == url
