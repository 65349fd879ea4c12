"""What the tests ask of boto3. Arguments: the server's URL, an image, a function, the read timeout in seconds. Prints JSON."""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

url, image, slow, patience = sys.argv[1:]


def client(**config):
    return boto3.client("lambda", endpoint_url=url, region_name="eu-west-1", config=Config(**config))


# Its own retries are on: by default, and enough of them for a function that takes longer than one attempt.
functions = client()
patient = client(read_timeout=float(patience), retries={"mode": "standard", "max_attempts": 30})


def called(answer):
    return {
        "error": answer.get("FunctionError"),
        "payload": json.loads(answer["Payload"].read()),
        "id": answer["ResponseMetadata"]["RequestId"],
        "retries": answer["ResponseMetadata"]["RetryAttempts"],
    }


def refusal(call):
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]


created = functions.create_function(
    FunctionName="made",
    Role="arn:aws:iam::000000000000:role/none",
    PackageType="Image",
    Code={"ImageUri": image},
    Timeout=60,
    Description="made by boto3",
    Publish=True,
)
functions.get_waiter("function_active_v2").wait(FunctionName="made")
functions.update_function_configuration(FunctionName="made", MemorySize=128)
functions.get_waiter("function_updated_v2").wait(FunctionName="made")
pages = functions.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})

print(
    json.dumps(
        {
            "created": [created["FunctionName"], created["Version"], created["State"]],
            "names": [one["FunctionName"] for page in pages for one in page["Functions"]],
            "image": functions.get_function(FunctionName="made")["Code"]["ImageUri"],
            "versions": [one["Version"] for one in functions.list_versions_by_function(FunctionName="made")["Versions"]],
            "thrown": called(functions.invoke(FunctionName="made", Payload=b'{"do":"exit","code":3}')),
            "qualified": called(functions.invoke(FunctionName="made", Qualifier="1", Payload=b'{"a":1}')),
            "event": functions.invoke(FunctionName="made", InvocationType="Event", Payload=b"{}")["StatusCode"],
            "unknown": refusal(lambda: functions.invoke(FunctionName="nothing")),
            "unserved": refusal(lambda: functions.get_policy(FunctionName="made")),
            "slow": called(patient.invoke(FunctionName=slow, Payload=b"{}")),
            "deleted": functions.delete_function(FunctionName="made")["ResponseMetadata"]["HTTPStatusCode"],
        }
    )
)
