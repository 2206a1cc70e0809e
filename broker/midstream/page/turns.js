/** The part of the next request that comes from earlier turns. */

/** The longest value that a stream's metadata takes, in characters. */
const METADATA_LIMIT = 512;

/**
 * The conversation with the next prompt added. An answer without text is left out, because providers refuse
 * empty messages. Incomplete answers are noted in `cut` (the prompt's index → the outcome), so that they are still shown
 * as incomplete after a reload, when only the messages are left.
 */
export function nextTurn({ messages, cut, answer }, content) {
  const lastAnswer = answer.text ? [{ role: "assistant", content: answer.text }] : [];
  const next = new Map(cut);
  if (answer.outcome !== "completed") next.set(messages.length - 1, answer.outcome ?? "interrupted");
  return { messages: [...messages, ...lastAnswer, { role: "user", content }], cut: next };
}

/** The metadata that carries `cut`. */
export function metadataOf(cut) {
  const pairs = [...cut].map(([index, outcome]) => `${index}:${outcome}`);
  while (pairs.join().length > METADATA_LIMIT) pairs.shift();
  return pairs.length ? { cut: pairs.join() } : {};
}

/** The reverse of `metadataOf`. */
export function cutFrom(metadata) {
  const pairs = (metadata?.cut ?? "").split(",").filter(Boolean);
  return new Map(pairs.map((pair) => pair.split(":")).map(([index, outcome]) => [Number(index), outcome]));
}
