// The official OpenAI client for Node against BASE_URL, with API_KEY.
// Out: one line of JSON for each thing tried, {"name", "value"} or {"name", "error"}.
// test_node_sdks.py starts this and knows what the values have to be.

import OpenAI from "openai";
import { attempt } from "./attempt.mjs";

const client = new OpenAI({
  baseURL: `${process.env.BASE_URL}/v1`,
  apiKey: process.env.API_KEY,
  maxRetries: 0,
});
const model = "grok-4.3";
const user = (content) => [{ role: "user", content }];
const weather = {
  name: "get_weather",
  description: "The weather of a city",
  parameters: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
    additionalProperties: false,
  },
};
const chatTool = { type: "function", function: weather };
const tool = { type: "function", strict: true, ...weather };

await attempt("chat whole", async () => {
  const reply = await client.chat.completions.create({ model, messages: user("Hello, node") });
  return { text: reply.choices[0].message.content, usage: reply.usage, id: reply._request_id };
});

await attempt("chat stream", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: user("Hello, node"),
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage = null;
  let finish = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    finish = chunk.choices[0]?.finish_reason ?? finish;
    usage = chunk.usage ?? usage;
  }
  return { text, finish, usage };
});

await attempt("chat stream helper", async () => {
  const stream = client.chat.completions.stream({ model, messages: user("Hello, node") });
  const final = await stream.finalChatCompletion();
  return { text: final.choices[0].message.content };
});

await attempt("chat tools", async () => {
  const runner = client.chat.completions.runTools({
    model,
    messages: user("call get_weather for Oslo"),
    tools: [
      {
        type: "function",
        function: { ...weather, parse: JSON.parse, function: ({ city }) => `Rain in ${city}` },
      },
    ],
  });
  return { text: await runner.finalContent() };
});

await attempt("chat streamed tools", async () => {
  const stream = client.chat.completions.stream({
    model,
    messages: user("call get_weather for Oslo"),
    tools: [chatTool],
  });
  const final = await stream.finalChatCompletion();
  return final.choices[0].message.tool_calls.map((call) => call.function);
});

await attempt("responses whole", async () => {
  const reply = await client.responses.create({ model, input: "Hello, node" });
  return { text: reply.output_text, status: reply.status, usage: reply.usage };
});

await attempt("responses stream", async () => {
  const stream = await client.responses.create({
    model,
    input: "Hello, node",
    reasoning: { effort: "low" },
    stream: true,
  });
  let text = "";
  let thought = "";
  let last = null;
  for await (const event of stream) {
    if (event.type === "response.output_text.delta") text += event.delta;
    if (event.type === "response.reasoning_summary_text.delta") thought += event.delta;
    last = event;
  }
  return { text, thought, last: last.type, whole: last.response.output.map((item) => item.type) };
});

await attempt("responses stream helper", async () => {
  const stream = client.responses.stream({ model, input: "Hello, node" });
  const final = await stream.finalResponse();
  return { text: final.output_text };
});

await attempt("responses tools", async () => {
  const called = await client.responses.create({
    model,
    input: "call get_weather for Oslo",
    tools: [tool],
  });
  const call = called.output.find((item) => item.type === "function_call");
  const told = await client.responses.create({
    model,
    previous_response_id: called.id,
    tools: [tool],
    input: [{ type: "function_call_output", call_id: call.call_id, output: "Rain, 7 degrees" }],
  });
  return { call: call.name, arguments: JSON.parse(call.arguments), text: told.output_text };
});

await attempt("responses kept", async () => {
  const first = await client.responses.create({ model, input: "First" });
  const second = await client.responses.create({
    model,
    input: "Second",
    previous_response_id: first.id,
  });
  const items = [];
  for await (const item of client.responses.inputItems.list(second.id)) items.push(item.type);
  const found = await client.responses.retrieve(first.id);
  await client.responses.delete(first.id);
  return { text: second.output_text, items, same: found.output_text === first.output_text };
});

await attempt("responses missing", () => client.responses.retrieve("resp_that_never_was"));

await attempt("completions", async () => {
  const reply = await client.completions.create({ model, prompt: "Hello, node", echo: true });
  return { text: reply.choices[0].text };
});

await attempt("models", async () => {
  const names = [];
  for await (const listed of client.models.list()) names.push(listed.id);
  return names;
});

await attempt("rate limit", () =>
  client.chat.completions.create({
    model,
    messages: user("[[sandbox: status=429 retry_after=2]]"),
  }),
);

await attempt("broken stream", async () => {
  const stream = await client.chat.completions.create({
    model,
    messages: user("Hello [[sandbox: cut_after=5]]"),
    stream: true,
  });
  for await (const chunk of stream) void chunk;
});

await attempt("failed stream", async () => {
  const stream = await client.responses.create({
    model,
    input: "Hello [[sandbox: cut_after=8]]",
    stream: true,
  });
  let last = null;
  for await (const event of stream) last = event;
  return { last: last.type, error: last.response.error };
});

await attempt("wrong key", () =>
  client.withOptions({ apiKey: "sk-wrong" }).responses.create({ model, input: "Hello" }),
);
