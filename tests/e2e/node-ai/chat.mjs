/** A page's worth of the AI SDK, of the major that MAJOR names, and a network that can be cut. */

import http from "node:http";

export const MAJOR = Number(process.env.MAJOR);
export const URL_OF_BROKER = process.env.BROKER;

const { Chat } = await import(`react${MAJOR}`);
const { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } = await import(`ai${MAJOR}`);
export { lastAssistantMessageIsCompleteWithToolCalls };

let chats = 0;

/** An id that no other test of this run has. */
export function chatId() {
  return `ai${MAJOR}/${process.pid} ${(chats += 1)}`;
}

/** What the provider is to do, as a prompt. */
export function script(fields) {
  return JSON.stringify({ script: fields });
}

export function words(count) {
  return Array.from({ length: count }, (_, number) => `w${number} `).join("");
}

/** A chat as a page has it, with all that its callbacks were given. */
export function page(id, { messages = [], base = URL_OF_BROKER, fetch, headers, body, ...options } = {}) {
  const seen = { errors: [], toolCalls: [], data: [], finished: [] };
  const chat = new Chat({
    id,
    messages,
    transport: new DefaultChatTransport({ api: `${base}/api/chat`, fetch, headers, body: { model: "openai/gpt", ...body } }),
    onError: (error) => seen.errors.push(error.message),
    onToolCall: ({ toolCall }) => void seen.toolCalls.push(toolCall),
    onData: (part) => seen.data.push(part),
    onFinish: (finished) => seen.finished.push(finished),
    ...options,
  });
  return Object.assign(chat, { seen });
}

export function textOf(message) {
  return message.parts.filter(({ type }) => type === "text").map(({ text }) => text).join("");
}

/** The one answer; fails when there are two, which is what a wrong resume makes. */
export function answer(chat) {
  const answers = chat.messages.filter(({ role }) => role === "assistant");
  if (answers.length !== 1) throw new Error(`there are ${answers.length} answers: ${JSON.stringify(answers)}`);
  return answers[0];
}

export async function until(what, condition, ms = 10_000) {
  const end = Date.now() + ms;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`it did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Waits until the answer has come as far as this text. */
export function has(chat, text) {
  return until(text, () => chat.messages.some((message) => message.role === "assistant" && textOf(message).includes(text)));
}

export function stop(id) {
  return fetch(`${URL_OF_BROKER}/api/chat/${encodeURIComponent(id)}/stop`, { method: "POST" });
}

/** The streams of a chat, the newest first. */
export async function streams(id) {
  const answer = await fetch(`${URL_OF_BROKER}/v1/streams?thread=${encodeURIComponent(id)}`);
  return (await answer.json()).data;
}

/** A proxy that cuts the first `cuts` answers after `bytes`: by `eof` or by `reset`. */
export async function cutting(how, bytes, cuts = 1) {
  let left = cuts;
  const server = http.createServer((request, response) => {
    const upstream = http.request(URL_OF_BROKER + request.url, { method: request.method, headers: request.headers });
    upstream.on("error", () => response.destroy());
    upstream.on("response", (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      let passed = 0;
      answer.on("error", () => {});
      answer.on("data", (chunk) => {
        response.write(chunk);
        passed += chunk.length;
        if (left <= 0 || passed < bytes) return;
        left -= 1;
        answer.removeAllListeners("data");
        if (how === "eof") response.end();
        else response.socket.resetAndDestroy();
        upstream.destroy();
      });
      answer.on("end", () => response.end());
    });
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    base: `http://127.0.0.1:${server.address().port}`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
