import json
import logging
import uuid
from collections.abc import Callable
from typing import Any

import psycopg

CONSUMER = "shipping"  # no other consumer of this database has the name


def handle(conn: psycopg.Connection, message: dict[str, Any]) -> None:
    """Acts upon the event of a message. An event that comes again changes nothing."""
    attributes = message.get("MessageAttributes", {})
    if "event_id" not in attributes or "event_type" not in attributes:
        raise ValueError(f"message {message['MessageId']} is no event of the relay")
    if attributes["event_type"]["StringValue"] != "order.created":
        return  # of no interest here
    order = json.loads(message["Body"])
    with conn.transaction():
        recorded = conn.execute(
            """INSERT INTO inbox_events (consumer, event_id) VALUES (%s, %s)
               ON CONFLICT (consumer, event_id) DO NOTHING""",
            (CONSUMER, attributes["event_id"]["StringValue"]),
        )
        if recorded.rowcount == 0:
            return  # an earlier transaction has acted
        conn.execute(
            "INSERT INTO shipments (id, order_id, customer_id, lines) VALUES (%s, %s, %s, 1)",
            (uuid.uuid4(), order["id"], order["customer_id"]),
        )


def consume(sqs: Any, queue_url: str, connect: Callable[[], psycopg.Connection]) -> None:
    """Reads the queue for ever.

    A message whose processing fails stays in the queue, and moves to the dead-letter queue after
    its maxReceiveCount.
    """
    conn = connect()
    while True:
        received = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, WaitTimeSeconds=20,
            MessageAttributeNames=["All"], AttributeNames=["MessageGroupId"],
        )
        failed_groups = set()
        for message in received.get("Messages", []):
            group = message["Attributes"].get("MessageGroupId", "")
            if queue_url.endswith(".fifo") and group in failed_groups:
                continue  # keeps the order of the group
            try:
                if conn.closed:
                    conn = connect()
                handle(conn, message)
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            except Exception:
                logging.exception("message %s", message["MessageId"])
                failed_groups.add(group)
