// The official OpenAI client for Node makes pictures and a film at BASE_URL, with API_KEY.
// Out: one line of JSON for each thing tried, {"name", "value"} or {"name", "error"}.
// test_node_sdks.py starts this and knows what the values have to be.

import OpenAI, { toFile } from "openai";
import { attempt } from "./attempt.mjs";

const client = new OpenAI({
  baseURL: `${process.env.BASE_URL}/v1`,
  apiKey: process.env.API_KEY,
  maxRetries: 0,
});
const model = "grok-imagine-image";
const kindOf = (bytes) => Buffer.from(bytes).subarray(0, 3).toString("hex");
let picture;

await attempt("picture", async () => {
  const made = await client.images.generate({
    model,
    prompt: "A lighthouse",
    response_format: "b64_json",
  });
  picture = Buffer.from(made.data[0].b64_json, "base64");
  return kindOf(picture);
});

await attempt("edit", async () => {
  const image = await toFile(picture, "a.jpg", { type: "image/jpeg" });
  const made = await client.images.edit({ model, prompt: "Let it snow", image });
  const reply = await fetch(made.data[0].url);
  return kindOf(await reply.arrayBuffer());
});

await attempt("film", async () => {
  let film = await client.videos.create({
    model: "grok-imagine-video",
    prompt: "The light turns",
    seconds: "6",
    size: "1280x720",
  });
  while (!["completed", "failed"].includes(film.status)) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    film = await client.videos.retrieve(film.id);
  }
  const content = await (await client.videos.downloadContent(film.id)).arrayBuffer();
  const { data } = await client.videos.list();
  const { deleted } = await client.videos.delete(film.id);
  return {
    status: film.status,
    kind: Buffer.from(content).subarray(4, 8).toString(),
    listed: data.length,
    deleted,
  };
});
