"""Manifests for tests.

The shapes are those of https://github.com/NVIDIA/k8s-nim-operator (Apache-2.0),
internal/nimparser/{v1,v2}/testdata and internal/nimparser/testdata; the contents are made up.
"""

SCHEMA_1 = """\
0a0a0a0a:
  model: acme/tiny-llm
  release: '1.0.0'
  tags:
    feat_lora: 'true'
    feat_lora_max_rank: '32'
    gpu: L40S
    gpu_device: 26b9:10de
    llm_engine: tensorrt_llm
    pp: '1'
    precision: fp16
    profile: throughput
    tp: '2'
    colour: blue
  container_url: registry.example/nim/acme/tiny-llm:1.0.0
  workspace: !workspace
    components:
    - dst: ''
      src:
        repo_id: ngc://acme/team/tiny-llm:hf
        files:
        - !name 'config.json'
        - !name 'model.safetensors'
    - dst: trtllm_engine/
      src:
        repo_id: acme/team/tiny-llm:0.1+l40sx2-fp16-throughput
        files:
        - !name 'rank0.engine'
0b0b0b0b:
  model: acme/tiny-llm
  tags: {llm_engine: vllm, precision: fp16, tp: 1, feat_lora: false}
"""

NON_LLM = """\
1a1a1a1a:
  tags: {backend: onnx, key: onnx, precision: fp16}
1b1b1b1b:
  tags:
    backend: tensorrt
    key: NVIDIA-A10G_10.0.1_12
    precision: fp16
    product_name_regex: ^NVIDIA-A10(?!0).*
"""

WRAPPED = """\
model_profile: Mol
manifest:
  # Chosen with NIM_MANIFEST_PROFILE.
  - id: Mol
    model: Mol
    nim_name: acme/mol
    release: '1.0.0'
    tags:
      backend: pytorch
    workspace:
      components:
      - dst: 'models/'
        src:
          repo_id: acme/team/mol:1.3
  - 2b2b2b2b:
      tags: {backend: tensorrt, precision: fp16, product_name_regex: ^NVIDIA-L40S.*}
"""

SCHEMA_2 = f"""\
schema_version: 2.0.0
profile_selection_criteria: default
profiles:
- id: 3a3a3a3a
  tags: &shared {{gpu: A100, gpu_device: '20b2:10de', llm_engine: tensorrt_llm, number_of_gpus: '1',
    pp: '1', precision: bf16, profile: throughput, tp: '1'}}
  workspace:
    files:
      LICENSE: {{uri: 'ngc://acme/team/tiny-llm:hf-1234567?file=LICENSE'}}
      trtllm_engine/rank0.engine:
        uri: ngc://acme/team/tiny-llm:a100x1-throughput?file=rank0.engine
        checksum: blake3:{"0c" * 32}
- id: 3b3b3b3b
  tags: {{feat_lora: 'false', llm_engine: tensorrt_llm, pp: '1', precision: bf16, tp: '8',
    trtllm_buildable: 'true'}}
  workspace:
    files: {{config.json: {{uri: 'ngc://acme/team/tiny-llm:hf-1234567?file=config.json'}}}}
- id: 3c3c3c3c
  tags: *shared
"""
