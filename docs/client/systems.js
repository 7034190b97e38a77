// The presets: the systems that the shipped configurations serve, their namespaces, and commands to try.
//
// A command's payload is what `make run`'s example services understand; `undefined` is a command without one.
"use strict";

const SYSTEMS = [
  {
    name: "Portal",
    about: "Projects, their chats and approvals, and monitoring.",
    path: "/socket.io",
    namespaces: [
      {
        name: "/project/apollo",
        commands: {
          join_project: { project_name: "apollo" },
          resolve_approval: { request_id: "request-0", approved: true, comment: "looks good" },
        },
      },
      {
        name: "/portal",
        commands: {
          join_project: { project_name: "apollo" },
          subscribe_to_events: { events: ["state_change", "task_update", "agent_activity"], project_name: "apollo" },
          leave_project: { project_name: "apollo" },
        },
      },
      {
        name: "/chat/apollo",
        commands: {
          send_message: { content: "/sprint status", type: "command" },
          typing_start: undefined,
          typing_stop: undefined,
        },
      },
      { name: "/monitoring", commands: {} },
      { name: "/admin", commands: {} },
    ],
  },
  {
    name: "Summit",
    about: "Runs and shared investigations: subscribe to see events.",
    path: "/socket.io",
    namespaces: [
      {
        name: "/realtime",
        commands: {
          "maestro:subscribe_run": { runId: "demo" },
          "maestro:subscribe_logs": { runId: "demo" },
          "maestro:subscribe_status": null,
          "investigation:join": { investigationId: "demo" },
          "comment:add": { investigationId: "demo", text: "Have a look at this host." },
          "maestro:unsubscribe_run": { runId: "demo" },
        },
      },
    ],
  },
  {
    name: "Agents",
    about: "Agents and tasks, in the room dashboard from the start.",
    path: "/ws",
    namespaces: [
      {
        name: "/",
        commands: {
          subscribe: { room: "agent:scout" },
          unsubscribe: { room: "agent:scout" },
          heartbeat: { timestamp: 1234567890 },
        },
      },
    ],
  },
  {
    name: "SWE Agent",
    about: "Projects, workflows, reviews and issues.",
    path: "/socket.io",
    namespaces: [
      {
        name: "/ws",
        commands: {
          subscribe: { room: "project:apollo" },
          unsubscribe: { room: "project:apollo" },
          ping: undefined,
        },
      },
    ],
  },
  {
    name: "Swallowtail",
    about: "Tasks, step by step: subscribe to an instance. No token.",
    path: "/socket.io",
    open: true,
    namespaces: [
      {
        name: "/",
        commands: {
          subscribe_instance: { instance_id: "demo" },
          unsubscribe_instance: { instance_id: "demo" },
        },
      },
    ],
  },
];
