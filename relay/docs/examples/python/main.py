import os
import signal
import sys

import boto3
import psycopg

from consumer import consume
from outbox import create_order


def connect() -> psycopg.Connection:
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


match sys.argv[1:]:
    case ["order", customer]:
        print(create_order(connect(), customer))
    case ["consume"]:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # a transaction in progress rolls back
        consume(boto3.client("sqs"), os.environ["QUEUE_URL"], connect)
    case _:
        sys.exit("usage: main.py order CUSTOMER | consume")
