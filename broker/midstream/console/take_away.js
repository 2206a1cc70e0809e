/** What an operator takes out of the console: commands, and a stream as a file. */

import { announce, confirmed } from "./dialog.js";
import { readStream } from "./operate.js";
import { number } from "./words.js";

const PAGE = 1_000;
/** How a client of the stream's tenant asks for it, by its dialect. */
const DIALECTS = [
  ["native", "Native events", (id) => [`/v1/streams/${id}/events`, "text/event-stream"]],
  ["state", "State and output", (id) => [`/v1/streams/${id}?wait=0`, "application/json"]],
  ["responses", "OpenAI Responses", (id) => [`/v1/responses/resp_${id}?stream=true`, "text/event-stream"]],
];

/** Asks which command, and copies it. */
export async function copyCommand({ tenant, id }) {
  const path = `/v1/operate/streams/${encodeURIComponent(tenant)}/${encodeURIComponent(id)}`;
  const options = [["report", "This report, as an operator"], ["entries", "The entries, as an operator"], ...DIALECTS];
  const answer = await confirmed({
    title: "Copy a curl command",
    text: `Commands of an operator take the key from $OPERATOR_KEY, those of a client of ${tenant} from $KEY.`,
    fields: [{ name: "which", label: "What it asks for", options }],
    button: "Copy",
    isHarmless: true,
  });
  if (answer === null) return;
  const dialect = DIALECTS.find(([name]) => name === answer.which);
  const own = { report: path, entries: `${path}/entries?limit=1000` }[answer.which];
  const [asks, accepts] = dialect ? dialect[2](encodeURIComponent(id)) : [own, "application/json"];
  const key = dialect ? "$KEY" : "$OPERATOR_KEY";
  const command = `curl -sN '${location.origin}${asks}' -H "Authorization: Bearer ${key}" -H 'Accept: ${accepts}'`;
  await navigator.clipboard.writeText(command);
  announce("The command is on the clipboard.");
}

/**
 * Writes the entries to a file of JSON lines, as they are in the log.
 * @param {(text: string) => void} onProgress
 */
export async function exportLines(stream, onProgress, signal) {
  const answer = await confirmed({
    title: "Export the entries as NDJSON?",
    text: `The file has one line for each entry of ${stream.tenant}/${stream.id}.`,
    fields: [{ name: "content", label: "With their content", type: "checkbox" }],
    button: "Export",
    isHarmless: true,
  });
  if (answer === null) return;
  const { first } = await readStream(stream, "", { signal });
  const parts = [];
  for (let after = first - 1, tail = first; after < tail; ) {
    const query = `/entries?after=${after}&limit=${PAGE}${answer.content ? "&content=true" : ""}`;
    const page = await readStream(stream, query, { signal });
    if (!page.data.length) break;
    parts.push(new Blob(page.data.map((row) => `${JSON.stringify(row)}\n`)));
    after = page.data.at(-1).offset;
    tail = page.tail;
    onProgress(`${number(after)} of ${number(tail)}`);
  }
  const url = URL.createObjectURL(new Blob(parts, { type: "application/x-ndjson" }));
  Object.assign(document.createElement("a"), { href: url, download: `${stream.id}.ndjson` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
