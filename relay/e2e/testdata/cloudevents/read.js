// Reads messages from stdin, a JSON list of {headers, body}, as CloudEvents. Writes them to stdout
// as a JSON list of CloudEvents in structured mode. An event that breaks the specification fails.
import { readFileSync } from "node:fs";
import { HTTP } from "cloudevents";

const messages = JSON.parse(readFileSync(0, "utf8"));
const events = messages.map(({ headers, body }) => {
  const event = HTTP.toEvent({ headers, body });
  event.validate();
  return JSON.parse(HTTP.structured(event).body);
});
process.stdout.write(JSON.stringify(events));
