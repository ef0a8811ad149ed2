// The official Anthropic client for Node against BASE_URL, with API_KEY.
// Out: one line of JSON for each thing tried, {"name", "value"} or {"name", "error"}.
// test_node_sdks.py starts this and knows what the values have to be.

import Anthropic from "@anthropic-ai/sdk";
import { attempt } from "./attempt.mjs";

const client = new Anthropic({
  baseURL: process.env.BASE_URL,
  apiKey: process.env.API_KEY,
  maxRetries: 0,
});
const model = "grok-4.3";
const max_tokens = 2000;
const thinking = { type: "enabled", budget_tokens: 1024 };
const user = (content) => [{ role: "user", content }];
const textOf = (message) =>
  message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join("");
const weather = {
  name: "get_weather",
  description: "The weather of a city",
  input_schema: {
    type: "object",
    properties: { city: { type: "string" } },
    required: ["city"],
  },
};

await attempt("whole", async () => {
  const messages = user("Hello, node");
  const message = await client.messages.create({ model, max_tokens, messages });
  return {
    text: textOf(message),
    stop: message.stop_reason,
    usage: message.usage,
    id: message._request_id,
  };
});

await attempt("stream", async () => {
  const stream = await client.messages.create({
    model,
    max_tokens,
    messages: user("Hello, node"),
    stream: true,
  });
  const kinds = [];
  let text = "";
  for await (const event of stream) {
    kinds.push(event.type);
    if (event.type === "content_block_delta") text += event.delta.text;
  }
  return { text, first: kinds[0], last: kinds.at(-1) };
});

await attempt("stream helper", async () => {
  let heard = "";
  let thought = "";
  const stream = client.messages
    .stream({ model, max_tokens, thinking, messages: user("Hello, node") })
    .on("text", (piece) => (heard += piece))
    .on("thinking", (piece) => (thought += piece));
  const message = await stream.finalMessage();
  return {
    heard,
    thought,
    text: textOf(message),
    blocks: message.content.map((block) => block.type),
    usage: message.usage,
  };
});

await attempt("thinking back", async () => {
  const messages = user("Hello, node");
  const first = await client.messages.create({ model, max_tokens, thinking, messages });
  messages.push({ role: "assistant", content: first.content }, ...user("And now?"));
  const second = await client.messages.create({ model, max_tokens, thinking, messages });
  return { text: textOf(second) };
});

await attempt("tools", async () => {
  const messages = user("call get_weather for Oslo");
  const tools = [weather];
  const called = await client.messages.create({ model, max_tokens, tools, messages });
  const call = called.content.find((block) => block.type === "tool_use");
  messages.push(
    { role: "assistant", content: called.content },
    {
      role: "user",
      content: [{ type: "tool_result", tool_use_id: call.id, content: "Rain, 7 degrees" }],
    },
  );
  const told = await client.messages.create({ model, max_tokens, tools, messages });
  return { stop: called.stop_reason, call: call.name, input: call.input, text: textOf(told) };
});

await attempt("streamed tools", async () => {
  const stream = client.messages.stream({
    model,
    max_tokens,
    tools: [weather],
    messages: user("call get_weather for Oslo [[sandbox: fragments]]"),
  });
  const message = await stream.finalMessage();
  return {
    stop: message.stop_reason,
    calls: message.content.map(({ type, name, input }) => ({ type, name, input })),
  };
});

await attempt("count tokens", async () => {
  const counted = await client.messages.countTokens({ model, messages: user("Hello, node") });
  return counted.input_tokens;
});

await attempt("beta", async () => {
  const message = await client.beta.messages.create(
    { model, max_tokens, messages: user("Hello, node"), betas: ["some-beta"] },
    { query: { beta: "true" } },
  );
  return { text: textOf(message) };
});

await attempt("models", async () => {
  const names = [];
  for await (const listed of client.models.list({ limit: 5 })) names.push(listed.id);
  return names;
});

await attempt("rate limit", () =>
  client.messages.create({
    model,
    max_tokens,
    messages: user("[[sandbox: status=429 retry_after=2]]"),
  }),
);

await attempt("broken stream", async () => {
  const stream = client.messages.stream({
    model,
    max_tokens,
    messages: user("Hello [[sandbox: cut_after=8]]"),
  });
  await stream.finalMessage();
});

await attempt("unknown model", () =>
  client.messages.create({ model: "gpt-4o", max_tokens, messages: user("Hello") }),
);

await attempt("wrong key", () =>
  client
    .withOptions({ apiKey: "sk-wrong" })
    .messages.create({ model, max_tokens, messages: user("Hello") }),
);
