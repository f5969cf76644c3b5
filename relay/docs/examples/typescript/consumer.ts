import {
  DeleteMessageCommand, ReceiveMessageCommand, type Message, type SQSClient,
} from "@aws-sdk/client-sqs";
import { randomUUID } from "node:crypto";
import type { Pool } from "pg";
import { inTransaction } from "./outbox.js";

const consumer = "shipping"; // no other consumer of this database has the name

/** Acts upon the event of a message. An event that comes again changes nothing. */
export async function handle(pool: Pool, message: Message): Promise<void> {
  const eventId = message.MessageAttributes?.event_id?.StringValue;
  const eventType = message.MessageAttributes?.event_type?.StringValue;
  if (!eventId || !eventType || !message.Body) {
    throw new Error(`message ${message.MessageId} is no event of the relay`);
  }
  if (eventType !== "order.created") return; // of no interest here
  const order = JSON.parse(message.Body) as { id: string; customer_id: string };
  await inTransaction(pool, async (tx) => {
    const recorded = await tx.query(
      `INSERT INTO inbox_events (consumer, event_id) VALUES ($1, $2)
       ON CONFLICT (consumer, event_id) DO NOTHING`,
      [consumer, eventId],
    );
    if (recorded.rowCount === 0) return; // an earlier transaction has acted
    await tx.query(
      `INSERT INTO shipments (id, order_id, customer_id, lines) VALUES ($1, $2, $3, 1)`,
      [randomUUID(), order.id, order.customer_id],
    );
  });
}

/**
 * Reads the queue until signal is aborted. A message whose processing fails stays in the queue, and
 * moves to the dead-letter queue after its maxReceiveCount.
 */
export async function consume(sqs: SQSClient, queueUrl: string, pool: Pool, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const { Messages: messages = [] } = await sqs.send(new ReceiveMessageCommand({
      QueueUrl: queueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 20,
      MessageAttributeNames: ["All"], MessageSystemAttributeNames: ["MessageGroupId"],
    }), { abortSignal: signal });
    const failedGroups = new Set<string>();
    for (const message of messages) {
      const group = message.Attributes?.MessageGroupId ?? "";
      if (queueUrl.endsWith(".fifo") && failedGroups.has(group)) continue; // keeps the order of the group
      try {
        await handle(pool, message);
        await sqs.send(new DeleteMessageCommand({ QueueUrl: queueUrl, ReceiptHandle: message.ReceiptHandle }));
      } catch (error) {
        console.error(error);
        failedGroups.add(group);
      }
    }
  }
}
