import { SQSClient } from "@aws-sdk/client-sqs";
import process from "node:process";
import { Pool } from "pg";
import { consume } from "./consumer.js";
import { createOrder } from "./outbox.js";

const pool = new Pool({ connectionString: process.env.DATABASE_URL });
pool.on("error", (error) => console.error(error)); // an idle connection was lost; the pool opens another
switch (process.argv[2]) {
  case "order":
    console.log(await createOrder(pool, process.argv[3] ?? "customer-1"));
    break;
  case "consume": {
    const stop = new AbortController();
    process.once("SIGTERM", () => stop.abort());
    await consume(new SQSClient({}), process.env.QUEUE_URL ?? "", pool, stop.signal).catch((error: Error) => {
      if (error.name !== "AbortError") throw error;
    });
    break;
  }
  default:
    throw new Error("usage: main.js order CUSTOMER | consume");
}
await pool.end();
