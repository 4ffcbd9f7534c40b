"""Manifests as they come: every schema, and hostile ones."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from nim_manifests import NON_LLM, SCHEMA_1, SCHEMA_2, WRAPPED

from nimctl.core.errors import VerificationError
from nimctl.core.nim_manifest import WorkspaceItem
from nimctl.manifests.reading import parse


def test_schema_1_is_read_with_its_own_tags_as_plain_data() -> None:
    manifest = parse(SCHEMA_1.encode(), "m.yaml")
    assert (manifest.schema, manifest.criteria) == ("1", None)
    engine, vllm = manifest.profiles
    assert (engine.id, engine.model, engine.release) == ("0a0a0a0a", "acme/tiny-llm", "1.0.0")
    assert engine.container == "registry.example/nim/acme/tiny-llm:1.0.0"
    assert engine.tags["colour"] == "blue"
    assert len(engine.tags) == 10
    assert engine.workspace == (
        WorkspaceItem(path="config.json", uri="ngc://acme/team/tiny-llm:hf?file=config.json"),
        WorkspaceItem(
            path="model.safetensors", uri="ngc://acme/team/tiny-llm:hf?file=model.safetensors"
        ),
        WorkspaceItem(
            path="trtllm_engine/rank0.engine",
            uri="ngc://acme/team/tiny-llm:0.1+l40sx2-fp16-throughput?file=rank0.engine",
        ),
    )
    assert vllm.tags == {"llm_engine": "vllm", "precision": "fp16", "tp": "1", "feat_lora": "false"}
    assert vllm.workspace == ()


def test_non_llm_and_wrapped_lists_are_schema_1_too() -> None:
    onnx, tensorrt = parse(NON_LLM.encode(), "m.yaml").profiles
    assert onnx.tags["backend"] == "onnx"
    assert tensorrt.tags["product_name_regex"] == "^NVIDIA-A10(?!0).*"
    mol, bound = parse(WRAPPED.encode(), "m.yaml").profiles
    assert mol.workspace == (WorkspaceItem(path="models/", uri="ngc://acme/team/mol:1.3"),)
    assert (bound.id, bound.model) == ("2b2b2b2b", "Mol")


def test_schema_2_is_read_with_checksums_and_shared_tags() -> None:
    manifest = parse(SCHEMA_2.encode(), "m.yaml")
    assert (manifest.schema, manifest.criteria) == ("2", "default")
    engine, buildable, shared = manifest.profiles
    assert engine.workspace[0].digests == {}
    assert engine.workspace[1] == WorkspaceItem(
        path="trtllm_engine/rank0.engine",
        uri="ngc://acme/team/tiny-llm:a100x1-throughput?file=rank0.engine",
        digests={"blake3": "0c" * 32},
    )
    assert buildable.tags["trtllm_buildable"] == "true"
    assert shared.tags == engine.tags


def test_what_curl_saved_of_a_running_server_is_a_manifest() -> None:
    answer = json.dumps({"manifest_file": SCHEMA_2}).encode()
    assert parse(answer, "m.json") == parse(SCHEMA_2.encode(), "m.yaml")
    twice = json.dumps({"manifest_file": answer.decode()}).encode()
    with pytest.raises(VerificationError):
        parse(twice, "m.json")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (SCHEMA_1.replace("tp: '2'", "tp: [2]"), "line 13, `0a0a0a0a.tags.tp`: text belongs here"),
        (SCHEMA_2.replace("- id: 3b3b3b3b", "- id: 3a3a3a3a"),
         "line 13, `profiles[1]`: the id 3a3a3a3a stands here for the second time"),
        (SCHEMA_2.replace("checksum: blake3:", "checksum: md5:"),
         'line 12, `profiles[0].workspace.files["trtllm_engine/rank0.engine"].checksum`: '),
        ("apiVersion: v1\n", "line 1, `apiVersion`: a mapping belongs here, not text"),
        ("", "line 1: a mapping belongs here, not nothing"),
    ],
)  # fmt: skip
def test_a_manifest_with_a_fault_is_refused_with_line_and_path(text: str, cause: str) -> None:
    with pytest.raises(VerificationError) as caught:
        parse(text.encode(), "m.yaml")
    assert caught.value.message == "m.yaml is no NIM manifest"
    assert (caught.value.cause or "").startswith(cause)


def test_hostile_yaml_is_refused_before_it_means_anything() -> None:
    bomb = "a: &a [x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    for text in (bomb, SCHEMA_1.replace("!name", "!!python/name:os.system"), "[" * 10**6):
        with pytest.raises(VerificationError) as caught:
            parse(text.encode(), "m.yaml")
        assert caught.value.message == "m.yaml is refused as YAML"


WORDS = st.sampled_from(
    ["schema_version", "2.0", "profiles", "id", "tags", "workspace", "files", "components", "src",
     "dst", "repo_id", "uri", "checksum", "model_profile", "manifest", "tp", "x", "", None]
)  # fmt: skip
KEYS = WORDS.map(lambda word: word or "")
TREES = st.recursive(
    WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)


@given(TREES)
def test_any_document_of_a_manifests_words_is_read_or_refused(tree: object) -> None:
    try:
        manifest = parse(yaml.safe_dump(tree).encode(), "m.yaml")
    except VerificationError:
        return
    assert len({profile.id for profile in manifest.profiles}) == len(manifest.profiles)
