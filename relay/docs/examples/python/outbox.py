import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg


@dataclass
class OutboxEvent:
    aggregate_type: str
    aggregate_id: str
    type: str
    payload: Any
    headers: dict[str, str] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)  # the same on every delivery


def insert_event(conn: psycopg.Connection, event: OutboxEvent) -> None:
    """Inserts the event in the caller's transaction. The relay delivers it if that commits."""
    conn.execute(
        """INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
           VALUES (%s, %s, %s, %s, %s, %s)""",
        (event.id, event.aggregate_type, event.aggregate_id, event.type,
         json.dumps(event.payload), json.dumps(event.headers)),
    )


def create_order(conn: psycopg.Connection, customer_id: str) -> str:
    """Writes an order together with its event."""
    order = {"id": str(uuid.uuid4()), "customer_id": customer_id, "total": 1999}
    with conn.transaction():
        conn.execute(
            """INSERT INTO orders (id, customer_id, currency, total, created_at)
               VALUES (%(id)s, %(customer_id)s, 'EUR', %(total)s, now())""",
            order,
        )
        insert_event(conn, OutboxEvent("order", order["id"], "order.created", order))
    return order["id"]
