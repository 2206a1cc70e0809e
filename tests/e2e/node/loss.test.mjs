// A worker is killed while these streams run: BROKER is the broker's URL. A line on stdout says that all have begun.

import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const BROKER = process.env.BROKER;
const openai = new OpenAI({ baseURL: `${BROKER}/v1`, apiKey: "any", maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: BROKER, apiKey: "any", maxRetries: 0 });
const WORDS = 60;
const TEXT = Array.from({ length: WORDS }, (_, number) => `w${number} `).join("");
const prompt = JSON.stringify({ script: { words: WORDS, delay_ms: 25 } });
const messages = [{ role: "user", content: prompt }];

let begun = 0;

/** Read a stream to its end; what it was worth is its last event or its failure. */
async function read(opening) {
  const events = [];
  try {
    for await (const event of await opening) {
      if (events.push(event) === 6 && ++begun === 3) process.stdout.write("ALL HAVE BEGUN\n");
    }
  } catch (failure) {
    return { events, failure };
  }
  return { events };
}

test("a killed worker is told, or is not noticed", async () => {
  const model = "anthropic/claude-test";
  const [response, completion, message] = await Promise.all([
    read(openai.responses.create({ model: "gpt-test", input: prompt, stream: true })),
    read(openai.chat.completions.create({ model, messages, stream: true })),
    read(anthropic.messages.create({ model: "claude-test", max_tokens: 9, messages, stream: true })),
  ]);
  assert.equal(response.failure, undefined);
  const last = response.events.at(-1);
  assert.equal(last.type, "response.completed");
  assert.equal(last.response.output[0].content[0].text, TEXT);
  assert.deepEqual(response.events.map((event) => event.sequence_number), [...response.events.keys()]);
  assert.ok(completion.failure instanceof OpenAI.APIError);
  assert.equal(completion.failure.code, "worker_lost");
  assert.ok(message.failure instanceof Anthropic.APIError);
});
