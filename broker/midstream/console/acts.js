/** What an operator can do about one stream. Each act is confirmed by a question that names the stream. */

import { announce, confirmed } from "./dialog.js";
import * as operate from "./operate.js";

const RETENTION_S = 86_400;
/** By name: what the button says, and what is asked. `isOf` tells for which streams an act is of use. */
export const ACTS = {
  cancel: {
    label: "Cancel",
    isOf: isLive,
    text: "The generation stops. The text so far is kept, and its clients are told that it was cancelled.",
  },
  requeue: {
    label: "Requeue",
    isOf: ({ status, outcome }) => status === "queued" || outcome === "failed" || outcome === "interrupted",
    text: "The slip of a queued stream is written again. For one that failed or was interrupted another stream begins.",
    fields: [{ name: "pay_again", label: "Pay for another call where the first may have been paid", type: "checkbox" }],
    isHarmless: true,
  },
  seal: {
    label: "Seal",
    isOf: isLive,
    text: "The stream ends at once as interrupted. Its clients are sent the reason.",
    fields: [{ name: "reason", label: "Reason", required: true, maxLength: 500 }],
  },
  trim: {
    label: "Trim",
    isOf: ({ status }) => status === "ended",
    text: "The first entries are dropped for good. Without an offset, the end alone is kept.",
    fields: [{ name: "first_offset", label: "First offset to keep", type: "number", min: 1 }],
  },
  retain: {
    label: "Retain",
    isOf: () => true,
    text: "Sets how long the stream is kept after its end. One that ended longer ago expires at once.",
    fields: [{ name: "ttl_s", label: "Seconds after its end", type: "number", min: 1, required: true, value: RETENTION_S }],
  },
  delete: {
    label: "Delete",
    isOf: () => true,
    text: "The stream and all its entries are gone for good. One that still runs is cancelled first.",
  },
};

function isLive({ status }) {
  return status === "queued" || status === "running";
}

/**
 * Asks, and does an act to a stream.
 * @returns the broker's answer, or null where the operator left it at that
 * @throws {Refused} The stream is not in a state for it.
 */
export async function doAct(name, stream) {
  const { label, text, fields, isHarmless } = ACTS[name];
  const title = `${label} ${stream.tenant}/${stream.id}?`;
  const values = await confirmed({ title, text, fields, isHarmless, button: `${label} the stream` });
  if (values === null) return null;
  const answer = await operate.act(stream, name, bodyOf(fields ?? [], values));
  announce(`${label}: done for ${stream.id}.`);
  return answer;
}

/** The values that were filled in, numbers as numbers. */
export function bodyOf(fields, values) {
  const filled = fields.filter(({ name }) => values[name] !== "" && values[name] !== false);
  return Object.fromEntries(filled.map(({ name, type }) => [name, type === "number" ? Number(values[name]) : values[name]]));
}
