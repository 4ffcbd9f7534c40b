"""What the environment says about registries."""

import pytest

from nimctl.settings import load


@pytest.mark.parametrize(
    ("environ", "cache"),
    [
        ({}, "/home/ann/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/cache", "HF_HOME": "/hf"}, "/hf/hub"),
        ({"HF_HOME": "/hf", "HF_HUB_CACHE": "/hub"}, "/hub"),
    ],
)
def test_the_cache_of_hugging_face_is_where_its_own_tools_have_it(
    environ: dict[str, str], cache: str
) -> None:
    assert load({"HOME": "/home/ann", **environ}).hf_cache == cache


@pytest.mark.parametrize(
    ("environ", "mirrors"),
    [
        ({}, {}),
        ({"NIM_REPOSITORY_OVERRIDE": "s3://a/"}, {"hf": "s3://a/", "ngc": "s3://a/"}),
        (
            {"NIM_REPOSITORY_OVERRIDE": "s3://a/", "NIMCTL_MIRROR_HF": "https://b/"},
            {"hf": "https://b/", "ngc": "s3://a/"},
        ),
        ({"NIM_REPOSITORY_OVERRIDE": "", "NIMCTL_MIRROR_NGC": "file:///c"}, {"ngc": "file:///c"}),
    ],
)
def test_a_mirror_of_one_scheme_goes_before_nim_s_for_all(
    environ: dict[str, str], mirrors: dict[str, str]
) -> None:
    assert load({"HOME": "/home/ann", **environ}).mirrors == mirrors


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
