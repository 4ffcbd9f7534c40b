"""Models in S3-compatible stores: `s3://BUCKET/PREFIX`.

https://docs.aws.amazon.com/AmazonS3/latest/API/Type_API_Reference.html; tried against moto with
`boto3` as the other client (`tests/adapters/test_registry_s3.py`), not against Amazon's own.
"""

from nimctl.registries.s3.bucket import Bucket, Buckets
from nimctl.registries.s3.profiles import read_site
from nimctl.registries.s3.registry import S3Registry

__all__ = ["Bucket", "Buckets", "S3Registry", "read_site"]
