import { randomUUID } from "node:crypto";
import type { ClientBase, Pool } from "pg";

export interface OutboxEvent {
  id: string; // a UUID, the same on every delivery
  aggregateType: string;
  aggregateId: string;
  type: string;
  payload: unknown;
  headers?: Record<string, string>;
}

/** Inserts the event in the caller's transaction. The relay delivers it if that commits. */
export async function insertEvent(tx: ClientBase, event: OutboxEvent): Promise<void> {
  await tx.query(
    `INSERT INTO outbox_events (id, aggregate_type, aggregate_id, event_type, payload, headers)
     VALUES ($1, $2, $3, $4, $5, $6)`,
    [
      event.id, event.aggregateType, event.aggregateId, event.type,
      JSON.stringify(event.payload), JSON.stringify(event.headers ?? {}),
    ],
  );
}

/** Runs work in one transaction. */
export async function inTransaction<T>(pool: Pool, work: (tx: ClientBase) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query("BEGIN");
    const result = await work(client);
    await client.query("COMMIT");
    return result;
  } catch (error) {
    failure = error as Error;
    throw error;
  } finally {
    client.release(failure); // closes the connection after a failure, which rolls back
  }
}

/** Writes an order together with its event. */
export async function createOrder(pool: Pool, customerId: string): Promise<string> {
  const order = { id: randomUUID(), customer_id: customerId, total: 1999 };
  await inTransaction(pool, async (tx) => {
    await tx.query(
      `INSERT INTO orders (id, customer_id, currency, total, created_at) VALUES ($1, $2, 'EUR', $3, now())`,
      [order.id, order.customer_id, order.total],
    );
    await insertEvent(tx, {
      id: randomUUID(), aggregateType: "order", aggregateId: order.id, type: "order.created", payload: order,
    });
  });
  return order.id;
}
