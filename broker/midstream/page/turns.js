/** What the next request says of the turns before it. */

/** The longest value that a stream's metadata takes, in characters. */
const METADATA_LIMIT = 512;

/**
 * The conversation with the next prompt added. An answer without text is left out: providers refuse
 * empty messages. Whatever was not a whole answer is noted in `cut`, prompt's index → outcome, so that
 * it is not shown as one after a reload, when only the messages are left of it.
 */
export function nextTurn({ messages, cut, answer }, content) {
  const answered = answer.text ? [{ role: "assistant", content: answer.text }] : [];
  const next = new Map(cut);
  if (answer.outcome !== "completed") next.set(messages.length - 1, answer.outcome ?? "interrupted");
  return { messages: [...messages, ...answered, { role: "user", content }], cut: next };
}

/** The metadata that carries `cut` along. */
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
