"""Receives a message of a queue with Amazon's Extended Client, and prints it as JSON.

The endpoint and the credentials are those of the environment.
"""

import json
import sys

import boto3
import sqs_extended_client  # noqa: F401  changes the SQS client of boto3

sqs = boto3.client("sqs")
received = sqs.receive_message(
    QueueUrl=sys.argv[1], MessageAttributeNames=["All"], WaitTimeSeconds=10
)
message = received["Messages"][0]
sqs.delete_message(QueueUrl=sys.argv[1], ReceiptHandle=message["ReceiptHandle"])
attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
json.dump({"body": message["Body"], "attributes": attributes}, sys.stdout)
