// Publishes one event from Node, as any service can: `node examples/publish.mjs [EXCHANGE KEY BODY]`.
// The broker is AMQP_URL's; it exits with 1 when the broker did not take the message, or nobody listens.
//
//   npm ci --prefix examples
//   node examples/publish.mjs portal.events project.apollo.state_change "$(cat body.json)"

import { randomUUID } from "node:crypto";
import amqp from "amqplib";

const project = {
  type: "project.updated",
  timestamp: new Date().toISOString(),
  source: "project_service",
  data: {
    project_id: "apollo",
    project_name: "Apollo",
    repository_url: "https://github.com/user/apollo",
    status: "active",
    updated_by: "demo",
    changes: { fields: ["status"] },
  },
};

const [exchange = "swe.events", key = "project.apollo.updated", text] = process.argv.slice(2);
const body = text === undefined ? project : JSON.parse(text);

const connection = await amqp.connect(process.env.AMQP_URL ?? "amqp://guest:guest@localhost:5672/");
try {
  const channel = await connection.createConfirmChannel();
  channel.on("error", () => {}); // the broker's reason comes with the rejected promise below
  let unheard = false;
  channel.on("return", () => (unheard = true));
  await channel.checkExchange(exchange);
  channel.publish(exchange, key, Buffer.from(JSON.stringify(body)), {
    contentType: "application/json",
    mandatory: true, // a message that no queue takes comes back
    messageId: randomUUID(), // the bridge shows an event that comes twice only once
    persistent: true,
    timestamp: Math.floor(Date.now() / 1000),
  });
  await channel.waitForConfirms();
  if (unheard) throw new Error(`nobody listens to ${key}`);
  console.log(`confirmed: ${exchange} ${key}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await connection.close();
}
