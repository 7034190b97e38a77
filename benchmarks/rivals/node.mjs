// The same bridge in Node: socket.io and amqplib, each as its own documentation shows it.
// It checks nothing: no sign-in, no schema, no limits.

import { createServer } from "node:http";
import amqp from "amqplib";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { cors: { origin: "*" } });
const bench = io.of("/bench");

const connection = await amqp.connect(process.env.AMQP_URL);
const channel = await connection.createChannel();
const confirming = await connection.createConfirmChannel();
await channel.prefetch(1000);
await channel.assertExchange("bench.events", "topic", { durable: true });
await channel.assertExchange("bench.commands", "topic", { durable: true });

bench.on("connection", (socket) => {
  socket.on("join", (data, ack) => {
    socket.join(data.room);
    ack({ status: "ok" });
  });
  socket.on("send", (data, ack) => {
    const body = Buffer.from(JSON.stringify(data));
    confirming.publish("bench.commands", "bench.send", body, { persistent: true, mandatory: true }, (error) =>
      ack({ status: error ? "error" : "ok" }),
    );
  });
});

const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, "bench.events", "bench.*.tick");
await channel.consume(queue, (message) => {
  const room = message.fields.routingKey.split(".")[1];
  bench.to(room).emit("tick", JSON.parse(message.content.toString()));
  channel.ack(message);
});

http.listen({ port: Number(process.env.PORT), host: "127.0.0.1", backlog: 4096 }, () => console.log("ready"));
